"""What was left behind, and can go without anybody losing anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..drivers.base import Driver
from ..model.state import Handle, Record
from .apply import destroy
from .clock import Clock

HALF_MADE_SECONDS = 3600.0
"""A task that has no machine this long after it was recorded was never finished: whoever made it died on the way."""


class Leftover(NamedTuple):
    """A task that nobody waits for."""

    record: Record
    text: str
    safe: bool
    """Whether it may go by itself; otherwise it is only named, since files may hang on it."""


def leftovers(driver: Driver, records: Iterable[Record], clock: Clock) -> Iterator[Leftover]:
    """Half-made tasks, and records that cannot be read. Stopped and lost workspaces are none: they can go on."""
    for record in records:
        if record.spec is None:
            yield Leftover(record, f"{record.handle.id}, whose record cannot be read", safe=False)
        elif _half_made(driver, record.handle, record.spec.created, clock):
            yield Leftover(record, f"{record.spec.name}, which was never finished", safe=True)


def _half_made(driver: Driver, handle: Handle, created: float, clock: Clock) -> bool:
    return clock.now() - created > HALF_MADE_SECONDS and driver.observe(handle).state == "pending"


def remove(driver: Driver, leftover: Leftover, clock: Clock) -> list[str]:
    """Delete all of a leftover; names what could not be deleted."""
    if leftover.record.spec is None:
        return []
    return destroy(driver.resources(leftover.record.spec, None), clock)
