"""What has changed in a directory since it was last read: names and looks only, no content."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import msgspec

from .ignore import Rules
from .state import Glance, State, look_of
from .tree import DEEPEST, PART, above, beneath, decode, encode, folded, is_own, stays

Found = tuple[bytes, os.stat_result | None]
"""A path and how it looks; None for a folder with nothing in it."""


class Scan(msgspec.Struct):
    """The outcome."""

    changed: dict[str, os.stat_result | None] = {}
    """Paths that look other than when they were last read, new ones too; None for an empty folder."""
    missing: list[str] = []
    """Paths that both sides agreed on and that are not here any more."""
    skipped: dict[str, str] = {}
    """What cannot go along, and why."""
    secrets: list[str] = []
    """What is left out because it looks like a secret."""
    clashes: list[tuple[str, str]] = []
    """Names that would be one file on a system that knows no case."""
    parts: list[str] = []
    """What a transfer has under a passing name, or left when it was killed."""
    files: int = 0
    """How many paths go along."""


def scan(root: Path, state: State, rules: Rules, only: Iterable[str] | None = None) -> Scan:
    """Compare a directory with what is remembered of it; `only` these paths, and what is in them."""
    walk = _Walk(root, rules)
    if only is None:
        _join(walk.all(), state.glances(), walk)
    else:
        for path in _outermost(only):
            _one(walk, state, path)
    return walk.found


class _Walk:
    def __init__(self, root: Path, rules: Rules) -> None:
        self.found = Scan()
        self.rules = rules
        self.seen: set[str] = set()
        """Folders above something heard of, that were looked at."""
        self._root = os.fspath(root)

    def all(self) -> Iterator[Found]:
        return self._folder("")

    def there(self, path: str) -> str:
        return f"{self._root}/{path}"

    def look(self, path: str) -> os.stat_result | None:
        """None where nothing is that can go along, or where a link leads elsewhere on the way."""
        try:
            for upper in reversed(above(path)):
                if not stat.S_ISDIR(os.lstat(self.there(upper)).st_mode):
                    return None
            return os.lstat(self.there(path))
        except OSError:
            return None

    def folder(self, path: str) -> Iterator[Found]:
        """All that is in a folder, and the folder itself when that is nothing."""
        return self._folder(f"{path}/" if path else "")

    def empty(self, path: str) -> bool:
        """Whether nothing in a folder goes along."""
        with suppress(OSError), os.scandir(self.there(path)) as entries:
            for entry in entries:
                below, folder = f"{path}/{entry.name}", entry.is_dir(follow_symlinks=False)
                goes = self.rules.excluded(below, folder=folder) is None
                if goes and (folder or self.carries(below, entry.stat(follow_symlinks=False))):
                    return False
        return path + "/" not in self.found.skipped

    def _folder(self, prefix: str) -> Iterator[Found]:
        anything = False
        for key, path, seen in self._entries(prefix):
            anything = True
            if seen is None:
                yield from self._folder(f"{path}/")
            else:
                yield key, seen
        if prefix and not anything and prefix not in self.found.skipped:
            yield encode(prefix), None

    def _entries(self, prefix: str) -> list[tuple[bytes, str, os.stat_result | None]]:
        """What goes along of a folder, in the order of whole paths: its sorting key, its path, its look or None for
        a folder."""
        try:
            with os.scandir(self.there(prefix)) as entries:
                listed = list(entries)
        except (FileNotFoundError, NotADirectoryError):
            return []  # it went away meanwhile
        except OSError as error:
            self.found.skipped[prefix] = error.strerror or str(error)
            return []
        result: list[tuple[bytes, str, os.stat_result | None]] = []
        for entry in listed:
            path = prefix + entry.name
            folder = entry.is_dir(follow_symlinks=False)
            if self.leave(path, folder=folder):
                continue
            if folder and path.count("/") < DEEPEST:
                result.append((encode(path) + b"/", path, None))
                continue
            if folder:
                self.found.skipped[f"{path}/"] = "lies too deep"
                continue
            try:
                seen = entry.stat(follow_symlinks=False)
            except OSError as error:
                if not isinstance(error, FileNotFoundError):
                    self.found.skipped[path] = error.strerror or str(error)
                continue
            if self.carries(path, seen):
                result.append((encode(path), path, seen))
        result.sort()
        self._note_clashes(result)
        return result

    def leave(self, path: str, *, folder: bool) -> bool:
        """Whether a rule leaves it out; what looks like a secret is remembered, to be said."""
        why = self.rules.excluded(path, folder=folder)
        if why == "secret":
            self.found.secrets.append(path + "/" * folder)
        elif why == "own" and PART in path:
            self.found.parts.append(path)
        return why is not None

    def carries(self, path: str, seen: os.stat_result) -> bool:
        """Whether it is something that can go along at all."""
        mode = seen.st_mode
        if stat.S_ISREG(mode):
            return True
        if stat.S_ISLNK(mode):
            try:
                if stays(path, os.readlink(self.there(path))):
                    return True
            except OSError:
                return False
            self.found.skipped[path] = "links to a place outside the folder"
        else:
            self.found.skipped[path] = "neither file, link nor folder"
        return False

    def _note_clashes(self, entries: list[tuple[bytes, str, os.stat_result | None]]) -> None:
        if len({folded(path) for _, path, _ in entries}) < len(entries):
            seen: dict[str, str] = {}
            for _, path, _ in entries:
                other = seen.setdefault(folded(path), path)
                if other != path:
                    self.found.clashes.append((other, path))


def _join(found: Iterator[Found], known: Iterator[Glance], walk: _Walk) -> None:
    """Both come in the order of paths; what is on one side alone is new or missing."""
    out = walk.found
    glance = next(known, None)
    for path, seen in found:
        out.files += 1
        while glance is not None and glance.path < path:
            _missing(glance, walk)
            glance = next(known, None)
        if glance is not None and glance.path == path:
            same = (glance.agreed and seen is None) or (seen is not None and glance.look == look_of(seen))
            if not same or glance.edited:
                out.changed[decode(path)] = seen
            glance = next(known, None)
        else:
            out.changed[decode(path)] = seen
    while glance is not None:
        _missing(glance, walk)
        glance = next(known, None)


def _missing(glance: Glance, walk: _Walk) -> None:
    path = decode(glance.path)
    # What could not be looked at, or is left out by a rule, has not been deleted.
    unseen = walk.found.skipped and any(
        one in walk.found.skipped for one in (path, *(f"{up}/" for up in above(path)), "")
    )
    if glance.agreed and not unseen and not walk.rules.excluded(path.removesuffix("/"), folder=path.endswith("/")):
        walk.found.missing.append(path)


def _one(walk: _Walk, state: State, path: str) -> None:
    """A path that something was heard of, what is in it, and the folders above."""
    key = encode(path)
    seen = walk.look(path)
    folder = seen is not None and stat.S_ISDIR(seen.st_mode)
    if seen is not None and walk.leave(path, folder=folder):
        return
    if folder:
        _join(walk.folder(path), state.glances(beneath(key)), walk)
        _compare(walk, state, key, None)
    else:
        _join(iter(()), state.glances(beneath(key)), walk)
        _compare(walk, state, key, seen if seen is not None and walk.carries(path, seen) else None)
    _upwards(walk, state, path)


def _upwards(walk: _Walk, state: State, path: str) -> None:
    """The folders above: the nearest may have become empty, and none of those above it is so any more."""
    below = False
    for upper in above(path):
        if upper in walk.seen:  # and so are those above it
            return
        if (up := walk.look(upper)) is None or not stat.S_ISDIR(up.st_mode):
            continue
        walk.seen.add(upper)
        if not walk.leave(upper, folder=True):
            marker = encode(upper) + b"/"
            empty = not below and walk.empty(upper)
            _join(iter([(marker, None)] if empty else []), _glance(state, marker), walk)
            below = True


def _compare(walk: _Walk, state: State, key: bytes, seen: os.stat_result | None) -> None:
    _join(iter([(key, seen)] if seen is not None else []), _glance(state, key), walk)


def _glance(state: State, key: bytes) -> Iterator[Glance]:
    return (glance for glance in state.glances(beneath(key)._replace(first=key, until=key + b"\0")))


def _outermost(paths: Iterable[str]) -> list[str]:
    """Without those that lie in another of them."""
    result: list[str] = []
    for path in sorted({path.strip("/") for path in paths}):
        if not path or any(map(is_own, path.split("/"))):
            continue
        if not result or not path.startswith(result[-1] + "/"):
            result.append(path)
    return result
