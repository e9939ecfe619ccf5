"""How often the agent looks."""

from __future__ import annotations

import msgspec

from ..store.base import Store


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds between looks. On a disk a look is free; in a cloud each is a request that somebody pays."""

    log: float
    control: float
    deadline: float
    idle: float


HERE = Pace(log=0.1, control=0.5, deadline=1.0, idle=5.0)
CLOUD = Pace(log=2.0, control=0.5, deadline=60.0, idle=10.0)


def of(store: Store) -> Pace:
    """By where the store lies."""
    return HERE if store.root is not None else CLOUD
