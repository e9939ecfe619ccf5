"""Prices, always with where they come from: a figure without a source is a rumour."""

from __future__ import annotations

import msgspec


class Price(msgspec.Struct, frozen=True, kw_only=True):
    """What one machine costs by the hour."""

    usd_per_hour: float
    source: str
    """Where the figure was taken, such as `spot price history`."""
    date: str = ""
    """ISO date of the figure; empty where it cannot age (a machine of one's own)."""

    def cost(self, machine_seconds: float) -> float:
        """USD for so many machine-seconds."""
        return self.usd_per_hour * machine_seconds / 3600


FREE = Price(usd_per_hour=0.0, source="this machine is yours")
