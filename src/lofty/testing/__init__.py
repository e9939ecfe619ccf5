"""For tests, yours too: a cloud in memory with faults by name, a clock that nobody waits for, and the suite that
every driver has to pass.

    from lofty.testing import Cloud, FakeClock

    clock = FakeClock()
    cloud = Cloud(clock.now)
    cloud.fail("throttled", at="create group", times=2)
    driver = cloud.driver()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..drivers.fake.cloud import Cloud, Script
from ..drivers.fake.driver import FakeDriver
from ..drivers.fake.faults import FAULTS
from .clock import FakeClock

if TYPE_CHECKING:
    from .contract import DriverContract

__all__ = ["FAULTS", "Cloud", "DriverContract", "FakeClock", "FakeDriver", "Script"]


def __getattr__(name: str) -> Any:
    if name == "DriverContract":  # needs pytest, the rest does not
        from .contract import DriverContract

        return DriverContract
    raise AttributeError(f"module 'lofty.testing' has no attribute {name!r}")
