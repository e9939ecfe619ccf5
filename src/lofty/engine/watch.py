"""Waiting for a task to get somewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from ..drivers.base import Driver
from ..errors import LoftyError
from ..model.state import ALIVE, ENDED, Cursor, Handle, LogLine, Observation
from .clock import Clock
from .retry import TRIES, retried

STOP_PATIENCE = 16.0
"""Seconds given to a machine to end by itself; an agent needs at most 10 for its children."""


def watch(
    driver: Driver, handle: Handle, clock: Clock, until: Callable[[Observation], bool], pace: float
) -> Iterator[Observation]:
    """Observations, `pace` seconds apart, up to and with the first that satisfies."""
    while True:
        seen = retried(lambda: driver.observe(handle), clock)
        yield seen
        if until(seen):
            return
        clock.sleep(pace)


def wait(
    driver: Driver, handle: Handle, clock: Clock, until: Callable[[Observation], bool], pace: float
) -> Observation:
    """The first observation that satisfies."""
    return deque(watch(driver, handle, clock, until, pace), maxlen=1)[0]


class Drought:
    """How long a task has been waiting for a machine that is not to be had."""

    def __init__(self, clock: Clock, patience: float) -> None:
        self._clock, self._patience = clock, patience
        self._since: float | None = None

    def lasts(self, seen: Observation) -> bool:
        """Whether it is time to do something about it; then it begins anew."""
        if not any(event.code == "launch-failed" for event in seen.events):
            self._since = None
            return False
        if self._since is None:
            self._since = self._clock.now()
        if self._clock.now() - self._since < self._patience:
            return False
        self._since = None
        return True


def is_up(seen: Observation) -> bool:
    """It runs, or it will not any more."""
    return seen.state == "running" or seen.state in ENDED


def is_over(seen: Observation) -> bool:
    """No machine works for it."""
    return seen.state in ENDED or seen.state == "pending"


def stop(driver: Driver, handle: Handle, clock: Clock, pace: float) -> Observation:
    """No machines any more, in good order if they can, by force if not. Raises `LoftyError` when even that fails."""
    for _ in range(3):
        retried(lambda: driver.scale(handle, 0, None), clock)
        limit = clock.now() + STOP_PATIENCE
        for seen in watch(driver, handle, clock, is_over, pace):
            if seen.state not in ALIVE:
                return seen
            if clock.now() > limit:
                break
    raise LoftyError("the machine does not end", hint="lofty down, or look at lofty logs")


def follow(driver: Driver, handle: Handle, clock: Clock, cursor: Cursor, pace: float) -> Iterator[LogLine]:
    """Log lines as they come, to the end of the task, with none lost when the connection was."""
    over, failures = False, 0
    while True:
        try:
            for line, after in driver.logs(handle, cursor):
                cursor, failures = after, 0
                yield line
        except LoftyError as error:
            failures += 1
            if error.retry_after is None or failures == TRIES:
                raise
            clock.sleep(error.retry_after)
            continue
        if over:
            return
        over = is_over(retried(lambda: driver.observe(handle), clock))
        if not over:
            clock.sleep(pace)
