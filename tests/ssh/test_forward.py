"""Forwards to a real ssh server: what goes through, what is refused, what comes back, and what is left."""

from __future__ import annotations

import http.client
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import msgspec
import psutil
import pytest

from lofty import Client, Task
from lofty.errors import Unavailable
from lofty.model.state import State
from lofty.reach import forward
from lofty.store.base import Store
from lofty.store.records import Records

from ..conftest import eventually
from ..e2e.support import port_free, read_frame, send_frame, websocket
from .conftest import Site
from .elsewhere import Elsewhere

RELAY = "lofty.reach.relay"


def fetch(port: int, path: str = "/project/lab", timeout: float = 30) -> str:
    """What the page at that port says."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def _page(port: int) -> str:
    """As `fetch`; nothing where the connection breaks."""
    with suppress(OSError, http.client.HTTPException):
        return fetch(port)
    return ""


def echo(connection: socket.socket, text: str) -> str:
    send_frame(connection, text)
    return read_frame(connection)[1].decode()


def opened(port: int) -> socket.socket:
    made = websocket(port, "/project/api/kernels", None)
    assert isinstance(made, socket.socket)
    return made


def test_pages_and_websockets_go_through(site: Site) -> None:
    machine, port = site.lab()
    assert fetch(port) == "first"
    assert len(fetch(port, "/large")) == 5 * 2**20
    with opened(port) as kernel:
        assert [echo(kernel, text) for text in ("a", "b", "a" * 100)] == ["a", "b", "a" * 100]
    assert machine.page.port != port
    asked = site.lofty.ok("url")
    assert f"http://127.0.0.1:{port}/project/lab?token=" in asked.out
    assert len(site.processes(RELAY)) == len(site.processes("ssh")) == 1


def test_nothing_secret_is_said_or_readable(site: Site) -> None:
    site.lab()
    token, key = ((site.store / "private" / name).read_text() for name in ("token", "ssh"))
    said = [" ".join(process.cmdline()) for process in site.lofty.processes()]
    log = (site.home / "forward" / site.task / "log").read_text()
    order = (site.home / "forward" / site.task / "order.json").read_text()
    assert not any(token in text or key.splitlines()[1] in text for text in (*said, log, order))
    kept = [path for place in ("ssh", "forward") for path in (site.home / place / site.task).iterdir()]
    assert (site.home / "ssh" / site.task / "key").read_text() == key
    assert [path.name for path in kept if path.stat().st_mode & 0o077 and path.name not in ("log", "lock")] == []
    assert (site.home / "forward" / site.task).stat().st_mode & 0o077 == 0


def test_a_machine_with_another_host_key_is_refused(site: Site) -> None:
    machine, other = site.machine(), site.machine("other")
    site.publish(msgspec.structs.replace(machine.end, ssh_port=other.port))
    refused = site.lofty("lab", site.folder, "-d")
    assert refused.code == 3
    assert "has not the host key that 'project' published: nothing was sent to it" in refused.err
    assert "  try: lofty stop project" in refused.err
    assert other.page.asked == machine.page.asked == 0
    assert "Accepted" not in other.log
    eventually(lambda: not site.lofty.processes(), 5)


@pytest.mark.parametrize("key", ["", "ssh-ed25519 AAAA\nlofty ssh-ed25519 AAAB", "ssh-rsa AAAA"])
def test_a_machine_without_a_usable_host_key_is_refused(site: Site, key: str) -> None:
    machine = site.machine()
    site.publish(msgspec.structs.replace(machine.end, host_key=key))
    refused = site.lofty("lab", site.folder, "-d")
    assert refused.code == 3
    assert "it cannot be told from another one" in refused.err
    assert "Connection from" not in machine.log.replace("Connection from 127.0.0.1", "", 1)  # of the fixture's own look


def test_a_key_that_the_machine_does_not_know(site: Site) -> None:
    site.publish(site.machine(authorized=site.folder / "nothing"))
    refused = site.lofty("lab", site.folder, "-d")
    assert refused.code == 3
    assert "refused the key of 'project'" in refused.err


def test_a_replaced_machine_is_found_at_the_same_port(site: Site) -> None:
    machine, port = site.lab()
    kernel = opened(port)
    assert echo(kernel, "before") == "before"
    other = site.machine("second")
    machine.kill()
    began = time.monotonic()
    with suppress(ConnectionError):
        assert kernel.recv(1) == b""  # an open page hears of it at once, and connects again
    assert not port_free(port)
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(fetch, port)  # and waits instead of being refused
        time.sleep(0.3)
        site.publish(other)
        assert waiting.result() == "second"
    seconds = time.monotonic() - began
    with opened(port) as again:
        assert echo(again, "after") == "after"
    kernel.close()
    print(f"\nthe replaced machine answered after {seconds:.2f} s")
    assert seconds < 5
    assert f":{port}/" in site.lofty.ok("url").out
    assert len(site.processes(RELAY)) == len(site.processes("ssh")) == 1


def test_a_dropped_connection_comes_back(site: Site) -> None:
    _, port = site.lab()
    for _ in range(3):
        eventually(lambda: site.processes("ssh"))
        (killed,) = site.processes("ssh")
        began = time.monotonic()
        killed.kill()
        psutil.wait_procs([killed], 5)
        eventually(lambda: _page(port) == "first", 10)  # what was under way in the connection that broke is lost
        print(f"\nssh was killed, and the page answered after {time.monotonic() - began:.2f} s")


def test_a_machine_that_moves_while_the_old_one_still_answers(site: Site) -> None:
    _, port = site.lab()
    site.publish(site.machine("second"))
    assert fetch(port) == "first"  # until it looks, every two minutes, or is woken
    site.processes(RELAY)[0].send_signal(signal.SIGUSR1)
    eventually(lambda: _page(port) == "second", 5)  # what is under way while it moves is lost
    assert len(site.processes(RELAY)) == len(site.processes("ssh")) == 1


def test_a_nudge_gets_to_the_machine_and_its_token_nowhere_else(site: Site) -> None:
    machine, port = site.lab()
    task = person(site)
    before = machine.page.asked
    task._nudge()
    assert machine.page.heads[-1][0] == "POST /project/lofty/api/nudge HTTP/1.1"
    assert machine.page.asked == before + 2, "one of them to see whether a connection goes through"
    forward.end(site.home, site.task)
    with Trap(port) as trap:
        task._nudge()
        assert trap.heard == b""


class Trap:
    """Somebody else at a workspace's port."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))

    def __enter__(self) -> Trap:
        return self

    def __exit__(self, *error: object) -> None:
        self._listener.close()

    @property
    def heard(self) -> bytes:
        """What the first that came has said."""
        self._listener.settimeout(0.2)
        try:
            connection, _ = self._listener.accept()
        except TimeoutError:
            return b""
        with connection:
            return connection.recv(4096)


@pytest.mark.parametrize("becomes", ["running", "failed"])
def test_the_way_is_made_while_the_machine_gets_ready(site: Site, becomes: State) -> None:
    site.lab()
    site.lofty.ok("stop", "project")
    (site.home / "elsewhere" / "slow").touch()
    command = site.lofty.popen("start", "project")
    eventually(lambda: site.processes(RELAY) and forward._read(forward.folder_of(site.home, site.task)), 15)
    eventually(lambda: forward._read(forward.folder_of(site.home, site.task)).up, 15)  # type: ignore[union-attr]
    assert command.poll() is None
    records = Records(Store(site.store.as_uri()))
    (machine,) = records.machines()
    machine.state, machine.reason = becomes, "it broke" if becomes == "failed" else ""
    records.put_machine(machine)
    _, said = command.communicate(timeout=15)
    if becomes == "running":
        assert command.returncode == 0
        assert len(site.processes(RELAY)) == len(site.processes("ssh")) == 1
    else:
        assert command.returncode != 0
        assert "it broke" in said
        assert site.processes(RELAY) == site.processes("ssh") == []


def test_two_commands_at_once_start_one_forward(site: Site) -> None:
    site.lab()
    forward.end(site.home, site.task)
    eventually(lambda: not site.lofty.processes(), 5)
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda _: site.lofty.ok("url"), range(3)))
    assert len({one.out for one in done}) == 1
    # A forward that came too late may still be about to see that.
    eventually(lambda: len(site.processes(RELAY)) == len(site.processes("ssh")) == 1, 10)


def test_what_a_killed_forward_left_is_cleaned_up_by_the_next(site: Site) -> None:
    _, port = site.lab()
    left = site.processes("ssh")[0]
    site.processes(RELAY)[0].kill()
    eventually(lambda: not site.processes(RELAY))
    assert f":{port}/" in site.lofty.ok("url").out
    assert fetch(port) == "first"
    assert not psutil.pid_exists(left.pid) or left.status() == psutil.STATUS_ZOMBIE
    assert len(site.processes(RELAY)) == len(site.processes("ssh")) == 1


def test_it_ends_when_the_task_is_stopped_and_comes_back_with_it(site: Site) -> None:
    _, port = site.lab()
    site.lofty.ok("stop", "project")
    eventually(lambda: not site.lofty.processes(), 5)
    assert port_free(port)
    assert site.lofty("url").code == 2
    assert f":{port}/" in site.lofty.ok("start", "project").out
    assert fetch(port) == "first"
    site.lofty.ok("down", "project", "-y", "--discard")
    eventually(lambda: not site.lofty.processes(), 5)
    left = [path for place in ("ssh", "forward") for path in (site.home / place).iterdir()]
    assert left == []


def test_it_ends_by_itself_when_the_task_is_gone(site: Site) -> None:
    machine, port = site.lab()
    (site.store / "task.json").unlink()  # another computer took it down
    machine.kill()
    eventually(lambda: not site.lofty.processes(), 10)
    assert port_free(port)
    assert not (site.home / "ssh" / site.task).exists()


def test_a_port_that_is_taken_here(site: Site) -> None:
    _, port = site.lab()
    forward.end(site.home, site.task)
    with socket.create_server(("127.0.0.1", port)):
        refused = site.lofty("url")
        assert refused.code == 2
        assert f"port {port} of this computer is in use by python" in refused.err
        assert "lofty url project" in refused.err
    eventually(lambda: not site.lofty.processes(), 5)
    site.lofty.ok("url")


def test_a_machine_that_nothing_serves_on(site: Site) -> None:
    machine, _ = site.lab()
    forward.end(site.home, site.task)
    site.publish(msgspec.structs.replace(machine.end, port=1))
    assert "nothing answers at its port 1" in short(site, patience=2)


def test_a_machine_that_is_away_is_waited_for(site: Site) -> None:
    machine, _ = site.lab()
    forward.end(site.home, site.task)
    machine.kill()
    assert "cannot be reached: " in short(site, patience=2)
    other = site.machine("second")
    site.publish(other)
    began = time.monotonic()
    site.lofty.ok("url")
    assert time.monotonic() - began < 5, "a command cuts the pause short"


def short(site: Site, patience: float) -> str:
    """What `Task.connect` says to somebody with little patience."""
    with pytest.raises(Unavailable) as raised:
        person(site).connect(patience)
    return str(raised.value)


def person(site: Site) -> Task:
    """The task as a Python program has it."""
    client = Client(site.lofty.environ)
    client._drivers["elsewhere"] = Elsewhere(client.settings)  # this process has not the plugin on its path
    [record] = client.driver("elsewhere").find(client.owner)
    return Task(client, record)
