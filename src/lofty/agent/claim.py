"""Which of the machines that a cloud started is the task: a lease in the store for each rank, taken by compare-and-set.
A cloud may run two at once while it replaces one, and the one that holds no lease touches nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from ..errors import Stale
from ..model.state import Machine
from ..store.records import Records

RENEW_SECONDS = 40.0
"""Between renewals: 2,160 a day, 0.011 USD at list price."""
LEASE_SECONDS = 100.0
"""After so long without a renewal the holder is taken for dead: two renewals may fail."""
ASK_SECONDS = 2.0
"""Between looks of a machine that waits for one."""


class Lease(msgspec.Struct, frozen=True):
    """One rank's."""

    machine: str
    holder: str
    """The cloud's name of the machine that has it."""
    until: float
    """Epoch seconds by the holder's clock; 0 once it was given back."""
    over: bool = False
    """The rank has done its work: nobody is to take it up again."""


class Claim:
    """A lease that is held."""

    def __init__(self, records: Records, machine: Machine, lease: Lease, version: str) -> None:
        self.machine, self._records, self._lease, self._version = machine, records, lease, version

    def renew(self, now: float) -> None:
        """Go on; `Stale` when another machine has it by now."""
        self._swap(msgspec.structs.replace(self._lease, until=now + LEASE_SECONDS))

    def give_back(self, *, over: bool) -> None:
        """The next one need not wait; `over`: there is to be no next one. A lease that was lost is not touched."""
        try:
            self._swap(msgspec.structs.replace(self._lease, until=0.0, over=over))
        except Stale:
            return

    def _swap(self, lease: Lease) -> None:
        raw = msgspec.json.encode(lease)
        key = _key(self.machine.rank)
        try:
            self._version = self._records.store.swap(key, raw, self._version)
        except Stale:
            now, version = self._records.store.read(key)
            if now != raw:  # otherwise our own write had arrived, and only its answer was lost
                raise
            self._version = version
        self._lease = lease


def claim(
    records: Records,
    holder: str,
    ranks: int,
    *,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Claim | None:
    """Wait until a rank has no living holder, and be its next machine; None when every rank is over."""
    store = records.store
    while True:
        over = 0
        for rank in range(ranks):
            present, version = None, ""
            try:
                raw, version = store.read(_key(rank))
                present = msgspec.json.decode(raw, type=Lease)
            except (KeyError, msgspec.MsgspecError):
                pass
            if present is not None and present.over:
                over += 1
                continue
            if present is not None and present.holder != holder and present.until > now():
                continue
            lease = Lease(_next(records, rank), holder, now() + LEASE_SECONDS)
            try:
                raw = msgspec.json.encode(lease)
                version = store.swap(_key(rank), raw, version) if version else store.create(_key(rank), raw)
            except Stale:
                continue
            machine = Machine(id=lease.machine, rank=rank, state="starting", started=now(), holder=holder)
            records.put_machine(machine)
            return Claim(records, machine, lease, version)
        if over == ranks:
            return None
        sleep(ASK_SECONDS)


def resume(records: Records, holder: str, machine: Machine) -> Claim:
    """The lease that this machine took before it began as a new process. Raises `Stale` when it has it no more."""
    raw, version = records.store.read(_key(machine.rank))
    lease = msgspec.json.decode(raw, type=Lease)
    if (lease.holder, lease.machine) != (holder, machine.id):
        raise Stale(f"{machine.id} was taken up by {lease.holder}")
    return Claim(records, machine, lease, version)


def _next(records: Records, rank: int) -> str:
    numbers = [int(name.partition(".")[0]) for name in records.store.folders("machines") if name.endswith(f".{rank}")]
    return f"{max(numbers, default=0) + 1:04d}.{rank}"


def _key(rank: int) -> str:
    return f"leases/{rank}"
