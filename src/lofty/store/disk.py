"""What a folder needs to be a store: obstore neither compares and sets there nor waits until bytes have reached the
disk."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import Stale

PART = ".lofty-part-"
"""How files begin that are being written."""


LOCK = ".lofty-lock"


def write(root: Path, key: str, data: bytes | bytearray | memoryview, *, new: bool = False) -> None:
    """Write a file whole, and return when it survives a loss of power; a `new` one must not be there yet (`Stale`)."""
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{PART}{os.getpid()}-{threading.get_ident()}")
    fd = os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o666)
    try:
        try:
            with memoryview(data) as left:
                while left:
                    left = left[os.write(fd, left) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        if new:
            path.hardlink_to(part)  # of several at once, one wins
        else:
            part.replace(path)
    except FileExistsError:
        raise Stale(f"{key} was written by somebody else first") from None
    finally:
        with suppress(FileNotFoundError):
            part.unlink()
    _sync(path.parent)


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@contextmanager
def held(root: Path) -> Iterator[None]:
    """One process at a time may compare and set."""
    from filelock import FileLock

    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / LOCK):
        yield


def is_own(key: str) -> bool:
    """Whether a file is none of the store's objects: the lock, and what a killed write left."""
    name = key.rpartition("/")[2]
    return name.startswith(PART) or name == LOCK


def check(key: str, now: str, expected: str) -> None:
    """`Stale` unless the version is the one that was read."""
    if now != expected:
        raise Stale(f"{key} was changed by another process")
