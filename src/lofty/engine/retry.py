"""Another try where an error says that it can help."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ..errors import LoftyError
from .clock import Clock

T = TypeVar("T")

TRIES = 6
LONGEST = 20.0
"""Seconds between two tries at the most."""


def retried(call: Callable[[], T], clock: Clock) -> T:
    """The call's answer, tried again while its error carries `retry_after`, waiting twice as long each time."""
    for attempt in range(TRIES):
        try:
            return call()
        except LoftyError as error:
            if error.retry_after is None or attempt == TRIES - 1:
                raise
            clock.sleep(min(LONGEST, error.retry_after * 2**attempt))
    raise AssertionError("unreachable")
