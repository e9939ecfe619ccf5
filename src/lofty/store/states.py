"""What a list tells of every task of an account, in one listing. Beside the prefixes of the tasks lie, for each rank,

`states/ID/R/lease`, which its machine renews: when it was written last is the machine's last sign of life ·
`states/ID/R/MACHINE.N.WORD`, an empty object whose name is what the machine says of itself, the N-th time.

And for all ranks together `states/ID/deadline/N.SECONDS`, whose name is the deadline that a person set last.

A thousand names come with one request, where reading what lies in a thousand objects would take a thousand.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from ..model.state import Machine
from .base import Entry, Store

LEASE_SECONDS = 100.0
"""After so long without a renewal the holder is taken for dead: one may fail, and the next be late by a half."""
SHOWN = (
    *("state", "reason", "exit_code", "started", "ended", "kept", "deadline", "idle_at", "holder", "pid"),
    *("seconds_before", "extra_per_hour", "extra_before"),
)  # fmt: skip
"""Of a machine, in its object's name."""
MOST = 700
"""Characters; a name may have 1,024 bytes. A reason that does not fit is left to the machine's own record."""
_UNSAID = Machine(id="")
_NAME = re.compile(r"(\d{4,}\.\d+)\.(\d+)\.([\w-]+)")
_DEADLINE = re.compile(r"deadline/(\d{1,15})\.(\d{1,12})")


class Lease(msgspec.Struct, frozen=True):
    """Which machine is a rank of the task."""

    machine: str
    holder: str
    """The cloud's name of the machine that has it."""
    until: float
    """Epoch seconds by the holder's clock; 0 once it was given back."""
    over: bool = False
    """The rank has done its work: nobody is to take it up again."""

    @property
    def renewed(self) -> float:
        """The holder's last sign of life; 0 once it was given back."""
        return max(0.0, self.until - LEASE_SECONDS)


def lease_key(rank: int) -> str:
    """Within `states/ID`."""
    return f"{rank}/lease"


def lease(store: Store, rank: int) -> Lease | None:
    """The lease of a rank, from the task's own store of states; None where there is none, or none that can be read."""
    try:
        return msgspec.json.decode(store.get(lease_key(rank)), type=Lease)
    except (KeyError, msgspec.MsgspecError):
        return None


class Shown:
    """What is shown of one rank, by the machine that holds its lease."""

    def __init__(self, store: Store, rank: int) -> None:
        """`store`: the task's own, `states/ID`."""
        self._store, self._rank = store, rank
        self._words = ""
        self._keys: list[str] | None = None
        """What there is, that of earlier machines included."""

    def show(self, machine: Machine) -> None:
        """The new word is there before the old one goes; nothing where it is still the same."""
        words = _encoded(machine)
        if words == self._words:
            return
        if self._keys is None:
            listed = [entry.key for entry in self._store.entries(str(self._rank))]
            self._keys = [key for key in listed if key != lease_key(self._rank)]
        numbers = [int(found[2]) for key in self._keys if (found := _NAME.fullmatch(key.partition("/")[2]))]
        key = f"{self._rank}/{machine.id}.{max(numbers, default=0) + 1}.{words}"
        self._store.put(key, b"")
        old, self._words = self._keys, words
        self._keys = [*old, key]
        self._store.delete(old)
        self._keys = [key]


def show_deadline(store: Store, at: float) -> None:
    """Replace what a task's own store of states shows as its deadline (epoch seconds): its machines ask for it now and
    then only."""
    old = [entry.key for entry in store.entries("deadline")]
    numbers = [int(found[1]) for key in old if (found := _DEADLINE.fullmatch(key))]
    store.put(f"deadline/{max(numbers, default=0) + 1}.{at:.0f}", b"")
    store.delete(old)


class Told(NamedTuple):
    """What is shown of a task."""

    machines: tuple[Machine, ...] = ()
    """The newest of every rank."""
    deadline: float | None = None
    """Epoch seconds; None where no person set one."""


def told(entries: Iterable[Entry]) -> dict[str, Told]:
    """By task, from a listing of `states`. What comes from machines is not trusted: a name that is no word of one is
    passed over."""
    newest: dict[tuple[str, int], tuple[tuple[int, int], Machine]] = {}
    heard: dict[tuple[str, int], float] = {}
    deadlines: dict[str, tuple[int, float]] = {}
    for entry in entries:
        task_id, _, rest = entry.key.partition("/")
        if limit := _DEADLINE.fullmatch(rest):
            deadlines[task_id] = max((int(limit[1]), float(limit[2])), deadlines.get(task_id, (0, 0.0)))
        rank, _, name = rest.partition("/")
        if not rank.isdecimal():
            continue
        place = (task_id, int(rank))
        heard[place] = max(heard.get(place, 0.0), entry.modified)
        found = _NAME.fullmatch(name)
        machine = _decoded(found[1], place[1], found[3]) if found else None
        if found and machine:
            age = (int(found[1].partition(".")[0]), int(found[2]))
            if place not in newest or newest[place][0] < age:
                newest[place] = (age, machine)
    machines: dict[str, list[Machine]] = {task_id: [] for task_id in deadlines}
    for place in sorted(newest):
        machine = newest[place][1]
        machine.heartbeat = heard[place]
        machines.setdefault(place[0], []).append(machine)
    return {
        task_id: Told(tuple(those), deadlines[task_id][1] if task_id in deadlines else None)
        for task_id, those in machines.items()
    }


def _encoded(machine: Machine) -> str:
    shown = {name: value for name in SHOWN if (value := getattr(machine, name)) != getattr(_UNSAID, name)}
    words = _packed(shown)
    return words if len(words) <= MOST else _packed({**shown, "reason": ""})


def _packed(shown: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(shown)).decode().rstrip("=")


def _decoded(machine_id: str, rank: int, words: str) -> Machine | None:
    try:
        raw = base64.urlsafe_b64decode(words + "=" * (-len(words) % 4))
        shown = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
        fields = {name: msgspec.json.decode(shown[name]) for name in SHOWN if name in shown}
        return msgspec.convert({**fields, "id": machine_id, "rank": rank}, Machine)
    except (binascii.Error, msgspec.MsgspecError, ValueError):
        return None
