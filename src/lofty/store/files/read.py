"""A file's content, piece by piece, as it was at one moment."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator

from .pack import digest
from .state import look_of
from .tree import PIECE, File, encode

FRESH = 0.02
"""Seconds. A file that was written this lately may be written again within the same tick of the file system's clock,
and look the same: its look is not trusted."""


class Changing(Exception):
    """The file was written while it was read."""


def pieces(there: str, seen: os.stat_result) -> Iterator[bytes]:
    """The content of a file that looks so; `Changing` when it does not, or no longer does behind any piece."""
    look, left = look_of(seen), seen.st_size
    fd = os.open(there, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        while left:
            piece = _read(fd, min(PIECE, left))
            left -= len(piece)
            if not piece or look_of(os.fstat(fd)) != look:
                raise Changing
            yield piece
    finally:
        os.close(fd)


def _read(fd: int, size: int) -> bytes:
    piece = os.read(fd, size)
    if len(piece) == size:
        return piece
    parts = [piece]
    while parts[-1] and size > sum(map(len, parts)):
        parts.append(os.read(fd, size - sum(map(len, parts))))
    return b"".join(parts)


def describe(there: str, seen: os.stat_result) -> File:
    """A path as a `File`, read through; `Changing` as above."""
    if stat.S_ISLNK(seen.st_mode):
        return File(link=encode(os.readlink(there)))
    names = tuple(digest(piece) for piece in pieces(there, seen))
    return File(names, seen.st_size, bool(seen.st_mode & stat.S_IXUSR))


def trusted(seen: os.stat_result) -> bytes | None:
    """The look to remember of a file that was just read; None when it is too fresh."""
    return look_of(seen) if time.time() - seen.st_ctime > FRESH else None
