"""How a store keeps a directory: the seam between deciding and carrying. `packed` keeps every version; `plain` keeps
one object per file, for a container of the person's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

from .state import State
from .tree import File, Row
from .write import Take, Writer

Count = Callable[[int], None]
"""Told the bytes of content that were carried."""


class Look(NamedTuple):
    """What the store has, as far as it differs from what is remembered."""

    changes: dict[bytes, Row]
    """Rows; without a file where a path is gone."""
    by: str
    """The side that wrote last."""
    time: float
    """When, epoch seconds."""
    version: int
    """Number of the newest version; 0 where there is none, or where the layout keeps none."""


class Outbox(Protocol):
    """Contents on their way into the store."""

    def send(self, path: str, pieces: Iterator[bytes], size: int, *, executable: bool) -> File:
        """Read a file and send what the store lacks."""

    def flush(self) -> None:
        """Hold nothing back: what comes next can take long."""

    def finish(self, seconds: float | None) -> None:
        """Wait until all is there, at most so long. Raises what went wrong."""

    def row(self, path: str, file: File, written: int) -> Row | None:
        """What to record of it, written at that time; None when it has not arrived."""

    def close(self) -> None:
        """Send nothing more."""


class Layout(Protocol):
    """One store, and one side's view of it between `look` and `commit`."""

    links: bool
    """Whether links and empty folders can be kept."""
    executables: bool
    """Whether the executable bit can be kept."""
    by_content: bool
    """Whether a content that is there already is not written again."""

    def news(self) -> bool:
        """Whether another look is worth its requests."""

    def look(self, state: State, *, ahead: bool = False) -> Look:
        """What is new there: one request when nothing is. `ahead`: take it as it was at the last look, where `commit`
        finds out whether it still is."""

    def outbox(self, state: State, moved: Count) -> Outbox:
        """A way in."""

    def commit(self, rows: Mapping[bytes, Row], by: str) -> int:
        """Make it so, for every reader at once where the layout can; gives the version. `Stale` when somebody else
        was first: look again."""

    def bring(self, takes: Mapping[str, Take], writer: Writer, moved: Count) -> dict[str, Row]:
        """Contents out of the store into the directory; gives the rows as they turned out to be."""

    def content(self, row: Row) -> bytes | None:
        """A whole file; None when it cannot be had any more."""

    def describe(self, row: Row) -> Row:
        """The row with its content's hashes, where they were not known."""

    def tidy(self) -> None:
        """Delete what no kept version needs; seldom."""

    def marks(self) -> dict[str, bytes]:
        """What the state is to remember of the last look and commit."""
