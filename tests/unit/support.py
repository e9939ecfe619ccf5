"""What several unit tests share."""

from __future__ import annotations

import itertools
from pathlib import Path

from lofty.store.base import Store

_numbers = itertools.count()


def memory() -> Store:
    """An empty store of its own."""
    return Store(f"memory://unit-{next(_numbers)}/task")


def snapshot(folder: Path) -> dict[str, tuple[str, bytes, int]]:
    """Every path below a folder with its kind, content and permissions: equal when nothing has changed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()).encode(), 0)
        elif path.is_dir():
            found[name] = ("folder", b"", 0)
        else:
            found[name] = ("file", path.read_bytes(), path.stat().st_mode & 0o111)
    return found
