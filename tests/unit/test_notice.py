"""The cloud says that it takes the machine away: the agent ends in good order, and says why."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.conftest import eventually
from tests.unit.support import memory

from lofty.agent import keeper, warning
from lofty.agent.claim import Claim, claim
from lofty.agent.end import End
from lofty.agent.main import Agent
from lofty.agent.order import Order
from lofty.drivers.registry import load_machine
from lofty.model.spec import Process, TaskSpec
from lofty.model.state import Machine, combined
from lofty.store.base import Store
from lofty.store.records import Records


class Doomed:
    """A machine that the cloud wants back."""

    def identity(self) -> str:
        return ""

    def notice(self) -> str | None:
        return "the spot machine is taken back"

    def end(self) -> None:
        raise AssertionError("the cloud does that itself")


def test_a_notice_begins_the_end_and_is_remembered(tmp_path: Path) -> None:
    spec = TaskSpec(
        id="lofty-x-0", name="x", owner="me", kind="workspace", created=1.0, on="local", workdir=str(tmp_path),
        processes=(Process(name="jupyter"),),
    )  # fmt: skip
    records = Records(Store((tmp_path / "store").as_uri()))
    records.create_spec(spec)
    order = Order(store=records.store.url, machine="0001.0", workdir="", state="", cache="")

    async def live() -> End:
        machine = Machine(id="0001.0", started=time.time())
        agent = Agent(order, records, spec, machine, tmp_path, Doomed())
        await asyncio.wait_for(agent._watching.notice(Doomed()), 5)
        return await agent._end

    assert asyncio.run(live()) == End("interrupted", "the spot machine is taken back", goes_on=True)
    assert [event.code for event in records.events()] == ["interrupted"]


def test_this_computer_is_taken_back_by_nobody() -> None:
    assert load_machine("local").notice() is None


SAVES = """
import os, pathlib, signal, sys, time
def leave(*_):
    seen = pathlib.Path(os.environ["LOFTY_NOTICE"]).read_text()
    pathlib.Path("saved.txt").write_text(seen + os.environ.get("LOFTY_RESTART", "first"))
    sys.exit(0)
signal.signal(signal.SIGTERM, leave)
pathlib.Path("begun.txt").touch()
time.sleep(60)
"""


def job(tmp_path: Path, code: str, **asked: Any) -> tuple[Order, Records, TaskSpec, Claim, Path]:
    """A job of a machine that has the lease, for the second time."""
    work, run = tmp_path / "work", tmp_path / "run"
    for folder in (work, run):
        folder.mkdir()
    (work / "job.py").write_text(code)
    spec = TaskSpec(
        id="lofty-j-0", name="j", owner="me", kind="job", created=1.0, on="local", workdir=str(work),
        processes=(Process(name="job", argv=("{python}", "job.py")),), python=sys.executable, **asked,
    )  # fmt: skip
    records = Records(Store((tmp_path / "store").as_uri()))
    records.create_spec(spec)
    states = memory()  # a disk takes no names as long as theirs
    claim(records, states, "i-before", 1)
    found = claim(records, states, "i-before", 1)
    assert found is not None
    found.machine.pid = os.getpid()
    order = Order(
        store=records.store.url, states=states.url, machine=found.machine.id, workdir="", state=str(tmp_path / "state"),
        cache=str(tmp_path / "cache"), holder="i-before",
    )  # fmt: skip
    return order, records, spec, found, run


def pipe() -> keeper.Keeper:
    """Of a keeper that keeps nothing: the process of the test is not to fork."""
    receive, send = os.pipe()
    reader = subprocess.Popen(["cat"], stdin=receive, stdout=subprocess.DEVNULL)
    os.close(receive)
    reader.returncode = 0  # the agent waits for its end
    return keeper.Keeper(reader.pid, send)


def test_a_job_is_warned_and_its_work_goes_on_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process ends with 0, and yet it is not done: the lease is free, and not over."""
    monkeypatch.setattr(warning, "WARNED_SECONDS", 0.2)
    monkeypatch.setattr(warning, "HURRIED_SECONDS", 0.1)
    monkeypatch.setattr("lofty.agent.watching.NOTICE_SECONDS", 0.05)
    order, records, spec, found, run = job(tmp_path, SAVES)
    work = Path(spec.workdir)

    class Patient(Doomed):
        def notice(self) -> str | None:
            return super().notice() if (work / "begun.txt").exists() else None

    async def live(keep: keeper.Keeper) -> None:
        agent = Agent(order, records, spec, found.machine, run, Patient())
        await asyncio.wait_for(agent.live(keep), 60)

    asyncio.run(live(pipe()))
    assert (work / "saved.txt").read_text() == "the spot machine is taken back\n1"
    word = records.machine(found.machine.id)
    assert word is not None
    assert (word.state, word.reason) == ("interrupted", "the spot machine is taken back")
    assert b'"over":false' in Store(order.states).read("0/lease")[0]
    assert combined((word,)) == "stopped"


def test_the_machine_of_a_failed_job_stays_until_it_is_told_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, records, spec, found, run = job(tmp_path, "raise SystemExit(3)", keep_on_error=True)
    calls: list[str] = []
    monkeypatch.setattr("lofty.agent.main.end_for_good", lambda _: calls.append("end"))

    class Kept(Doomed):
        def notice(self) -> str | None:
            return None

    async def live(keep: keeper.Keeper) -> Machine:
        agent = Agent(order, records, spec, found.machine, run, Kept())
        going = asyncio.create_task(agent.live(keep))
        while not (seen := records.machine(found.machine.id)) or not seen.kept:
            assert not going.done()
            await asyncio.sleep(0.05)
        records.put_deadline(time.time() + 1000)
        await asyncio.sleep(0.3)
        assert not going.done()
        assert b'"over":true' in Store(order.states).read("0/lease")[0], "and no other machine begins the job again"
        records.put_deadline(time.time() - 1)
        await asyncio.wait_for(going, 20)
        return seen

    seen = asyncio.run(live(pipe()))
    assert (seen.state, seen.exit_code) == ("failed", 3)
    assert "lofty ssh j" in seen.reason
    last = records.machine(found.machine.id)
    assert last is not None
    assert (last.state, last.kept, last.reason, calls) == ("failed", False, "exit code 3", ["end"])


KERNEL = """
import pathlib, sys, time
try:
    pathlib.Path(sys.argv[2]).touch()
    time.sleep(60)
except KeyboardInterrupt:
    pathlib.Path(sys.argv[2]).write_text("saved")
"""


def test_kernels_are_interrupted_and_nothing_else_is(tmp_path: Path) -> None:
    script, kernel, other = tmp_path / "k.py", tmp_path / "kernel.txt", tmp_path / "other.txt"
    script.write_text(KERNEL)
    connection = f"{tmp_path}/jupyter/kernel-1.json"
    begun = [
        subprocess.Popen([sys.executable, str(script), connection, str(kernel)]),
        subprocess.Popen([sys.executable, str(script), "kernel-1.json", str(other)]),
    ]
    eventually(lambda: kernel.exists() and other.exists(), 20)
    warning.warn(tmp_path, "soon", [psutil.Process(one.pid) for one in begun])
    assert begun[0].wait(10) == 0
    assert (kernel.read_text(), other.read_text()) == ("saved", "")
    assert warning.file(tmp_path).read_text() == "soon\n"
    begun[1].kill()
    begun[1].wait(10)
