"""What is: states, observations, offers, log lines. Times are epoch seconds, money is USD, unknown is None."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from ..errors import LoftyError
from .money import Price
from .spec import TaskSpec

State = Literal[
    "pending", "starting", "running", "stopping", "stopped", "interrupted", "succeeded", "failed", "lost", "gone"
]
"""pending: recorded, no machine yet · starting: a machine is getting ready · running: it serves or works ·
stopping: it ends · stopped: no machine, may be started again · interrupted: of a machine alone, which its cloud took
away with a word before; another one takes its work up, if the task goes on · succeeded, failed: a job's end ·
lost: the machine or its agent died without a word · gone: nothing is left of it."""

ALIVE: frozenset[str] = frozenset({"starting", "running", "stopping"})
ENDED: frozenset[str] = frozenset({"stopped", "succeeded", "failed", "lost", "gone"})


class Handle(msgspec.Struct, frozen=True, kw_only=True):
    """All that is needed to find a task again, from any computer: a value that survives as JSON."""

    driver: str
    region: str
    id: str
    store: str
    """URL of the task's prefix in the object store."""


class Stage(msgspec.Struct, kw_only=True):
    """One step of getting ready."""

    name: str
    started: float
    ended: float | None = None
    note: str = ""


class Machine(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One machine of a task, as it says of itself in `machines/<id>/status.json`."""

    id: str
    rank: int = 0
    state: State = "pending"
    reason: str = ""
    """Why it is in that state, in words for a person; empty where the state says it all."""
    error: str = ""
    """The kind of error when it failed for lofty's reasons and not the user's: a class name of `lofty.errors`."""
    hint: str = ""
    """The command to run next, where the agent knows one."""
    unsaved: str = ""
    """What the last push could not bring into the store, in words; empty where nothing is missing there."""
    exit_code: int | None = None
    kept: bool = False
    """Its job has failed, and it is still there to be looked at over ssh."""
    started: float | None = None
    ended: float | None = None
    booted: float | None = None
    """When a cloud's machine came to lofty's first line; what it took until then is the cloud's."""
    heartbeat: float | None = None
    stages: list[Stage] = []
    notes: list[str] = []
    """Said to the person once: what was warned about on the way."""
    deadline: float | None = None
    idle_at: float | None = None
    """When the idle rule will end it if nothing happens; None: no idle rule, or busy."""
    address: str = ""
    """By which the other machines of the task reach it; empty where it is not known."""
    public_address: str = ""
    """By which the world could reach it, if it were let in; known to who looks at the task, empty where it has none."""
    public: str = ""
    """Where its workspace is reached through a third party, as an origin: `https://name.example`."""
    extra_per_hour: float = 0.0
    """USD beyond the task's price, where it was had at another one."""
    extra_before: float = 0.0
    """USD beyond it that earlier machines of the rank came to."""
    type: str = ""
    """The cloud's own name of its hardware; empty on this computer."""
    holder: str = ""
    """The cloud's name of the machine, such as `i-0abc`; empty on this computer."""
    user: str = ""
    """Whom to log in as there."""
    host_key: str = ""
    """The public key that its ssh server shows, `ssh-ed25519 AAAA…`; empty where it has none."""
    pid: int | None = None
    birth: float | None = None
    """When that process began, by its own clock: a process id alone may be somebody else's by now."""
    run: str = ""
    """The short-lived private directory of this start, on the machine."""
    seconds_before: float = 0.0
    """That earlier machines of the rank were paid for, over all starts."""

    @property
    def number(self) -> int:
        """Which start of its rank it is, from 1."""
        return int(self.id.partition(".")[0])


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something worth telling that happened to the task."""

    time: float
    code: str
    text: str


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """A task as a driver sees it now."""

    state: State
    machines: tuple[Machine, ...] = ()
    """Of the latest start only."""
    events: tuple[Event, ...] = ()
    machine_seconds: float = 0.0
    """Over all starts: what is paid for."""
    extra_cost: float = 0.0
    """USD that machines cost over all starts beyond the task's price, having been had at another one."""
    deadline: float | None = None

    @property
    def reason(self) -> str:
        """Why the first machine that says so is in its state."""
        return next((m.reason for m in self.machines if m.reason), "")


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A task found: its handle and what was asked for (None where only resources are left of it). A driver that finds
    many at once may leave out what no list shows, the values of variables and the text of scripts; the store has the
    whole."""

    handle: Handle
    spec: TaskSpec | None
    seen: Observation | None = None
    """How it stood when it was found, where finding many tells that too: what a list shows, without events and stages.
    None: ask."""

    @property
    def name(self) -> str:
        """Its name; the identifier where what was asked for is lost."""
        return self.spec.name if self.spec else self.handle.id

    @property
    def asked(self) -> TaskSpec:
        """What was asked for. Raises `LoftyError` where that is lost."""
        if self.spec is None:
            raise LoftyError(f"{self.handle.id} has no readable record", hint=f"lofty down {self.handle.id}")
        return self.spec


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that can be had."""

    driver: str
    region: str
    machine: str
    """The native type."""
    cpus: float
    memory: float
    """GiB."""
    gpu: str = ""
    gpus: int = 0
    spot: bool = False
    price: Price | None
    """None where it is not known."""
    on_demand: Price | None = None
    """Of the same machine on demand, where the need allows for that; None otherwise."""
    notes: tuple[str, ...] = ()
    """What of the request has no meaning here and was passed over."""

    @property
    def usd_per_hour(self) -> float:
        """To compare by: what has no known price counts as dearer than everything."""
        return self.price.usd_per_hour if self.price else float("inf")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of `lofty check`."""

    ok: bool
    what: str
    hint: str = ""
    exit_code: int = 3
    """Of `lofty check` where this fails; about credentials and rights unless it says otherwise."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """How a port of a machine is reached from here. It holds no secret: the key that opens an `ssh` one lies in the
    task's store, under `private/ssh`."""

    how: Literal["loopback", "ssh"]
    """loopback: `host` and `port` as they are · ssh: through the machine's ssh, to `port` on its loopback."""
    host: str
    port: int
    user: str = ""
    ssh_port: int = 22
    host_key: str = ""
    """The machine's public host key, `ssh-ed25519 AAAA…`, as it published it through the store. Without it the
    endpoint is refused."""


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """A place in a task's log: per machine, the segment and the byte within it to read from next."""

    places: dict[str, tuple[int, int]] = {}


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of output. `text + end` of all lines in turn is what the process wrote, byte for byte
    (undecodable bytes replaced)."""

    machine: str
    time: float
    stream: Literal["out", "err", "sys"]
    """`sys` is lofty itself speaking."""
    text: str
    end: Literal["\n", "\r", ""] = "\n"


def combined(machines: tuple[Machine, ...]) -> State:
    """The task's state from those of its machines: alive while one is; then the worst end. What is interrupted has no
    machine now and can go on: of the task that is stopped."""
    states = {"stopped" if machine.state == "interrupted" else machine.state for machine in machines}
    order: tuple[State, ...] = ("running", "starting", "stopping", "lost", "failed", "stopped", "succeeded")
    return next((state for state in order if state in states), "pending")


def last_market(events: Iterable[Event]) -> str:
    """Where machines come from since the last event that says so: `spot` or `on-demand`."""
    return next((event.code for event in reversed([*events]) if event.code in ("spot", "on-demand")), "spot")


def latest_start(machines: list[Machine]) -> tuple[Machine, ...]:
    """The machines of the newest start: `NNNN.R` with the highest NNNN."""
    newest = max((machine.id.partition(".")[0] for machine in machines), default="")
    return tuple(machine for machine in machines if machine.id.partition(".")[0] == newest)


def machine_seconds(machines: list[Machine], now: float) -> float:
    """Seconds of machine time over all starts; an ended machine whose end nobody wrote counts to its last word."""
    return sum(_seconds(machine, now) for machine in machines)


def extra_cost(machines: list[Machine], now: float) -> float:
    """USD beyond the task's price, those of earlier machines of the same ranks included."""
    return sum(one.extra_before + _seconds(one, now) / 3600 * one.extra_per_hour for one in machines)


def _seconds(machine: Machine, now: float) -> float:
    if machine.started is None:
        return 0.0
    there = machine.state in ALIVE or machine.kept
    end = now if there else machine.ended or machine.heartbeat or machine.started
    return max(0.0, end - machine.started)
