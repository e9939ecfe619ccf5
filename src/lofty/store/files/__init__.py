"""A directory's files in a store, and back: every version kept, both ways, nothing lost.

tree, state, merge        values; what this side remembers; what to do about a path
ignore, globs             what goes along; git's patterns
predecessor               the exclude rules of terraform-provider-iterative
scan, read, here          this side's files
pack, version, garbage    the store's objects
packed, plain             two layouts behind one seam (`layout`)
plan, sending             what to do about each path; what is ours, into the store
write, stage              changes into a directory, safely, and new folders whole
sync                      one look at both sides, and what follows
live, history             while somebody works; earlier versions
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

from ..base import Store
from .packed import Packed
from .plain import Plain
from .report import Kept, Moved, Report, Watcher
from .sync import Folder


def memory_of(folder: Path, root: Path, url: str) -> Path:
    """Where this computer remembers what a directory and a store had in common: one file in `folder` for each pair."""
    name = blake2b(f"{root}\0{url}".encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
    return folder / f"{name}.db"


def folder(
    root: Path,
    store: Store,
    memory: Path,
    *,
    side: str,
    plain: bool = False,
    exclude: Sequence[str] = (),
    include: Sequence[str] = (),
    git: bool = True,
    watcher: Watcher | None = None,
) -> Folder:
    """A directory that is to be kept like a store; `git`: whether `.gitignore` says what stays here."""
    layout = Plain(store) if plain else Packed(store)
    return Folder(root, layout, memory, side=side, exclude=exclude, include=include, git=git, watcher=watcher)


__all__ = ["Folder", "Kept", "Moved", "Packed", "Plain", "Report", "folder", "memory_of"]
