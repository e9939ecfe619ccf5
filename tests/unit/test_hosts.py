"""What a process of a job is told of the other machines, and of those before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from lofty.agent import environment, recipe
from lofty.agent.hosts import WAIT_SECONDS, address, hosts
from lofty.model.spec import Kind, Process, TaskSpec
from lofty.model.state import Machine, State
from lofty.store.records import Records

from .support import memory


@pytest.fixture
def records() -> Records:
    return Records(memory())


def there(records: Records, machine: str, where: str, state: State = "running") -> None:
    rank = int(machine.partition(".")[2])
    records.put_machine(Machine(id=machine, rank=rank, state=state, address=where, pid=1 if where else None))


class Time:
    """Passes while somebody waits; then what is to happen at that moment happens."""

    def __init__(self, **events: object) -> None:
        self.now, self.waits = 0.0, 0
        self.then: object = None

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.waits += 1
        if callable(self.then):
            self.then()


def asked(records: Records, size: int, time: Time) -> tuple[str, ...]:
    return hosts(records, Machine(id="0001.0", address="10.0.0.1"), size, 2.0, sleep=time.sleep, now=lambda: time.now)


def test_all_are_there_and_nobody_waits(records: Records) -> None:
    there(records, "0001.0", "10.0.0.1")
    there(records, "0001.1", "10.0.0.2")
    time = Time()
    assert asked(records, 2, time) == ("10.0.0.1", "10.0.0.2")
    assert time.waits == 0


def test_who_comes_late_is_waited_for(records: Records) -> None:
    there(records, "0001.0", "10.0.0.1")
    there(records, "0001.1", "", "starting")
    time = Time()
    time.then = lambda: there(records, "0001.1", "10.0.0.2" if time.waits == 3 else "", "starting")
    assert asked(records, 2, time) == ("10.0.0.1", "10.0.0.2")
    assert time.waits == 3


def test_but_not_for_ever(records: Records) -> None:
    there(records, "0001.0", "10.0.0.1")
    time = Time()
    assert asked(records, 3, time) == ("10.0.0.1", "", "")
    assert WAIT_SECONDS <= time.now < WAIT_SECONDS + 3


def test_of_a_rank_the_newest_machine_counts_and_a_lost_one_is_nowhere(records: Records) -> None:
    there(records, "0001.0", "10.0.0.1", "interrupted")
    there(records, "0002.0", "10.0.0.7")
    there(records, "0001.1", "10.0.0.2", "succeeded")
    there(records, "0001.2", "10.0.0.3", "interrupted")
    time = Time()
    time.then = lambda: there(records, "0002.2", "10.0.0.8")
    told = ("10.0.0.7", "10.0.0.2", "10.0.0.8")
    assert asked(records, 3, time) == told, "what has done its work is not waited for, and all are told the same"
    assert time.waits == 1


def test_machines_on_this_computer_are_all_here() -> None:
    assert address(alone=True) == "127.0.0.1"


def environ(tmp_path: Path, machine: str, kind: Kind = "job") -> dict[str, str]:
    spec = TaskSpec(id="lofty-x-0", name="x", owner="me", kind=kind, created=1.0, on="aws", processes=(), parallelism=2)
    user = environment.UserEnvironment(Path("/env/bin/python"), "", None, ())
    places = recipe.Places(Path("/tools/bin/python"), user, tmp_path, tmp_path, tmp_path)
    rank = int(machine.partition(".")[2])
    return recipe.command(Process(name="job"), spec, Machine(id=machine, rank=rank), places, {}, ("10.0.0.1", ""))[1]


def test_a_process_knows_its_place_and_whether_it_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOFTY_RESTART", raising=False)
    first, third = environ(tmp_path, "0001.1"), environ(tmp_path, "0003.1")
    assert [first[f"LOFTY_{key}"] for key in ("RANK", "SIZE", "HOSTS")] == ["1", "2", "10.0.0.1,"]
    assert first["LOFTY_NOTICE"] == str(tmp_path / "notice")
    assert "LOFTY_RESTART" not in first
    assert third["LOFTY_RESTART"] == "2"
    assert "LOFTY_RESTART" not in environ(tmp_path, "0003.0", "workspace"), "a workspace is only stopped and started"
