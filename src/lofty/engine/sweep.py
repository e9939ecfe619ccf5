"""What was left behind, and can go without anybody losing anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ..drivers.base import Driver, Resource, Unclaimed
from ..model.state import Handle, Record
from .apply import destroy
from .clock import Clock
from .retry import retried

HALF_MADE_SECONDS = 3600.0
"""A task that has no machine this long after it was recorded was never finished: whoever made it died on the way."""


class Leftover(NamedTuple):
    """A task that nobody waits for, or what belongs to none."""

    record: Record | None
    text: str
    safe: bool
    """Whether it may go by itself; otherwise it is only named, since files may hang on it."""
    resources: Sequence[Resource] = ()
    """What goes with it, in the order of creation."""


def leftovers(driver: Driver, records: Iterable[Record], clock: Clock) -> Iterator[Leftover]:
    """Half-made tasks, records that cannot be read, and then what belongs to no task; that is asked for when it is its
    turn, so that what was removed meanwhile claims nothing. Stopped and lost workspaces are none: they can go on."""
    for record in records:
        if record.spec is None:
            yield Leftover(record, f"{record.handle.id}, whose record cannot be read", safe=False)
        elif _half_made(driver, record.handle, record.spec.created, clock):
            parts = driver.resources(record.spec, None)
            yield Leftover(record, f"{record.spec.name}, which was never finished", safe=True, resources=parts)
    if isinstance(driver, Unclaimed):
        for one in retried(driver.unclaimed, clock):
            yield Leftover(None, f"the {one.kind} {one.name} of no task", safe=True, resources=(one,))


def _half_made(driver: Driver, handle: Handle, created: float, clock: Clock) -> bool:
    return clock.now() - created > HALF_MADE_SECONDS and driver.observe(handle).state == "pending"


def remove(leftover: Leftover, clock: Clock) -> list[str]:
    """Delete all of a leftover; names what could not be deleted."""
    return destroy(leftover.resources, clock)
