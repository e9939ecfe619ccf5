"""What a workspace at rest costs in requests: 0.02 USD a day at most, everything counted that its machine asks and that
a computer asks which is attached to it.

In `make test` an hour is played in half a minute, with every pace 120 times as quick, by the agent itself, the relay's
own look and `Task.attach`, against the emulated cloud. `test_an_hour_at_rest` waits for a real one.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from lofty.agent import main, mirror, pace
from lofty.agent.claim import claim
from lofty.agent.end import End
from lofty.agent.main import Agent
from lofty.agent.order import Order
from lofty.drivers.aws import driver as aws
from lofty.drivers.aws.place import Place
from lofty.model.spec import Process
from lofty.reach import relay
from lofty.reach.forward import Order as RelayOrder
from lofty.reach.forward import Status
from lofty.reach.relay import Keeper, Relay
from lofty.store.base import Store
from lofty.store.files import live
from lofty.store.records import Records
from lofty.task import Task
from tests.aws.account import Account
from tests.aws.bill import DAY, MOST, bill, told
from tests.conftest import eventually

QUICK = 120.0
HOUR = 3600.0
LOOK = ("task.json", "0/lease", "machines/0001.0", "deadline.json")
"""Read at each look at a task."""
TIDYING = ("s3:GetObject files/versions", "s3:ListObjectsV2 files/", "s3:ListObjectsV2 files/garbage",
           "s3:PutObject files/garbage")  # fmt: skip
"""Each hour, by every side that has the files."""
MACHINE = {
    "s3:PutObject 0/lease": DAY / 40,
    "s3:GetObject deadline.json": DAY / 60,
    "s3:GetObject files/HEAD": DAY / 20,
    **dict.fromkeys(TIDYING, DAY / HOUR),
}
"""What a machine asks in a day, and how often."""
ATTACHED = {
    **{f"s3:GetObject {place}": DAY / 60 + DAY / 120 for place in LOOK},
    "s3:GetObject 0/lease": DAY / 60 + 2 * DAY / 120,
    "s3:GetObject machines/0001.0": DAY / 60 + 2 * DAY / 120,
    "s3:GetObject files/HEAD": DAY / 20,
    **dict.fromkeys(TIDYING, DAY / HOUR),
}
"""And what is asked on a computer: `lofty lab` in a terminal looks each minute, and the process that holds the way to
the machine each two minutes, and then for the machine's address too."""


class Side:
    """The machine's part of a driver, where there is no machine."""

    def identity(self) -> str:
        return "i-0"

    def notice(self) -> str | None:
        return None

    def end(self) -> None:
        return


class Quick:
    """A clock that everybody waits for, but not long."""

    def now(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / QUICK)


class Watch:
    """A keeper that keeps nothing."""

    pid = 0

    def dismiss(self) -> None:
        return


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every pace of a store in a cloud, so many times as quick."""

    def quicker(pace: msgspec.Struct) -> msgspec.Struct:
        seconds = msgspec.to_builtins(pace)
        return msgspec.structs.replace(pace, **{name: value / QUICK for name, value in seconds.items()})

    for module, name in ((main, "RENEW_SECONDS"), (live, "ACTIVE"), (live, "TIDY"), (relay, "LOOK_EVERY")):
        monkeypatch.setattr(module, name, getattr(module, name) / QUICK)
    monkeypatch.setattr(live, "SCAN_SHARE", live.SCAN_SHARE * QUICK)
    monkeypatch.setattr(pace, "CLOUD", quicker(pace.CLOUD))
    at_rest = quicker(live.CLOUD)
    for module in (live, mirror):
        monkeypatch.setattr(module, "CLOUD", at_rest)


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("quick")
def test_an_hour_at_rest_played_in_half_a_minute(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws, "mine", lambda _: "198.51.100.7")
    client = account.computer()
    client.clock = Quick()
    task = account.lab(client)
    eventually(lambda: [one for one in account.cloud.machines(task.handle.id) if one.state == "running"], 10)
    make, key = _machine(account, task, tmp_path, monkeypatch)
    others = (_attached(task), _looked_after(account, task, tmp_path))
    ended = threading.Event()
    threads = [threading.Thread(target=one, args=(ended,)) for one in others]
    first, last, seconds = asyncio.run(_lived(make, account, threads))
    ended.set()
    threads[1].join(30)  # it asks for the machine, which has to be there
    task._scale(0, None)
    threads[0].join(30)
    assert not any(thread.is_alive() for thread in threads)
    calls = account.cloud.calls[first:last]
    machine, attached = told(calls, {key}, seconds * QUICK)
    for counted, expected in ((machine, MACHINE), (attached, ATTACHED)):
        assert {kind for kind in counted if kind.startswith("s3:")} == set(expected)
        for kind, often in expected.items():
            # Waiting for answers is not sped up: on a busy computer a round takes longer than its pace says, so what
            # is billed below is the paces themselves.
            assert 0 < counted[kind] <= 1.1 * often + 24, kind
    assert bill(machine) + bill(attached) <= MOST
    assert bill(Counter(MACHINE)) <= 0.0136
    assert bill(Counter(MACHINE)) + bill(Counter(ATTACHED)) <= MOST


def _machine(
    account: Account, task: Task, root: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Callable[[], Agent], str]:
    """What makes the agent of the task's machine, with the machine's own role; and the id of its key."""
    (there,) = account.cloud.machines(task.handle.id)
    place = Place.of(task._driver._clients, task.handle.id)  # type: ignore[attr-defined]
    key = account.cloud.account.keys.role(place.role, there.id, 3600)
    own = {"AWS_ACCESS_KEY_ID": key.id, "AWS_SECRET_ACCESS_KEY": key.secret, "AWS_SESSION_TOKEN": key.session}
    found = claim(task.records, Store(place.states), there.id, 1)
    assert found is not None
    machine = found.machine
    machine.host_key, machine.user = "ssh-ed25519 AAAA", "ubuntu"
    task.records.put_machine(machine)
    spec = task.records.spec()
    assert spec is not None
    serve = Process(name="jupyter", argv=(sys.executable, "-c", "import time; time.sleep(600)"), restart=True)
    spec = msgspec.structs.replace(spec, processes=(serve,), tools="", kernel=False, python=sys.executable)
    folders = {name: root / "machine" / name for name in ("work", "state", "cache", "run")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    order = Order(
        store=task.handle.store, states=place.states, machine=machine.id, holder=there.id,
        workdir=str(folders["work"]), state=str(folders["state"]), cache=str(folders["cache"]),
    )  # fmt: skip

    def make() -> Agent:
        with monkeypatch.context() as patch:
            for name, value in own.items():
                patch.setenv(name, value)
            return Agent(order, Records(Store(order.store)), spec, machine, folders["run"], Side())

    return make, key.id


def _attached(task: Task) -> Callable[[threading.Event], None]:
    """`lofty lab` in a terminal."""

    def stay(_: threading.Event) -> None:
        task.attach(told=lambda _: None, failed=lambda error: pytest.fail(str(error)))

    return stay


def _looked_after(account: Account, task: Task, root: Path) -> Callable[[threading.Event], None]:
    """The process that holds the way to it, as long as its connection stands."""
    end = task._reach()
    order = RelayOrder(
        name=task.name, handle=task.handle, port=1, end=end, home=str(root / "relay"), cache=str(account.cache)
    )
    keeper = Keeper(root, order, Status(pid=0, birth=0.0), Relay(root / "x", task.name), root / "x")

    def stay(ended: threading.Event) -> None:
        while not ended.wait(relay.LOOK_EVERY):
            keeper._where()

    return stay


async def _lived(make: Callable[[], Agent], account: Account, others: list[threading.Thread]) -> tuple[int, int, float]:
    """The agent's life, and that of the others beside it, with an hour at rest: from and to which call, and how many
    seconds that were."""
    agent = make()
    for thread in others:
        thread.start()
    life = asyncio.create_task(agent.live(Watch()))  # type: ignore[arg-type]
    await agent._ready["jupyter"].wait()
    await asyncio.sleep(2 * live.ACTIVE + 1)  # until the last change is no work any more
    first, began = len(account.cloud.calls), time.monotonic()
    await asyncio.sleep(HOUR / QUICK)
    last, seconds = len(account.cloud.calls), time.monotonic() - began
    agent._finish(End("stopped"))
    await life
    return first, last, seconds
