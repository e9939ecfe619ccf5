"""Where the machines of a job find each other: `LOFTY_HOSTS`, their addresses by rank.

A process cannot be told more than once what is in its environment, so its start waits for the others; not for ever,
since one of them may find no machine for hours. The place of one that is not known by then is empty;
one that has done its work keeps its own, so that all are told the same. One that was replaced has another address from
then on: who needs it asks the store, or is started again.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import suppress

from ..model.state import ALIVE, Machine
from ..store.records import Records

WAIT_SECONDS = 120.0
"""For the others; making the environment goes on meanwhile, so that there is seldom anything to wait for."""
LOOPBACK = "127.0.0.1"
OUTWARD = (("169.254.169.254", 80), ("192.0.2.1", 80))
"""Where the metadata of every cloud is, and what nobody has (RFC 5737). The system is asked under which address it
would go there; nothing is sent."""


def address(*, alone: bool) -> str:
    """Of this machine, as the other ones of its task reach it; `alone`: they all are this computer."""
    if alone:
        return LOOPBACK
    for place in OUTWARD:
        with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(place)
            return str(probe.getsockname()[0])
    return ""


def hosts(
    records: Records,
    machine: Machine,
    size: int,
    pause: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
    now: Callable[[], float] = time.monotonic,
) -> tuple[str, ...]:
    """The addresses of all ranks, as soon as they are known; `machine` is this one, `pause` seconds between looks."""
    if size == 1:
        return (machine.address,)
    limit = now() + WAIT_SECONDS
    while True:
        newest: dict[int, Machine] = {machine.rank: machine for machine in records.machines()}
        found = [newest.get(rank) for rank in range(size)]
        if now() >= limit or all(one is not None and _settled(one) for one in found):
            return tuple(one.address if one is not None and _settled(one) else "" for one in found)
        sleep(pause)


def _settled(machine: Machine) -> bool:
    """Whether waiting would tell more."""
    return machine.state in ("succeeded", "failed") or (machine.state in ALIVE and machine.pid is not None)
