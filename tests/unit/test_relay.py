"""The relay and its keeper without ssh: a program that behaves like it, and a driver that says what the test wants."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from lofty.errors import AccessError, LoftyError, Unavailable
from lofty.model.state import Endpoint, Handle
from lofty.reach import forward, relay, ssh
from lofty.reach.forward import Order, Problem, Status

END = Endpoint(how="ssh", host="127.0.0.1", port=80, user="me", host_key="ssh-ed25519 " + "A" * 68)
HANDLE = Handle(driver="fake", region="", id="lofty-x", store="memory://x")
PRETENDED = """
import socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
time.sleep(float(sys.argv[2]))
sys.stderr.write(sys.argv[3])
"""


class Scene:
    """A keeper, and what its `ssh` and its driver do."""

    def __init__(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.near = place / "forward", place / "near"
        self.folder.mkdir()
        order = Order(name="ws", handle=HANDLE, port=1, end=END, home=str(place), cache=str(place))
        self.status = Status(pid=1, birth=0.0)
        self.relay = relay.Relay(self.near, "ws")
        self.keeper = relay.Keeper(self.folder, order, self.status, self.relay, self.near)
        self.runs: list[Endpoint] = []
        self.does: Callable[[], list[str]] = self.refuses("nothing")
        monkeypatch.setattr(ssh, "forwarding", self._forwarding)
        monkeypatch.setattr(relay, "FIRST_PAUSE", 0.01)
        self._patch = monkeypatch

    def _forwarding(self, folder: Path, end: Endpoint, near: Path) -> list[str]:
        self.runs.append(end)
        return self.does()

    def refuses(self, words: str) -> Callable[[], list[str]]:
        return lambda: [sys.executable, "-S", "-c", f"import sys; sys.exit({words!r})"]

    def serves(self, seconds: float, words: str = "") -> Callable[[], list[str]]:
        return lambda: [sys.executable, "-S", "-c", PRETENDED, str(self.near), str(seconds), words]

    def told(self, answer: Endpoint | Exception | None) -> None:
        """What the driver says from now on."""

        def where() -> Endpoint | None:
            if isinstance(answer, Exception):
                raise answer
            return answer

        self._patch.setattr(self.keeper, "_where", where)

    def problem(self) -> Problem | None:
        """What a command would be told."""
        return self.status.problem

    async def keep(self, seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            await self.keeper.keep()


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(tmp_path, monkeypatch)


def test_what_no_other_try_would_change_ends_it(scene: Scene) -> None:
    scene.does = scene.refuses("Host key verification failed.")
    with pytest.raises(AccessError, match="has not the host key"):
        asyncio.run(scene.keep())
    assert len(scene.runs) == 1


def test_it_goes_on_when_it_was_up_once(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new machine may be there before its key is known."""
    scene.told(END)
    scene.does = scene.serves(0.2)
    monkeypatch.setattr(relay, "LOST_FOR", 1.0)
    connected = scene.serves(0.1)

    async def story() -> None:
        keeping = asyncio.create_task(scene.keep())
        await scene.relay.up.wait()
        scene.does = scene.refuses("Host key verification failed.")
        for _ in range(500):
            if len(scene.runs) >= 4:
                break
            await asyncio.sleep(0.01)
        assert scene.problem() == Problem.of(ssh.failure("Host key verification failed.", END, "ws"))
        scene.does = connected
        await scene.relay.up.wait()
        assert (scene.problem(), scene.status.up) == (None, True)
        keeping.cancel()
        await asyncio.wait({keeping})

    asyncio.run(story())


def test_a_task_that_is_gone_ends_it(scene: Scene) -> None:
    scene.told(relay._Over("the task is gone"))
    with pytest.raises(relay._Over):
        asyncio.run(scene.keep())


@pytest.mark.parametrize("told", [None, Unavailable("no machine yet")])
def test_it_gives_up_a_task_without_a_machine(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, told: LoftyError | None
) -> None:
    scene.told(told)
    short, long = ("STOPPED_FOR", "LOST_FOR") if told is None else ("LOST_FOR", "STOPPED_FOR")
    monkeypatch.setattr(relay, short, 0.3)
    monkeypatch.setattr(relay, long, 1e9)
    with pytest.raises(relay._Over, match="too long"):
        asyncio.run(scene.keep())
    assert len(scene.runs) == 1, "it knows that there is nothing to connect to"


def test_where_the_cloud_does_not_answer_the_last_address_is_tried(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.told(LoftyError("the credentials have expired"))
    monkeypatch.setattr(relay, "LOST_FOR", 0.5)
    with pytest.raises(relay._Over):
        asyncio.run(scene.keep())
    assert len(scene.runs) > 1
    assert set(scene.runs) == {END}


def test_a_connection_waits_for_the_machine_and_not_for_ever(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        server = await asyncio.start_server(scene.relay.carry, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setattr(relay, "HOLD", 0.1)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"question")
        assert await reader.read() == b""
        writer.close()
        monkeypatch.setattr(relay, "HOLD", 10)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"question")
        writer.write_eof()
        scene.relay.up.set()  # not true yet: ssh has just ended
        await asyncio.sleep(0.1)

        async def answer(far: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
            back.write(b"answer to " + await far.read())
            back.close()

        there = await asyncio.start_unix_server(answer, scene.near)
        assert await reader.read() == b"answer to question"
        for one in (writer, server, there):
            one.close()

    asyncio.run(story())


PAGE = b"GET /ws/lab HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/html\r\n\r\n"


@pytest.mark.parametrize("way", ["none", "closed"])
def test_who_wants_a_page_is_told_why_there_is_none(scene: Scene, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    """There is no way to the machine; or there is one, and nothing serves at its end yet."""

    async def story() -> None:
        async def closes(far: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
            await far.read(1)
            back.close()

        there = await asyncio.start_unix_server(closes, scene.near)
        if way == "closed":
            scene.relay.up.set()
        scene.relay.news.problem = "<nobody> is there"
        server = await asyncio.start_server(scene.relay.carry, "127.0.0.1", 0)
        monkeypatch.setattr(relay, "HOLD_PAGE", 0.1)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
        writer.write(PAGE)
        said = await reader.read()
        assert said.startswith(b"HTTP/1.1 503 ")
        assert b"&lt;nobody&gt; is there" in said
        assert scene.relay.wanted.is_set(), "its keeper looks for the machine now"
        for one in (writer, server, there):
            one.close()

    asyncio.run(story())


def test_words_of_one_process_arrive_in_another(tmp_path: Path) -> None:
    error = Problem.of(AccessError("refused", hint="lofty stop ws")).error()
    assert (type(error), str(error), error.hint) == (AccessError, "refused", "lofty stop ws")
    assert not forward.runs(tmp_path, "lofty-x")
    folder = forward.folder_of(tmp_path, "lofty-x")
    folder.mkdir(parents=True)
    (folder / "status.json").write_bytes(b"{")
    assert not forward.runs(tmp_path, "lofty-x")
    forward.put_status(folder, Status(pid=2**22 + 1, birth=1.0, run="/home/me"))
    assert not forward.runs(tmp_path, "lofty-x")
    forward.forget(tmp_path, "lofty-x")
    assert not folder.exists()
    assert msgspec.json.decode(msgspec.json.encode(END), type=Endpoint) == END
