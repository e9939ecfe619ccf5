"""What to do about a path that changed: a decision from three states, and names for what lost."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import Literal

from .tree import File

Mode = Literal["both", "push", "pull", "bring"]
"""both: each side's changes to the other · push: only ours go · pull: only theirs come, and what is missing here ·
bring: only theirs come."""


class Do(Enum):
    """What to do about one path."""

    NOTHING = auto()
    AGREE = auto()
    """Both sides have the same."""
    TAKE = auto()
    """Theirs comes here."""
    GIVE = auto()
    """Ours goes there."""
    BOTH = auto()
    """Both changed it: both are kept."""


def decide(base: File | None, ours: File | None, theirs: File | None, mode: Mode = "both") -> Do:
    """`None` is a path that is not there. An edit wins over a deletion."""
    if ours == theirs:
        return Do.AGREE
    if ours == base:
        # Theirs changed. Pushing restores there what was deleted, and leaves alone what was edited.
        if mode != "push":
            return Do.TAKE
        return Do.GIVE if theirs is None else Do.NOTHING
    if theirs == base:
        if mode in ("both", "push"):
            return Do.GIVE
        return Do.TAKE if ours is None and mode == "pull" else Do.NOTHING
    if ours is None:
        return Do.TAKE if mode != "push" else Do.NOTHING
    if theirs is None:
        return Do.GIVE if mode in ("both", "push") else Do.NOTHING
    if ours.same_content(theirs):  # only the executable bit differs
        return Do.TAKE if mode != "push" else Do.NOTHING
    return Do.BOTH


def tag_of(side: str) -> str:
    """A side's name as it may stand in a file's: the other side's comes out of the store."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", side)[:32] or "store"


def beside(path: str, side: str, when: float, taken: Callable[[str], bool]) -> str:
    """A free name next to a file for what lost: with the side it comes from and the time it was written, so that the
    same loser always gets the same name."""
    folder, slash, name = path.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix) > 16:
        stem, dot, suffix = name, "", ""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(max(0.0, min(when, 4e9))))
    tag = f".{tag_of(side)}-{stamp}"
    while len((stem + tag + dot + suffix).encode("utf-8", "surrogateescape")) > 240 and len(stem) > 1:
        stem = stem[:-1]
    for number in range(1, 1000):
        found = f"{folder}{slash}{stem}{tag}{f'-{number}' if number > 1 else ''}{dot}{suffix}"
        if not taken(found):
            return found
    raise AssertionError("a thousand versions of one second")


MANY, HALF = 25, 0.5


def is_mass(deleted: int, of: int) -> bool:
    """Whether so many deletions look like an accident: an emptied or unmounted directory."""
    return (deleted == of and of >= 3) or (deleted >= MANY and deleted > of * HALF)
