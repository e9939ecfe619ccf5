"""The cloud itself: objects with tags, and machines that live by a script.

Nothing here waits. Time is whatever the cloud's `now` says; at every call the machines catch up with it, and write
into the task's store what an agent would have written.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from ...agent.log import Log
from ...model.spec import TaskSpec
from ...model.state import ALIVE, Endpoint, Event, Machine, State
from ...store.base import Store
from ...store.records import Records
from ..base import Settings
from .faults import Faults

if TYPE_CHECKING:
    from .driver import FakeDriver

APPEARS_AFTER = 8.0
"""Seconds until a new object is seen under the fault `slow-to-appear`."""


class Script(msgspec.Struct, kw_only=True):
    """What machines do, in seconds of the cloud's time."""

    boot: float = 30.0
    runs: float | None = 60.0
    """How long a job works before it ends; None: until it is stopped. A workspace never ends by itself."""
    exit_code: int = 0
    ends_in: float = 5.0
    """How long a machine takes to end when it is asked to."""
    output: tuple[tuple[float, str], ...] = ()
    """What is written to standard output, and how long after the machine is up."""


class _Object(msgspec.Struct):
    """One object in the cloud."""

    owner: str
    task: str
    born: float


class _Instance(msgspec.Struct):
    """One machine as the cloud knows it; what it says of itself lies in the store."""

    machine: Machine
    script: Script
    job: bool
    log: Log
    written: int = 0
    asked: float | None = None
    stuck: bool = False
    lost_at: float | None = None


class _Group(msgspec.Struct):
    """A scaling group: how many machines there should be, and until when."""

    spec: TaskSpec
    wanted: int = 0
    deadline: float | None = None
    instances: list[_Instance] = []


_numbers = itertools.count(1)
_by_home: dict[str, Cloud] = {}


class Cloud:
    """The account: shared by every `FakeDriver` made for it, as by several computers."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self.now = now
        self.script = Script()
        self.address: Endpoint | None = None
        """Where every machine is reached, for tests that have a real ssh server: handed in before the first driver is
        made, which then claims the feature `ssh`."""
        self.calls: list[str] = []
        """Every call that left for the cloud, such as `create group`."""
        self.lock = threading.RLock()
        self.name = f"fake-{next(_numbers)}"
        self._faults = Faults()
        self._objects: dict[tuple[str, str], _Object] = {}
        self._groups: dict[str, _Group] = {}

    @classmethod
    def at(cls, home: str) -> Cloud:
        """The one cloud of this process for a home directory: what the registry's driver talks to."""
        return _by_home.setdefault(home, cls())

    def driver(self) -> FakeDriver:
        """Another computer of the account."""
        from .driver import FakeDriver  # which is made for a cloud, and imports it

        return FakeDriver(Settings(home="", cache=""), self)

    # --- faults -----------------------------------------------------------------------------------------------

    def fail(self, name: str, at: str = "*", *, after: bool = False, times: int | None = 1) -> None:
        """Misbehave: an error of `FAULTS` at the next `times` calls that fit `at` (`create store`, `create *`,
        `scale`; None: for ever), before it takes effect, or `after` it did. Or manners of machines:
        `machine-lost` (of the next machine, without a word), `never-ready`, `never-ends` (`times` requests to end
        are ignored), `slow-to-appear` (for ever)."""
        self._faults.add(name, at, after=after, times=times)

    def heal(self) -> None:
        """Behave again."""
        self._faults.clear()

    def strike(self, call: str, *, after: bool = False) -> None:
        """A call arrives (or has taken effect): raise what is due there."""
        if not after:
            self.calls.append(call)
            self._catch_up()
        self._faults.strike(call, after=after)

    # --- objects ----------------------------------------------------------------------------------------------

    def put(self, kind: str, name: str, spec: TaskSpec) -> None:
        """An object with its tags, in one step; the one that is there already stays."""
        self._objects.setdefault((kind, name), _Object(spec.owner, spec.id, self.now()))
        if kind == "group":
            self._groups.setdefault(name, _Group(spec))

    def remove(self, kind: str, name: str) -> None:
        """An object and all that is in it."""
        self._objects.pop((kind, name), None)
        if kind == "group":
            self._groups.pop(name, None)

    def has(self, kind: str, name: str) -> bool:
        """Whether an object is there, seen or not."""
        return (kind, name) in self._objects

    def visible(self, kind: str, name: str) -> bool:
        """Whether a question for it finds it by now. A store is found at once on every cloud of today."""
        found = self._objects.get((kind, name))
        slow = kind != "store" and self._faults.has("slow-to-appear")
        return found is not None and (not slow or self.now() - found.born >= APPEARS_AFTER)

    def tagged(self, owner: str) -> list[str]:
        """Identifiers of the tasks of an owner that have any object left."""
        names = {one.task for key, one in self._objects.items() if one.owner == owner and self.visible(*key)}
        return sorted(names)

    @property
    def left(self) -> list[str]:
        """Everything there is, machines included: what a bill would show."""
        objects = [f"{kind} {name}" for kind, name in sorted(self._objects)]
        return objects + [f"machine {task} {one.machine.id}" for task, one in self._alive()]

    def _alive(self) -> list[tuple[str, _Instance]]:
        everything = ((name, one) for name, group in self._groups.items() for one in group.instances)
        return [(name, one) for name, one in everything if one.machine.state in ALIVE]

    # --- machines ---------------------------------------------------------------------------------------------

    def scale(self, name: str, machines: int, deadline: float | None) -> None:
        """What a scaling group does when its size is set."""
        group = self._groups.get(name)
        if group is None:
            return
        group.wanted = machines
        running = [one for one in group.instances if one.machine.state in ALIVE]
        if machines == 0:
            for one in running:
                if not self._faults.take("never-ends") and one.asked is None:
                    one.asked = self.now()
            return
        group.deadline = deadline
        if not running:
            number = 1 + max((int(one.machine.id.partition(".")[0]) for one in group.instances), default=0)
            for rank in range(machines):
                self._launch(name, group, number, rank)

    def _launch(self, name: str, group: _Group, number: int, rank: int) -> None:
        records = self.records(name)
        now = self.now()
        machine = Machine(id=f"{number:04d}.{rank}", rank=rank, state="starting", started=now)
        one = _Instance(machine, self.script, group.spec.kind == "job", Log(records.store, machine.id))
        one.stuck = self._faults.take("never-ready")
        if self._faults.take("machine-lost"):
            one.lost_at = now + self.script.boot
        group.instances.append(one)
        records.put_machine(machine)

    def lose(self, name: str) -> None:
        """The machines of a task are taken away at this moment, without a word."""
        for one in self._groups[name].instances:
            if one.machine.state in ALIVE:
                one.lost_at = self.now()

    def records(self, name: str) -> Records:
        """A task's records."""
        return Records(Store(self.store_url(name)))

    def store_url(self, name: str) -> str:
        """Where the store of a task lies."""
        return f"memory://{self.name}/{name}"

    def _catch_up(self) -> None:
        for name, group in list(self._groups.items()):
            for one in list(group.instances):
                if one.machine.state in ALIVE:
                    self._live(name, group, one)

    def _live(self, name: str, group: _Group, one: _Instance) -> None:
        """One machine up to the present."""
        machine, now = one.machine, self.now()
        up = (machine.started or 0.0) + one.script.boot
        ends = _ends(group, one, up)
        end, state, reason, error = min(ends, key=lambda found: found[0])
        until = min(end, now)
        if not one.stuck:
            for after, text in one.script.output[one.written :]:
                if up + after <= until:
                    one.log.feed("out", text.encode())
                    one.written += 1
        one.log.settle()
        one.log.flush()
        if end > now:
            ready = now >= up and not one.stuck
            machine.state = "stopping" if one.asked is not None else "running" if ready else "starting"
        else:
            machine.state, machine.reason, machine.error, machine.ended = state, reason, error, end
            if state in ("succeeded", "failed") and not error:
                machine.exit_code = one.script.exit_code
        machine.deadline = group.deadline
        if machine.state != "lost":
            machine.heartbeat = until
            self.records(name).put_machine(machine)
        elif group.spec.need.spot and group.wanted:
            text = f"machine {machine.id} was taken away; another comes"
            self.records(name).add_event(Event(time=end, code="replaced", text=text))
            self._launch(name, group, int(machine.id.partition(".")[0]) + 1, machine.rank)

    def look(self, name: str) -> tuple[list[Machine], float | None] | None:
        """The machines of a task and its deadline, as the cloud tells; None where there is no group to be seen."""
        if not self.visible("group", name):
            return None
        group = self._groups[name]
        return [msgspec.structs.replace(one.machine) for one in group.instances], group.deadline


def _ends(group: _Group, one: _Instance, up: float) -> list[tuple[float, State, str, str]]:
    """All ways in which a machine may come to its end, and when."""
    never = float("inf")
    code = one.script.exit_code
    works = one.job and one.script.runs is not None and not one.stuck
    own = up + one.script.runs if works and one.script.runs is not None else never
    asked = one.asked + one.script.ends_in if one.asked is not None else never
    limit = group.deadline if group.deadline is not None else never
    return [
        (own, "failed" if code else "succeeded", f"exit code {code}" if code else "", ""),
        (asked, "stopped", "", ""),
        (limit, "failed" if one.job else "stopped", "the deadline was reached", "LimitReached"),
        (one.lost_at if one.lost_at is not None else never, "lost", "the machine was taken away", ""),
    ]
