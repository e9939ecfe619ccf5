"""What was done with files, and what a person should hear of it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

import msgspec

from .tree import shown

MOST_TOLD = 20
"""Lines about what could not be done; the rest is counted."""


class Kept(msgspec.Struct, frozen=True):
    """A path that both sides had changed."""

    path: str
    beside: str
    """Where the loser is."""
    side: str
    """Whose it was."""


class Moved(msgspec.Struct, frozen=True):
    """How far a transfer is."""

    what: str
    """`send` or `bring`."""
    files: int
    """In all."""
    bytes: int
    """So far."""
    of_bytes: int
    """In all, as far as is known."""


Watcher = Callable[[Moved], None]


class Counter:
    """Adds up what several threads carry."""

    def __init__(self, what: str, files: int, total: int, watcher: Watcher) -> None:
        self._what, self._files, self._total, self._watcher = what, files, total, watcher
        self._done = 0
        self._lock = Lock()

    def add(self, size: int) -> None:
        """So many bytes more."""
        with self._lock:
            self._done += size
            self._watcher(Moved(self._what, self._files, self._done, self._total))


class Report(msgspec.Struct):
    """What was done. Paths are as the directory has them."""

    version: int = 0
    """Number of the newest version; 0 where the layout keeps none."""
    sent: int = 0
    sent_bytes: int = 0
    brought: int = 0
    brought_bytes: int = 0
    deleted_there: int = 0
    deleted_here: int = 0
    kept: list[Kept] = []
    """What both sides had changed: both are there."""
    merged: list[str] = []
    """Notebooks that both sides had changed, in different cells."""
    skipped: dict[str, str] = {}
    """What could not be read, written or brought, and why."""
    changing: list[str] = []
    """What was written while it was read: it is left for the next look."""
    damaged: list[str] = []
    """What came damaged out of the store; of `skipped`."""
    secrets: list[str] = []
    """What was left out because it looks like a secret, and has not been said before."""
    clashes: list[tuple[str, str]] = []
    """Names that some systems cannot tell apart."""
    withheld: int = 0
    """Deletions that look like an accident and were not passed on."""
    left: list[str] = []
    """What was not sent before the time was over."""
    waiting: list[str] = []
    """What the store has and this directory has not: it could not be brought, or was not asked for."""
    notes: list[str] = []
    """Anything else worth saying."""

    @property
    def changed(self) -> bool:
        """Whether anything was done."""
        return bool(self.sent or self.brought or self.deleted_there or self.deleted_here)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to be done."""
        return not (self.skipped or self.changing or self.withheld or self.left)

    def told(self) -> list[str]:
        """What a person should hear: not what went well."""
        lines = [f"both sides changed {kept.path}: that of {kept.side} is now {kept.beside}" for kept in self.kept]
        lines += [f"both sides changed {path}: their cells were merged" for path in self.merged]
        undone = [*self.skipped.items(), *((path, "was being written") for path in self.changing)]
        lines += [f"{path}: {why}" for path, why in undone[:MOST_TOLD]]
        if len(undone) > MOST_TOLD:
            lines.append(f"and {len(undone) - MOST_TOLD} more")
        if self.withheld:
            lines.append(f"{self.withheld} deletions look like an accident and were not passed on (--force does)")
        if self.left:
            lines.append(f"no time was left for {len(self.left)} files: {', '.join(self.left[:5])}")
        if self.secrets:
            named = ", ".join(shown(path) for path in self.secrets[:8])
            lines.append(f"left out because they look like secrets: {named} (a line !NAME in .loftyignore brings them)")
        lines += [f"some systems cannot tell {shown(one)} from {shown(other)}" for one, other in self.clashes[:5]]
        return lines + self.notes
