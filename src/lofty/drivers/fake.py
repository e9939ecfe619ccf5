"""A cloud in memory, for tests: prices, several computers of one account, machines that live by a script, and
faults by name. Public as `lofty.testing`.

Nothing here waits. Time is whatever the cloud's `now` says; at every call the machines catch up with it, and write
into the task's store what an agent would have written.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase

import msgspec

from ..agent.log import Log
from ..errors import (
    CapacityError,
    CloudError,
    Forbidden,
    LoftyError,
    NotLoggedIn,
    QuotaExceeded,
    SpecError,
    Stale,
    Throttled,
    Unavailable,
    unknown_choice,
)
from ..model import units
from ..model.hardware import GPUS, SIZES, check_machine
from ..model.money import Price
from ..model.spec import Need, TaskSpec
from ..model.state import (
    ALIVE,
    Cursor,
    Endpoint,
    Event,
    Finding,
    Handle,
    LogLine,
    Machine,
    Observation,
    Offer,
    Record,
    State,
    combined,
    latest_start,
    machine_seconds,
)
from ..store.base import Store
from ..store.records import Records
from .base import Feature, Resource, Settings

REGIONS = {"north-1": 1.0, "south-1": 1.25}
"""Regions, and what machines cost there compared with the first."""
PRICES_FROM = "2026-11-23"
_SIZES = {"s": (2, 4.0, 0.02, 1), "m": (8, 32.0, 0.16, 1), "l": (32, 128.0, 0.64, 4), "xl": (64, 256.0, 1.28, 8)}
"""Processors, GiB, USD an hour, and how many GPUs come with the size when one is asked for."""
_GPU_USD = dict(zip(GPUS, (0.2, 0.35, 0.6, 0.9, 2.4, 3.2, 5.0), strict=True))
SPOT_SHARE = 0.3
APPEARS_AFTER = 8.0
"""Seconds until a new object is seen under the fault `slow-to-appear`."""

_ERRORS: dict[str, Callable[[str], BaseException]] = {
    "throttled": lambda at: Throttled(f"{at}: too many requests", hint="wait a little", retry_after=1.0),
    "unavailable": lambda at: Unavailable(f"{at}: service unavailable", hint="wait a little", retry_after=2.0),
    "broken": lambda at: CloudError(f"{at}: internal error", hint="lofty check"),
    "no-capacity": lambda at: CapacityError(f"{at}: no such machine is free", hint="try another --region"),
    "quota": lambda at: QuotaExceeded(f"{at}: the account's limit is reached", hint="ask the cloud for more"),
    "forbidden": lambda at: Forbidden(f"{at}: the right is missing", hint="lofty check"),
    "not-logged-in": lambda at: NotLoggedIn(f"{at}: the credentials have expired", hint="lofty check"),
    "interrupted": lambda at: KeyboardInterrupt(at),
}
_MANNERS = ("slow-to-appear", "machine-lost", "never-ready", "never-ends")
FAULTS = (*_ERRORS, *_MANNERS)


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


class _Fault(msgspec.Struct):
    name: str
    at: str
    after: bool
    times: int | None


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
        self._faults: list[_Fault] = []
        self._objects: dict[tuple[str, str], _Object] = {}
        self._groups: dict[str, _Group] = {}

    @classmethod
    def at(cls, home: str) -> Cloud:
        """The one cloud of this process for a home directory: what the registry's driver talks to."""
        return _by_home.setdefault(home, cls())

    def driver(self) -> FakeDriver:
        """Another computer of the account."""
        return FakeDriver(Settings(home="", cache=""), self)

    # --- faults -----------------------------------------------------------------------------------------------

    def fail(self, name: str, at: str = "*", *, after: bool = False, times: int | None = 1) -> None:
        """Misbehave: an error of `FAULTS` at the next `times` calls that fit `at` (`create store`, `create *`,
        `scale`; None: for ever), before it takes effect, or `after` it did. Or manners of machines:
        `machine-lost` (of the next machine, without a word), `never-ready`, `never-ends` (`times` requests to end
        are ignored), `slow-to-appear` (for ever)."""
        if name not in FAULTS:
            raise ValueError(unknown_choice("fault", name, FAULTS))
        self._faults.append(_Fault(name, at, after, times))

    def heal(self) -> None:
        """Behave again."""
        self._faults.clear()

    def _take(self, name: str) -> bool:
        """Whether a fault of that name is due; it is used up once."""
        for fault in self._faults:
            if fault.name == name and fault.times != 0:
                fault.times = fault.times - 1 if fault.times else None
                return True
        return False

    def strike(self, call: str, *, after: bool = False) -> None:
        """A call arrives (or has taken effect): raise what is due there."""
        if not after:
            self.calls.append(call)
            self._catch_up()
        for fault in self._faults:
            if fault.name in _ERRORS and fault.after == after and fault.times != 0 and fnmatchcase(call, fault.at):
                fault.times = fault.times - 1 if fault.times else None
                raise _ERRORS[fault.name](call)

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
        slow = kind != "store" and any(fault.name == "slow-to-appear" for fault in self._faults)
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
                if not self._take("never-ends") and one.asked is None:
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
        one.stuck = self._take("never-ready")
        if self._take("machine-lost"):
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


class FakeDriver:
    """One computer's view of a `Cloud`."""

    name = "fake"
    features: frozenset[Feature] = frozenset({"spot", "gpus", "parallelism", "regions", "billed"})

    def __init__(self, settings: Settings, cloud: Cloud | None = None) -> None:
        self.cloud = cloud or Cloud.at(settings.home)
        if self.cloud.address:
            self.features = self.features | {"ssh"}

    def check(self) -> Sequence[Finding]:
        """Whether the cloud lets us in."""
        try:
            with self.cloud.lock:
                self.cloud.strike("check")
        except LoftyError as error:
            return [Finding(ok=False, what=str(error), hint=error.hint or "")]
        return [Finding(ok=True, what=f"{self.cloud.name} answers")]

    def offers(self, need: Need) -> Sequence[Offer]:
        """From a table of prices with a date, in every region."""
        wanted = _wanted(need)
        with self.cloud.lock:
            self.cloud.strike("offers")
        fitting = [offer for offer in _catalogue(spot=need.spot) if wanted(offer)]
        return sorted(fitting, key=lambda offer: (offer.usd_per_hour, offer.region, offer.machine))

    def resources(self, task: TaskSpec, offer: Offer | None) -> Sequence[Resource]:
        """The store, the role that may use it, and the scaling group that has the role."""
        return [
            _FakeStore(self.cloud, task),
            _FakeResource(self.cloud, task, "role"),
            _FakeResource(self.cloud, task, "group", needs="role"),
        ]

    def find(self, owner: str) -> Sequence[Record]:
        """By tag, over all kinds of objects: a task of which only a role is left is found too."""
        with self.cloud.lock:
            self.cloud.strike("find")
            names = self.cloud.tagged(owner)
            return [
                Record(handle=self._handle(name), spec=self.cloud.records(name).spec(), seen=self._seen(name))
                for name in names
            ]

    def _handle(self, task_id: str) -> Handle:
        return Handle(driver=self.name, region="north-1", id=task_id, store=self.cloud.store_url(task_id))

    def observe(self, handle: Handle) -> Observation:
        """What the cloud's machines and the task's records say together."""
        with self.cloud.lock:
            self.cloud.strike("observe")
            return self._seen(handle.id)

    def _seen(self, task_id: str) -> Observation:
        records = self.cloud.records(task_id)
        if records.spec() is None:
            return Observation(state="gone")
        machines, deadline = self.cloud.look(task_id) or ([], None)
        newest = latest_start(machines)
        return Observation(
            state=combined(newest),
            machines=newest,
            events=records.events(),
            machine_seconds=machine_seconds(machines, self.cloud.now()),
            deadline=deadline,
        )

    def scale(self, handle: Handle, machines: int, deadline: float | None) -> Handle:
        """Set the group's size; its deadline is the cloud's to keep."""
        with self.cloud.lock:
            self.cloud.strike("scale")
            self.cloud.scale(handle.id, machines, deadline)
            self.cloud.strike("scale", after=True)
        return handle

    def logs(self, handle: Handle, cursor: Cursor) -> Iterator[tuple[LogLine, Cursor]]:
        """From the store, which outlives the machines."""
        with self.cloud.lock:
            self.cloud.strike("logs")
        yield from self.cloud.records(handle.id).log(cursor)

    def reach(self, handle: Handle, port: int, rank: int = 0) -> Endpoint:
        """The address that was handed in; otherwise as if a tunnel ended here."""
        with self.cloud.lock:
            self.cloud.strike("reach")
            return self.cloud.address or Endpoint(how="loopback", host="127.0.0.1", port=port)


class FakeMachine:
    """The part beside the agent; machines of this cloud have no agent."""

    def identity(self) -> str:
        """There is only a script, which knows already."""
        return ""

    def notice(self) -> str | None:
        """They go without a word."""
        return None

    def end(self) -> None:
        """Nothing to end."""


class _FakeResource:
    """One object under the task's name."""

    def __init__(self, cloud: Cloud, task: TaskSpec, kind: str, needs: str = "") -> None:
        self.kind, self.name = kind, task.id
        self._cloud, self._task, self._needs = cloud, task, needs

    def read(self) -> bool:
        with self._cloud.lock:
            self._cloud.strike(f"read {self.kind}")
            return self._cloud.visible(self.kind, self.name)

    def create(self) -> None:
        with self._cloud.lock:
            self._cloud.strike(f"create {self.kind}")
            if self._needs and not self._cloud.has(self._needs, self.name):
                raise CloudError(f"a {self.kind} needs a {self._needs} first")
            self._make()
            self._cloud.strike(f"create {self.kind}", after=True)

    def delete(self) -> None:
        with self._cloud.lock:
            self._cloud.strike(f"delete {self.kind}")
            if self.kind == "role" and self._cloud.has("group", self.name):
                raise CloudError("the role is still in use by a group")
            self._unmake()
            self._cloud.strike(f"delete {self.kind}", after=True)

    def _make(self) -> None:
        self._cloud.put(self.kind, self.name, self._task)

    def _unmake(self) -> None:
        self._cloud.remove(self.kind, self.name)


class _FakeStore(_FakeResource):
    """The task's prefix, with the record in it."""

    def __init__(self, cloud: Cloud, task: TaskSpec) -> None:
        super().__init__(cloud, task, "store")
        self.name = cloud.store_url(task.id)

    def _make(self) -> None:
        records = Records(Store(self.name))
        try:
            records.create_spec(self._task)
        except Stale:
            if records.spec() != self._task:
                raise
        super()._make()

    def _unmake(self) -> None:
        Store(self.name).clear()
        super()._unmake()


def _catalogue(*, spot: bool) -> list[Offer]:
    """Every machine of every region."""
    offers = []
    for region, factor in REGIONS.items():
        for size, (cpus, memory, base, gpus) in _SIZES.items():
            for gpu in ("", *GPUS):
                usd = (base + (_GPU_USD[gpu] * gpus if gpu else 0.0)) * factor * (SPOT_SHARE if spot else 1.0)
                offers.append(
                    Offer(
                        driver=FakeDriver.name,
                        region=region,
                        machine=f"fake.{size}.{gpu}" if gpu else f"fake.{size}",
                        cpus=float(cpus),
                        memory=memory,
                        gpu=gpu.upper(),
                        gpus=gpus if gpu else 0,
                        spot=spot,
                        price=Price(usd_per_hour=round(usd, 6), source="price list of the fake", date=PRICES_FROM),
                    )
                )
    return offers


def _wanted(need: Need) -> Callable[[Offer], bool]:
    """Whether an offer fits; `SpecError` for words that nothing could fit."""
    word = check_machine(need.machine).lower()
    size, _, gpu = word.partition("+")
    native = f"fake.{size}.{gpu}" if gpu else f"fake.{size}" if size in SIZES else word
    known = {offer.machine for offer in _catalogue(spot=False)}
    if word and native not in known:
        raise SpecError(unknown_choice("machine of the fake", word, sorted(known)), hint="lofty price --on fake")
    if need.region and need.region not in REGIONS:
        raise SpecError(unknown_choice("region", need.region, list(REGIONS)), hint="lofty price --on fake")
    model, count = units.gpu(need.gpu) if need.gpu else ("", 0)
    if model and model.lower() not in GPUS:
        raise SpecError(unknown_choice("GPU", model.lower(), list(GPUS)), hint="write it as T4 or A100:8")

    def fits(offer: Offer) -> bool:
        return (
            (not word or offer.machine == native)
            and (bool(word) or bool(model) or not offer.gpus)
            and (not model or (offer.gpu == model and offer.gpus >= count))
            and (not need.region or offer.region == need.region)
            and _enough(need.cpus, offer.cpus)
            and _enough(need.memory, offer.memory)
        )

    return fits


def _enough(asked: str, given: float) -> bool:
    if not asked:
        return True
    number, more = units.amount(asked)
    return given >= number if more else given == number
