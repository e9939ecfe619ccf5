"""Which of the machines that a cloud started is the task: a lease in the store for each rank, taken by compare-and-set.
A cloud may run two at once while it replaces one, and the one that holds no lease touches nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from ..errors import Stale
from ..model.state import ALIVE, Machine, extra_cost, machine_seconds
from ..store.base import Store
from ..store.records import Records
from ..store.states import LEASE_SECONDS, Lease, Shown, lease_key

RENEW_SECONDS = 40.0
"""Between renewals, which are the machine's heartbeat too: 2,160 a day, 0.011 USD at list price."""
ASK_SECONDS = 2.0
"""Between looks of a machine that waits for one."""


class Claim:
    """A lease that is held, and what lists show of its holder."""

    def __init__(self, states: Store, machine: Machine, lease: Lease, version: str) -> None:
        self.machine, self._states, self._lease, self._version = machine, states, lease, version
        self._shown = Shown(states, machine.rank)
        self.lost = False
        """Another machine has it by now."""

    def renew(self, now: float) -> None:
        """Go on; `Stale` when another machine has it by now."""
        try:
            self._swap(msgspec.structs.replace(self._lease, until=now + LEASE_SECONDS))
        except Stale:
            self.lost = True
            raise

    def show(self, machine: Machine) -> None:
        """Let lists tell of the machine as it is now. Who has lost the lease speaks for the rank no more."""
        if not self.lost:
            self._shown.show(machine)

    def give_back(self, *, over: bool) -> None:
        """The next one need not wait; `over`: there is to be no next one. A lease that was lost is not touched."""
        try:
            self._swap(msgspec.structs.replace(self._lease, until=0.0, over=over))
        except Stale:
            return

    def _swap(self, lease: Lease) -> None:
        raw = msgspec.json.encode(lease)
        key = lease_key(self.machine.rank)
        try:
            self._version = self._states.swap(key, raw, self._version)
        except Stale:
            now, version = self._states.read(key)
            if now != raw:  # otherwise our own write had arrived, and only its answer was lost
                raise
            self._version = version
        self._lease = lease


def claim(
    records: Records,
    states: Store,
    holder: str,
    ranks: int,
    *,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Claim | None:
    """Wait until a rank has no living holder, and be its next machine; None when every rank is over. `states`: where
    the leases are."""
    while True:
        over = 0
        for rank in range(ranks):
            present, version = None, ""
            try:
                raw, version = states.read(lease_key(rank))
                present = msgspec.json.decode(raw, type=Lease)
            except (KeyError, msgspec.MsgspecError):
                pass
            if present is not None and present.over:
                over += 1
                continue
            if present is not None and present.holder != holder and present.until > now():
                continue
            last = _previous(records, rank)
            lease = Lease(f"{int(last.partition('.')[0]) + 1:04d}.{rank}", holder, now() + LEASE_SECONDS)
            try:
                raw, key = msgspec.json.encode(lease), lease_key(rank)
                version = states.swap(key, raw, version) if version else states.create(key, raw)
            except Stale:
                continue
            machine = Machine(id=lease.machine, rank=rank, state="starting", started=now(), holder=holder)
            _count_before(machine, records.machine(last), present)
            records.put_machine(machine)
            made = Claim(states, machine, lease, version)
            made.show(machine)
            return made
        if over == ranks:
            return None
        sleep(ASK_SECONDS)


def resume(states: Store, holder: str, machine: Machine) -> Claim:
    """The lease that this machine took before it began as a new process. Raises `Stale` when it has it no more."""
    raw, version = states.read(lease_key(machine.rank))
    lease = msgspec.json.decode(raw, type=Lease)
    if (lease.holder, lease.machine) != (holder, machine.id):
        raise Stale(f"{machine.id} was taken up by {lease.holder}")
    return Claim(states, machine, lease, version)


def _previous(records: Records, rank: int) -> str:
    """The newest machine of the rank; `0000.R` where there was none."""
    names = [name for name in records.store.folders("machines") if name.endswith(f".{rank}")]
    return max(names, default=f"0000.{rank}", key=lambda name: int(name.partition(".")[0]))


def _count_before(machine: Machine, last: Machine | None, lease: Lease | None) -> None:
    """What was paid for up to and with the last machine of the rank. One that never said that it had ended was paid
    for until its last sign of life."""
    if last is None:
        return
    if last.state in ALIVE:
        last.state = "lost"
        if lease is not None and lease.machine == last.id:
            last.heartbeat = max(last.heartbeat or 0.0, lease.renewed)
    machine.seconds_before = last.seconds_before + machine_seconds([last], 0.0)
    machine.extra_before = extra_cost([last], 0.0)
