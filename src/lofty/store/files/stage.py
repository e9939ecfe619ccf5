"""A folder that is new comes whole: its files are written under a passing name of the folder, which then gets its own.
Nobody sees half of it, and it costs one rename where each file would need a link and a removal."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from threading import RLock

from .state import look_of
from .tree import PIECE, above

_ZEROS = memoryview(bytes(PIECE))


def fill(fd: int, content: memoryview, offset: int, size: int) -> None:
    """Write a piece of a file that will have `size` bytes; zeros become a hole, as they may have been elsewhere."""
    if content == _ZEROS[: len(content)]:
        os.ftruncate(fd, size)
        return
    while content:
        written = os.pwrite(fd, content, offset)
        content, offset = content[written:], offset + written


class Stage:
    """One folder on its way, without the folders in it."""

    def __init__(self, folder: str, name: str, files: int) -> None:
        """`name`: where it is made, absolute; `files`: how many are to come."""
        self.folder, self.name, self.left = folder, name, files
        self.looks: dict[str, bytes] = {}
        """What has come: paths, and how they look."""
        self.below: list[Stage] = []
        """Folders in it that are ready, and wait for it."""
        os.mkdir(name)

    def there(self, path: str) -> str:
        """Where one of its files is until the folder is put into place."""
        return f"{self.name}/{path.rpartition('/')[2]}"

    def write(self, path: str, content: memoryview, mode: int, written: int) -> None:
        """A whole file, with the time it is to have, in nanoseconds; what goes wrong is raised, and leaves nothing of
        it."""
        there = self.there(path)
        fd = os.open(there, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
        try:
            fill(fd, content, 0, len(content))
            os.utime(fd, ns=(written, written))
            look = look_of(os.fstat(fd))
        except OSError:
            os.unlink(there)
            raise
        finally:
            os.close(fd)
        self.looks[path] = look

    def put(self, there: str) -> bool:
        """Give the folder its name; False where something is in its place by now."""
        try:
            os.rename(self.name, there)  # an empty folder is replaced, which loses nothing
        except OSError:
            return False
        return True

    def clear(self) -> None:
        """Away with what is left of it."""
        for path in self.looks:
            with suppress(OSError):
                os.unlink(self.there(path))
        with suppress(OSError):
            os.rmdir(self.name)


class Stages:
    """All folders on their way. May be used from several threads."""

    def __init__(self, stages: Mapping[str, Stage]) -> None:
        self._open = dict(stages)
        self._lock = RLock()

    def holding(self, path: str) -> Stage | None:
        """The stage that a file goes into."""
        return self._open.get(path[: max(path.rfind("/"), 0)])

    def arrived(self, stage: Stage) -> Iterator[Stage]:
        """One more of its files is done with; gives the folders that can be put into place now, upper ones first."""
        with self._lock:
            stage.left -= 1
            if not stage.left:
                yield from self._ready(stage)

    def rest(self) -> Iterator[Stage]:
        """Nothing more comes: those that are not complete."""
        with self._lock:
            while self._open:
                yield from self._ready(self._open[min(self._open)])

    def _ready(self, stage: Stage) -> Iterator[Stage]:
        for upper in above(stage.folder):
            if upper in self._open:
                self._open[upper].below.append(stage)
                return
        self._open.pop(stage.folder, None)
        yield stage
        for below in stage.below:
            yield from self._ready(below)
