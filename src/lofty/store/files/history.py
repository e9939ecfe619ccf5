"""Earlier versions: which there are, what was in them, and bringing them back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from ...errors import NotFound
from .merge import beside
from .packed import Packed
from .read import Changing, describe
from .report import Kept, Report
from .state import State, look_of
from .tree import File, Row, decode, shown
from .version import Manifest, Past, Versions, named
from .write import Take, Writer


class Version(msgspec.Struct, frozen=True):
    """One version, for a person."""

    number: int
    time: float
    """Epoch seconds, by the store's clock."""
    by: str
    changed: int
    removed: int
    size: int | None = None
    """Bytes of the path asked about; None where it is not in this version, or none was asked about."""
    name: str = ""


def versions(kept: Versions, path: str = "") -> list[Version]:
    """The versions that are kept, oldest first; with a path, those in which it (or something in it) changed. Raises
    `NotFound` where there is none."""
    manifest, line = _line(kept)
    times = {entry.key.rpartition("/")[2]: entry.modified for entry in kept.store.entries("versions/")}
    found: list[Version] = []
    before: dict[bytes, Row] = {}
    cache: dict[bytes, tuple[Row, ...]] = {}
    for past in line:
        size = None
        if path:
            rows = _at(kept, manifest if past is line[-1] else kept.manifest(past.name), path, cache)
            if rows == before:
                continue
            before = rows
            size = sum(row.file.size for row in rows.values() if row.file) if rows else None
        when = times.get(past.name, past.time)
        found.append(Version(past.number, when, past.by, past.changed, past.removed, size, past.name))
    return found


def _line(kept: Versions) -> tuple[Manifest, list[Past]]:
    try:
        view = kept.look()
    except KeyError:
        raise NotFound(f"{kept.store.url} holds no version yet", hint="lofty push") from None
    assert view is not None
    return view.manifest, [*view.manifest.line, named(view.manifest, view.head.version)]


def _at(kept: Versions, manifest: Manifest, path: str, cache: dict[bytes, tuple[Row, ...]]) -> dict[bytes, Row]:
    """What a version has at a path and in it."""
    return {row.path: row for row in kept.rows(manifest, cache) if is_in(decode(row.path), path)}


def is_in(path: str, asked: str) -> bool:
    """Whether a path is the one asked for, or lies in it."""
    asked = asked.rstrip("/")
    return not asked or path.rstrip("/") == asked or path.startswith(asked + "/")


def find(kept: Versions, at: Callable[[float, int], bool]) -> Version:
    """The newest version whose time and number fit; `NotFound`, naming the oldest, where none does."""
    known = versions(kept)
    fitting = [one for one in known if at(one.time, one.number)]
    if not fitting:
        import time

        oldest = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(known[0].time))
        raise NotFound(f"no version is that old; the oldest is {known[0].number}, of {oldest}", hint="lofty history")
    return fitting[-1]


def restore(
    layout: Packed,
    version: Version,
    root: Path,
    state: Path,
    *,
    paths: Sequence[str] = (),
    side: str,
    to: Path | None = None,
) -> Report:
    """Write a version, or some paths of it, into the directory that is kept, or `to` another. What was never sent is
    not lost: it is kept beside. Files that came later stay."""
    manifest = layout.versions.manifest(version.name)
    rows = [row for row in layout.versions.rows(manifest) if not paths or any(is_in(row.name, path) for path in paths)]
    if not rows:
        raise NotFound(f"version {version.number} has no {', '.join(paths) or 'files'}", hint="lofty history")
    into = to or root
    into.mkdir(parents=True, exist_ok=True)
    from filelock import FileLock

    state.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(f"{state}.lock"), State(state) as memory:
        return _restore(layout, rows, into, memory if to is None else None, side)


def _restore(layout: Packed, rows: Iterable[Row], into: Path, memory: State | None, side: str) -> Report:
    report, writer = Report(), Writer(into)
    takes: dict[str, Take] = {}
    for row in rows:
        path, there = row.name, f"{os.fspath(into)}/{row.name}"
        try:
            seen = os.lstat(there)
        except (FileNotFoundError, NotADirectoryError):
            takes[path] = Take(row, None)
            continue
        if path.endswith("/"):
            continue
        here = _content(there, seen)
        if here is not None and here == row.file:
            continue
        look: bytes | None = look_of(seen)
        if not _is_kept(memory, row.path, look, here):
            name = beside(path, side, seen.st_mtime, lambda name: os.path.lexists(f"{os.fspath(into)}/{name}"))
            if look is None or not writer.move(path, name, look):
                report.skipped[shown(path)] = "was changed meanwhile"
                continue
            report.kept.append(Kept(shown(path), shown(name), side))
            look = None
        takes[path] = Take(row, look)
    failed = writer.clash_here(takes)
    takes = {path: take for path, take in takes.items() if path not in failed}
    writer.check_room(takes.values())
    layout.bring(takes, writer, lambda _: None)
    report.skipped.update({shown(path): why for path, why in (failed | writer.done.failed).items()})
    report.brought = sum(not path.endswith("/") for path in writer.done.looks)
    report.brought_bytes = sum(
        take.row.file.size for path, take in takes.items() if path in writer.done.looks and take.row.file
    )
    writer.raise_full()
    return report


def _content(there: str, seen: os.stat_result) -> File | None:
    try:
        return describe(there, seen)
    except (Changing, OSError):
        return None


def _is_kept(memory: State | None, path: bytes, look: bytes | None, here: File | None) -> bool:
    """Whether what is here is in the store too."""
    if memory is None:
        return False
    seen = memory.get(path)
    return seen.file is not None and (seen.file == here or (seen.look == look and seen.here is None))
