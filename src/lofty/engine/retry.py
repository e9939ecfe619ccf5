"""Another try where an error says that it can help."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import TypeVar

from ..errors import LoftyError
from .clock import Clock

T = TypeVar("T")

TRIES = 6
"""Of an error whose first pause is a second or more; one that asks to be tried sooner gets as much time, in more
tries."""
DELETE_TRIES = 20
"""What is in use is free, and what is going has gone, after minutes: six of them."""
LONGEST = 20.0
"""Seconds between two tries at the most."""


def retried(call: Callable[[], T], clock: Clock, tries: int = TRIES) -> T:
    """The call's answer, tried again while its error carries `retry_after`, waiting twice as long each time."""
    for attempt in count():
        try:
            return call()
        except LoftyError as error:
            if error.retry_after is None:
                raise
            pause = error.retry_after * 2**attempt
            if attempt >= tries - 1 and pause >= 2 ** (tries - 1):
                raise
            clock.sleep(min(LONGEST, pause))
    raise AssertionError("unreachable")
