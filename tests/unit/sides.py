"""Directories that share one store in memory, with a tap at every request and every file operation: there a test lets
something happen, or kills."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from lofty.store.base import Data, Entry, Store
from lofty.store.files import stage, sync, write
from lofty.store.files.pack import Wanted, digest, fetch
from lofty.store.files.packed import Packed
from lofty.store.files.state import State
from lofty.store.files.sync import Folder
from lofty.store.files.tree import PIECE, Row, decode
from lofty.store.files.version import Manifest, Versions

T = TypeVar("T")
Item = tuple[str, bytes, bool]
"""What lies at a path: its kind (`file`, `link`, `folder`), its content or target, and whether it is executable."""
Tree = dict[str, Item]

_numbers = count()


class Killed(BaseException):
    """The process ends here; nothing it does afterwards takes effect."""


class Tap:
    """Counts what one process does, and lets something happen at one of these moments."""

    def __init__(self) -> None:
        self.dead = False
        self._lock = threading.Lock()
        self._kind, self._at, self._after = "", 0, False
        self._action: Callable[[], None] = self.kill

    def arm(self, kind: str, at: int, action: Callable[[], None] | None = None, *, after: bool = False) -> None:
        """Do something at the so-manieth `request`, or local `file` operation, from now; without an action, die."""
        self._kind, self._at, self._after, self._action = kind, at, after, action or self.kill

    def disarm(self) -> None:
        """Let everything pass."""
        self._at = 0

    def kill(self) -> None:
        """Die."""
        self.dead = True
        raise Killed

    def around(self, kind: str, work: Callable[[], T]) -> T:
        """Something that the process does."""
        with self._lock:
            if self.dead:
                raise Killed
            mine = False
            if kind == self._kind and self._at:
                self._at -= 1
                mine = not self._at
        if mine and not self._after:
            self._action()
        result = work()
        if mine and self._after:
            self._action()
        if self.dead:
            raise Killed
        return result


class Tapped(Store):
    """A store whose requests go through a tap."""

    def __init__(self, url: str, tap: Tap, heads: list[bytes] | None = None) -> None:
        super().__init__(url)
        self._tap, self._heads = tap, heads if heads is not None else []
        self.puts: list[tuple[str, int]] = []

    def read(self, key: str) -> tuple[bytes, str]:
        return self._tap.around("request", lambda: super(Tapped, self).read(key))

    def read_changed(self, key: str, version: str) -> tuple[bytes, str] | None:
        return self._tap.around("request", lambda: super(Tapped, self).read_changed(key, version))

    def ranges(self, key: str, spans: Any) -> list[bytes]:
        return self._tap.around("request", lambda: super(Tapped, self).ranges(key, spans))

    def put(self, key: str, data: Data, *, durable: bool = False) -> None:
        self.puts.append((key, len(data)))
        self._tap.around("request", lambda: super(Tapped, self).put(key, data, durable=durable))

    def create(self, key: str, data: Data) -> str:
        return self._tap.around("request", lambda: self._noted(data, super(Tapped, self).create(key, data)))

    def swap(self, key: str, data: Data, version: str) -> str:
        return self._tap.around("request", lambda: self._noted(data, super(Tapped, self).swap(key, data, version)))

    def _noted(self, data: Data, version: str) -> str:
        self._heads.append(bytes(data))
        return version

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        return iter(self._tap.around("request", lambda: list(super(Tapped, self).entries(prefix))))


class Side:
    """One directory with its memory."""

    def __init__(self, place: Path, url: str, name: str, heads: list[bytes]) -> None:
        self.name, self.url, self._heads = name, url, heads
        self.root, self.state = place / name, place / "states" / f"{name}.db"
        self.root.mkdir()
        self.touched: set[str] = set()
        self.restart()

    def restart(self, **options: Any) -> None:
        """Another process."""
        write._LIFE = f"{next(_numbers)}-"
        self.tap = Tap()
        self.store = Tapped(self.url, self.tap, self._heads)
        self.folder = Folder(self.root, Packed(self.store), self.state, side=self.name, **options)

    def forget(self) -> None:
        """Lose the memory."""
        for path in self.state.parent.glob(f"{self.state.name}*"):
            path.unlink()

    def at(self, path: str) -> Path:
        """The file there."""
        return self.root / path

    def tree(self) -> Tree:
        """All that a sync is to keep alike."""
        return tree(self.root)

    def parts(self) -> list[str]:
        """What a transfer left."""
        return [str(path) for path in self.root.rglob("*") if path.name.startswith(".lofty-part-")]


def tree(root: Path) -> Tree:
    """A directory's content."""
    found: Tree = {}
    for folder, folders, files in os.walk(root):
        for name in [*files, *folders]:
            path = os.path.join(folder, name)
            key = os.path.relpath(path, root)
            seen = os.lstat(path)
            if name.startswith(".lofty-part-"):
                continue
            if stat.S_ISLNK(seen.st_mode):
                found[key] = ("link", os.fsencode(os.readlink(path)), False)
            elif stat.S_ISREG(seen.st_mode):
                found[key] = ("file", Path(path).read_bytes(), bool(seen.st_mode & 0o100))
            elif name in folders and not any(not n.startswith(".lofty-part-") for n in os.listdir(path)):
                found[key + "/"] = ("folder", b"", False)
    return found


def contents(store: Store, rows: list[Row]) -> Tree:
    """What these rows stand for, fetched and checked."""
    found: dict[str, dict[int, bytes]] = {}
    wanted, kinds = [], {}
    for row in rows:
        file, name = row.file, row.name
        assert file is not None
        kinds[name] = ("link" if file.link else "folder" if name.endswith("/") else "file", file.link, file.executable)
        found[name] = {}
        for index, (piece, place) in enumerate(zip(file.pieces, row.places, strict=True)):

            def take(part: memoryview, name: str = name, index: int = index) -> None:
                found[name][index] = bytes(part)

            wanted.append(Wanted(piece, place, min(PIECE, file.size - index * PIECE), take))

    def damaged(one: Wanted, why: str) -> None:
        raise AssertionError(f"{why}: {one.name.hex()}")

    fetch(store, wanted, damaged)
    result: Tree = {}
    for row in rows:
        kind, link, executable = kinds[row.name]
        content = b"".join(found[row.name][index] for index in sorted(found[row.name]))
        assert row.file is not None and (link or len(content) == row.file.size)
        result[row.name] = (kind, link or content, executable)
    return result


def newest(store: Store) -> Tree:
    """What the newest version holds; nothing where there is none."""
    versions = Versions(store)
    try:
        view = versions.look()
    except KeyError:
        return {}
    assert view is not None
    return at(versions, view.manifest)


def at(versions: Versions, manifest: Manifest) -> Tree:
    """What a version holds."""
    return contents(versions.store, list(versions.rows(manifest)))


_CHANGES = ("link", "rename", "unlink", "rmdir", "mkdir", "symlink", "open", "pwrite", "ftruncate", "utime", "fchmod")


class World:
    """Some sides, one store, and the patches under which they run; to be closed."""

    def __init__(self, names: str = "ab") -> None:
        self.place = Path(tempfile.mkdtemp(prefix="lt-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
        self.url = f"memory://world-{os.getpid()}-{next(_numbers)}"
        self.heads: list[bytes] = []
        self.store = Store(self.url)
        self.running: Tap | None = None
        """Whose file operations are counted."""
        self.writing = threading.RLock()
        """Held while a file is put into place: between the last look at it and that, nobody can be kept out."""
        self._patch = pytest.MonkeyPatch()
        operations: Any = SimpleNamespace(**{name: getattr(os, name) for name in dir(os)})
        for name in _CHANGES:
            setattr(operations, name, self._tapped(getattr(os, name)))
        for module in (write, stage):
            self._patch.setattr(module, "os", operations)
        self._patch.setattr(write, "_alive", lambda _pid: False)
        self._patch.setattr(write, "_LIFE", write._LIFE)
        self._patch.setattr(sync, "time", SimpleNamespace(time=time.time, monotonic=time.monotonic, sleep=_at_once))
        self._patch.setattr(State, "write", self._tapped(State.write))
        self.sides = [Side(self.place, self.url, name, self.heads) for name in names]
        put = write.Writer._put
        self._patch.setattr(write.Writer, "_put", self._alone(put))

    def _tapped(self, work: Callable[..., T]) -> Callable[..., T]:
        def tapped(*words: Any, **options: Any) -> T:
            if self.running is None:
                return work(*words, **options)
            return self.running.around("file", lambda: work(*words, **options))

        return tapped

    def _alone(self, work: Callable[..., T]) -> Callable[..., T]:
        def alone(*words: Any, **options: Any) -> T:
            with self.writing:
                return work(*words, **options)

        return alone

    def close(self) -> None:
        """Remove everything."""
        self._patch.undo()
        self.store.clear()
        shutil.rmtree(self.place)


def _at_once(_seconds: float) -> None:
    return


def name_of(item: Item) -> bytes:
    """What is compared where contents are looked for."""
    return (b"link " if item[0] == "link" else b"file ") + digest(item[1])


__all__ = [
    "Item",
    "Killed",
    "Side",
    "Tap",
    "Tapped",
    "Tree",
    "World",
    "at",
    "contents",
    "decode",
    "name_of",
    "newest",
    "tree",
]
