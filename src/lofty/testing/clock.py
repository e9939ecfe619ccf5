"""Time in a test's own hands."""

from __future__ import annotations


class FakeClock:
    """Stands still until somebody sleeps; then it is later at once."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.time = now
        self.naps: list[float] = []
        """How long was slept each time."""

    def now(self) -> float:
        """Epoch seconds."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """It is that much later."""
        self.naps.append(seconds)
        self.time += seconds
