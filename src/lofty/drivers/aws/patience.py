"""AWS shows what was made only after a while: what follows from that for who uses it, and for who removes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import Unavailable
from .session import Gone, translated

MOMENT = 0.1
"""Seconds until the first other look at what was just made; a person waits for each of these."""


@contextmanager
def soon(what: str) -> Iterator[None]:
    """As `translated`, for a call that uses what was just made: AWS may not see it for some seconds."""
    try:
        with translated(what):
            yield
    except Gone as error:
        raise Unavailable(str(error), retry_after=MOMENT) from error


class Fresh:
    """Whether to believe that something is gone. AWS does not see what was made a moment ago, so of what this process
    made it is believed only when it was heard some times: otherwise undoing would leave it behind."""

    DOUBTS = 4
    """Seven seconds, by the engine's pauses."""

    def __init__(self) -> None:
        self._doubts = 0

    def made(self) -> None:
        """Now, or it turned out to be there."""
        self._doubts = self.DOUBTS

    @contextmanager
    def believed(self) -> Iterator[None]:
        """Around a deletion: `Gone` is a success, or not yet."""
        try:
            yield
        except Gone as error:
            if self._doubts:
                self._doubts -= 1
                raise Unavailable(f"not to be seen yet: {error}", retry_after=1) from error
