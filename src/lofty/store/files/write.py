"""Changes into a directory, so that nothing of anybody's is lost: whole files under a passing name first, put into
place only where the path still looks as it did when it was decided, and never outside the directory."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from itertools import count
from pathlib import Path

import msgspec

from ...errors import LoftyError
from .stage import Stage, Stages, fill
from .state import look_of
from .tree import PART, PIECE, File, Row, above, decode, folded

_LIFE = f"{secrets.token_hex(4)}-"
"""Of this process: another may have had its number before, and always has where every process is number 1."""


class Take(msgspec.Struct, frozen=True, gc=False):
    """A row to be taken over."""

    row: Row
    look: bytes | None
    """How the path looked when that was decided; None: nothing was there."""
    content: bytes | None = None
    """Where it does not come from the store."""


class Written(msgspec.Struct):
    """The outcome."""

    looks: dict[str, bytes | None] = {}
    """What was done: paths and how they look now; None: gone, or a folder."""
    failed: dict[str, str] = {}
    """What was not, and why."""


class Writer:
    """Writes into one directory."""

    def __init__(self, root: Path, *, executables: bool = True) -> None:
        """`executables`: whether the store knows which files are; where it does not, those here stay as they are."""
        self._root, self._executables = os.fspath(root), executables
        self._folders: set[str] = {""}
        """Known to be real folders."""
        self._parts, self._mark = count(), f"{PART}{os.getpid()}-{_LIFE}"
        self.done = Written()
        self._full: OSError | None = None
        self._stages = Stages({})

    # --- the whole ---

    def check_room(self, takes: Iterable[Take]) -> None:
        """`LoftyError` when the disk cannot hold what is to come."""
        room = os.statvfs(self._root)
        need = sum(take.row.file.size for take in takes if take.row.file)
        if need > room.f_bavail * room.f_frsize:
            text = f"{self._root} has room for {room.f_bavail * room.f_frsize} bytes, and {need} are to come"
            raise LoftyError(text, hint="free some space and run the command again")

    def clash_here(self, takes: Mapping[str, Take]) -> dict[str, str]:
        """New paths that this file system would confuse with another; found before anything is written."""
        new = [path for path, take in takes.items() if take.row.file is not None and take.look is None]
        found: dict[str, str] = {}
        if not new or not self._folds():
            return found
        gone = {folded(path) for path, take in takes.items() if take.row.file is None}
        seen: dict[str, str] = {}
        for path in new:
            other = seen.setdefault(folded(path), path)
            there = folded(path) not in gone and os.path.lexists(self._at(path))
            if other != path or there:
                found[path] = f"this disk cannot tell it from {other if other != path else 'a name that is there'}"
        return found

    def _folds(self) -> bool:
        """Whether the file system compares names without regard to case."""
        probe = self._at(f"{PART}probe-{os.getpid()}a")
        try:
            os.close(os.open(probe, os.O_CREAT | os.O_WRONLY, 0o600))
            return os.path.lexists(probe[:-1] + "A")
        except OSError:
            return False
        finally:
            with suppress(OSError):
                os.unlink(probe)

    def remove(self, takes: Mapping[str, Take]) -> None:
        """Delete what is to go, what lies deepest first, and folders that hold nothing any more."""
        for path in sorted(takes, reverse=True):
            self._guarded(path, lambda path=path: self._remove_one(path, takes[path]))  # type: ignore[misc]
        for path in sorted(takes, reverse=True):
            if path in self.done.looks:
                for upper in above(path):
                    try:
                        os.rmdir(self._at(upper))
                    except OSError:
                        break
                    self._folders.discard(upper)

    def _remove_one(self, path: str, take: Take) -> None:
        if not self._safe(path, make=False):
            return
        there = self._at(path.removesuffix("/"))
        if path.endswith("/"):
            with suppress(FileNotFoundError, NotADirectoryError):
                try:
                    os.rmdir(there)
                except OSError as error:  # something is in it: then it is no empty folder, and nobody wants it gone
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                        raise
        elif self._look(path) != take.look:
            self.done.failed[path] = "was changed meanwhile"
            return
        elif take.look is not None:
            os.unlink(there)
        self.done.looks[path] = None

    def move(self, path: str, to: str, look: bytes, *, again: bool = False) -> bool:
        """Give a file another name beside it; False when it was changed meanwhile. `again`: the same content has that
        name already, from a look that was cut short."""
        with suppress(OSError):
            if self._look(path) == look and (again or not os.path.lexists(self._at(to))):
                os.rename(self._at(path), self._at(to))
                return True
        return False

    def place(self, path: str, take: Take) -> None:
        """Write what comes with its content: a link, a folder, an empty file, or the outcome of a merge."""
        file = take.row.file
        assert file is not None
        if path.endswith("/"):
            self._guarded(path, lambda: self._make_folder(path))
        elif file.link:
            self._guarded(path, lambda: self._put(path, take.look, self._link_part(path, file)))
        else:
            self.whole(path, take, memoryview(take.content or b""))

    def begin(self, takes: Mapping[str, Take]) -> None:
        """Hear what is to be written: small files of new folders are put into place folder by folder."""
        small: dict[str, int] = {}
        other: set[str] = set()
        for path, take in takes.items():
            file, folder = take.row.file, path.rpartition("/")[0]
            if file is None or file.link or len(file.pieces) > 1 or path.endswith("/"):
                other.add(folder)
            else:
                small[folder] = small.get(folder, 0) + 1
        stages = {}
        for folder, files in small.items():
            if folder and folder not in other and (base := self._new_in(folder)) is not None:
                with suppress(OSError):
                    stages[folder] = Stage(folder, self._part_name(base), files)
        self._stages = Stages(stages)

    def _new_in(self, folder: str) -> str | None:
        """A name beside the uppermost folder that has to be made; None when nothing has."""
        for upper in reversed((folder, *above(folder))):
            try:
                if not stat.S_ISDIR(os.lstat(self._at(upper)).st_mode):
                    return None
            except FileNotFoundError:
                return upper
            except OSError:
                return None
            self._folders.add(upper)
        return None

    def end(self) -> None:
        """All has come that will."""
        for stage in self._stages.rest():
            self._settle(stage)

    def _settle(self, stage: Stage) -> None:
        """Put a folder into place, or its files where somebody has made the folder meanwhile."""
        if stage.looks and self._safe(stage.folder) and stage.put(self._at(stage.folder)):
            self._folders.add(stage.folder)
            self.done.looks.update(stage.looks)
            return
        for path in stage.looks:
            self._guarded(path, lambda path=path: self._put_staged(path, stage))  # type: ignore[misc]
        stage.clear()

    def _put_staged(self, path: str, stage: Stage) -> None:
        if self._safe(path):
            self._put(path, None, stage.there(path))

    def whole(self, path: str, take: Take, content: memoryview) -> None:
        """Write a file of one piece."""
        if (stage := self._stages.holding(path)) is not None:
            executable = take.row.file is not None and take.row.file.executable
            self._guarded(path, lambda: stage.write(path, content, 0o777 if executable else 0o666, _written(take)))
            for ready in self._stages.arrived(stage):
                self._settle(ready)
            return
        with self.part(path, take) or nullcontext() as part:
            if part is not None:
                part.write(0, content)
                part.finish()

    def part(self, path: str, take: Take) -> Part | None:
        """A file that arrives in several pieces; None when it cannot be begun."""
        found: list[Part] = []
        self._guarded(path, lambda: found.append(Part(self, path, take)))
        return found[0] if found else None

    def raise_full(self) -> None:
        """`LoftyError` when the disk became full; what was written stays."""
        if self._full is not None:
            raise LoftyError(
                f"{self._root}: {self._full.strerror}", hint="free some space and run the command again"
            ) from self._full

    # --- one path ---

    def _guarded(self, path: str, work: Callable[[], None]) -> None:
        if self._full is not None:
            self.done.failed.setdefault(path, "the disk is full")
            return
        try:
            work()
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                self._full = error
            self.done.failed[path] = error.strerror or str(error)

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _look(self, path: str) -> bytes | None:
        try:
            return look_of(os.lstat(self._at(path)))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _safe(self, path: str, *, make: bool = True) -> bool:
        """Whether a path lies in real folders below the root, made where they are missing. Looked at from the top: a
        link anywhere on the way would lead elsewhere, and what lies behind it may well be a real folder."""
        if path.rpartition("/")[0] in self._folders:
            return True
        for upper in reversed(above(path)):
            if upper in self._folders:
                continue
            there = self._at(upper)
            if make:
                with suppress(FileExistsError):
                    os.mkdir(there)
            try:
                real = stat.S_ISDIR(os.lstat(there).st_mode)
            except FileNotFoundError:
                return True
            if not real:
                self.done.failed[path] = f"{upper} is no folder here"
                return False
            self._folders.add(upper)
        return True

    def _make_folder(self, path: str) -> None:
        if self._safe(path):
            there = self._at(path.removesuffix("/"))
            with suppress(FileExistsError):
                os.mkdir(there)
            if stat.S_ISDIR(os.lstat(there).st_mode):
                self.done.looks[path] = None
            else:
                self.done.failed[path] = "a file is in its place"

    def _part_name(self, path: str) -> str:
        folder = path.rpartition("/")[0]
        return f"{self._root}/{folder}{'/' * bool(folder)}{self._mark}{next(self._parts)}"

    def _link_part(self, path: str, file: File) -> str:
        name = self._part_name(path)
        if self._safe(path):
            os.symlink(decode(file.link), name)
        return name

    def _put(self, path: str, look: bytes | None, part: str) -> None:
        """Put a finished part into place, if that looks as it did."""
        if path in self.done.failed:
            return
        there = self._at(path)
        try:
            made = os.lstat(part)
            if look is None:
                self._put_new(part, there)
            elif self._look(path) == look:
                os.rename(part, there)
            else:
                self.done.failed[path] = "was changed meanwhile"
                return
            self.done.looks[path] = _look_since(made, there)
        except FileExistsError:
            self.done.failed[path] = "something is in its place"
        except IsADirectoryError:
            self.done.failed[path] = "a folder is in its place"
        finally:
            if path not in self.done.looks:
                _unlink(part)

    def _put_new(self, part: str, there: str) -> None:
        try:
            os.link(part, there, follow_symlinks=False)  # unlike a rename, never on top of anything
        except (PermissionError, NotImplementedError, OSError) as error:
            if isinstance(error, FileExistsError | FileNotFoundError):
                raise
            if os.path.lexists(there):
                raise FileExistsError(errno.EEXIST, "exists", there) from None
            os.rename(part, there)  # a file system without hard links
        else:
            os.unlink(part)  # before anybody looks: this changes a time of the file


def _written(take: Take) -> int:
    """The time that a file gets. Where nothing was, that of its content: so programs that compare times (make) find
    them in their order on a new machine. Where it replaces another, now: a program that has that one open has to see
    that it is newer. Neither is one that a clock tick gives: should a person write to the file in this very tick, it
    looks different."""
    now = time.time_ns()
    return min(take.row.written or now, now) if take.look is None else now


def _look_since(made: os.stat_result, there: str) -> bytes | None:
    """How a file looks that was put there; None where somebody was at it since: then it is to be read again."""
    with suppress(FileNotFoundError, NotADirectoryError):
        seen = os.lstat(there)
        if all(getattr(made, what) == getattr(seen, what) for what in ("st_ino", "st_size", "st_mtime_ns", "st_mode")):
            return look_of(seen)
    return None


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError, NotADirectoryError):
        os.unlink(path)


class Part:
    """A file on its way, under a passing name."""

    def __init__(self, writer: Writer, path: str, take: Take) -> None:
        self._writer, self._path, self._take = writer, path, take
        self._fd = -1
        self.name = writer._part_name(path)
        if not writer._safe(path):
            return
        file = take.row.file
        executable = file is not None and file.executable
        self._size = file.size if file is not None else 0
        self._fd = os.open(self.name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o777 if executable else 0o666)
        if take.look is not None:  # keep the modes that a person gave the file, but for what the store says
            with suppress(OSError):
                mode = stat.S_IMODE(os.lstat(writer._at(path)).st_mode)
                if writer._executables:
                    mode = mode | (mode & 0o444) >> 2 if executable else mode & ~0o111
                os.fchmod(self._fd, mode)

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave nothing behind."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            _unlink(self.name)

    def write(self, number: int, content: memoryview) -> None:
        """A piece, by its number. Pieces may come in any order, from several threads; what goes wrong is in the
        writer's outcome."""
        self._writer._guarded(self._path, lambda: self._write(number, content))

    def finish(self) -> None:
        """All is there: put it into place."""
        self._writer._guarded(self._path, self._finish)

    def _write(self, number: int, content: memoryview) -> None:
        if self._fd < 0:
            return
        fill(self._fd, content, number * PIECE, self._size)

    def _finish(self) -> None:
        if self._fd < 0 or self._path in self._writer.done.failed:
            return
        os.close(self._fd)
        self._fd = -1  # from here on `_put` sees to the part
        os.utime(self.name, ns=(written := _written(self._take), written))
        self._writer._put(self._path, self._take.look, self.name)


def clear_parts(root: Path, parts: Sequence[str]) -> bool:
    """Remove what killed transfers left, and tell whether there was any; what a living process works on stays."""
    removed = False
    for path in parts:
        pid, _, life = path.rpartition(PART)[2].partition("-")
        ours = pid == str(os.getpid())
        with suppress(OSError):
            if not (pid.isdigit() and (life.startswith(_LIFE) if ours else _alive(int(pid)))):
                there = root / path
                if there.is_dir() and not there.is_symlink():
                    shutil.rmtree(there)
                else:
                    there.unlink()
                removed = True
    return removed


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno == errno.EPERM
    return True
