"""What this side remembers between two looks, in one SQLite file: what both sides last agreed on, path by path; how
the files looked that were read (so that unchanged ones are not read again); and what the other side has that could
not be taken over yet. Losing it loses nothing: without it, what differs on both sides is kept on both."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from os import stat_result
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import msgspec

from .tree import ALL, File, Place, Row, Span

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS paths (
  path BLOB PRIMARY KEY, file BLOB, places BLOB, first BLOB, stat BLOB, here BLOB) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS contents ON paths (first) WHERE first IS NOT NULL;
CREATE TABLE IF NOT EXISTS pending (path BLOB PRIMARY KEY, row BLOB) WITHOUT ROWID;
"""
_VERSION = 1

_file = msgspec.msgpack.Decoder(File)
_places = msgspec.msgpack.Decoder(tuple[Place, ...])
_row = msgspec.msgpack.Decoder(Row)
_encode = msgspec.msgpack.Encoder().encode

_STAT = struct.Struct("<QqqQI")


def look_of(stat: stat_result) -> bytes:
    """How a file looks from outside: size, times, inode and mode. While this is the same, so is the content."""
    inode = stat.st_ino & 0xFFFFFFFFFFFFFFFF
    return _STAT.pack(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, inode, stat.st_mode)


class Seen(NamedTuple):
    """What is remembered of one path."""

    path: bytes
    file: File | None
    """What both sides agreed on; None: nothing was there."""
    places: tuple[Place, ...]
    look: bytes | None
    """How it looked when it was last read; None: never, or it was too fresh to tell by the look."""
    here: File | None
    """What was here then, where that is not what both sides agreed on."""


class Glance(NamedTuple):
    """The part of `Seen` that a scan compares; nothing is decoded."""

    path: bytes
    look: bytes | None
    agreed: bool
    """Whether both sides agreed on something here."""
    edited: bool
    """Whether what was read here was not that."""


class State:
    """The memory of one directory and one store. Use as a context manager; one process at a time writes."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        try:
            self._db = self._open()
        except sqlite3.DatabaseError:
            # Damaged: begin anew, which costs reading the files once more and deletes nothing.
            forget(path)
            self._db = self._open()

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=60, isolation_level=None, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute("PRAGMA cache_size=-8192")
            if db.execute("PRAGMA user_version").fetchone()[0] not in (0, _VERSION):
                raise sqlite3.DatabaseError  # noqa: TRY301 (as good as damaged)
            db.executescript(_SCHEMA)
            db.execute(f"PRAGMA user_version={_VERSION}")
        except BaseException:
            db.close()
            raise
        return db

    def __enter__(self) -> State:
        self._db.execute("BEGIN")  # one view for many small questions, which locks the file once
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    # --- reading ---

    def meta(self, key: str) -> bytes:
        """A small value; empty when there is none."""
        found = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return bytes(found[0]) if found else b""

    def glances(self, span: Span = ALL) -> Iterator[Glance]:
        """Every path in order, as a scan needs it."""
        where, values = _where(span)
        sql = f"SELECT path, stat, file IS NOT NULL, here IS NOT NULL FROM paths {where} ORDER BY path"  # noqa: S608
        return map(Glance._make, self._db.execute(sql, values))

    def agreed(self, span: Span = ALL) -> Iterator[Row]:
        """What both sides agreed on, in order."""
        where, values = _where(span)
        sql = f"SELECT path, file, places FROM paths {where} ORDER BY path"  # noqa: S608
        for path, file, places in self._db.execute(sql, values):
            if file is not None:
                yield Row(path, _file.decode(file), _places.decode(places))

    def known(self, span: Span = ALL) -> Iterator[Row]:
        """What the other side has, as far as was ever learned, in no order."""
        later = {row.path: row for row in self.pending(span)}
        for row in (*(later.pop(row.path, row) for row in self.agreed(span)), *later.values()):
            if row.file is not None:
                yield row

    def pending(self, span: Span = ALL) -> list[Row]:
        """What the other side has, or deleted, that was not taken over yet."""
        where, values = _where(span)
        sql = f"SELECT row FROM pending {where} ORDER BY path"  # noqa: S608
        return [_row.decode(raw) for (raw,) in self._db.execute(sql, values)]

    def get(self, path: bytes) -> Seen:
        """What is remembered of a path; empty where nothing is."""
        found = self._db.execute("SELECT path, file, places, stat, here FROM paths WHERE path = ?", (path,)).fetchone()
        if found is None:
            return Seen(path, None, (), None, None)
        _, file, places, look, here = found
        return Seen(
            path,
            _file.decode(file) if file is not None else None,
            _places.decode(places) if places is not None else (),
            look,
            _file.decode(here) if here is not None else None,
        )

    def place(self, piece: bytes) -> Row | None:
        """A path whose whole content is that piece, on both sides."""
        sql = "SELECT path, file, places FROM paths WHERE first = ? LIMIT 1"
        found = self._db.execute(sql, (piece,)).fetchone()
        return Row(found[0], _file.decode(found[1]), _places.decode(found[2])) if found else None

    def count(self) -> int:
        """How many files and links both sides agreed on."""
        sql = "SELECT count(*) FROM paths WHERE file IS NOT NULL AND substr(path, -1) != x'2f'"
        return int(self._db.execute(sql).fetchone()[0])

    # --- writing ---

    def write(
        self,
        *,
        agreed: Sequence[tuple[Row, bytes | None]] = (),
        read: Iterable[tuple[bytes, bytes | None, File | None]] = (),
        gone: Iterable[bytes] = (),
        pending: Iterable[Row] | None = None,
        meta: dict[str, bytes] | None = None,
    ) -> None:
        """One transaction. `agreed`: both sides now have this row, and how it looks here; `read`: path, look and
        content of what was read here, not agreed on; `gone`: nothing is here any more, nor was it agreed that it
        should go; `pending` replaces what is to be taken over later."""
        db = self._db
        if db.in_transaction:
            db.execute("COMMIT")
        db.execute("BEGIN IMMEDIATE")
        try:
            for key, value in (meta or {}).items():
                db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))
            db.executemany("INSERT OR REPLACE INTO paths VALUES (?, ?, ?, ?, ?, NULL)", _agreed(agreed))
            db.executemany("DELETE FROM paths WHERE path = ?", ((row.path,) for row, _ in agreed if row.file is None))
            db.executemany(
                "INSERT INTO paths (path, stat, here) VALUES (?1, ?2, ?3)"
                " ON CONFLICT (path) DO UPDATE SET stat = ?2, here = ?3",
                ((path, look, _encode(file) if file is not None else None) for path, look, file in read),
            )
            for path in gone:
                db.execute("UPDATE paths SET stat = NULL, here = NULL WHERE path = ?", (path,))
                db.execute("DELETE FROM paths WHERE path = ? AND file IS NULL", (path,))
            if pending is not None:
                db.execute("DELETE FROM pending")
                db.executemany("INSERT INTO pending VALUES (?, ?)", ((row.path, _encode(row)) for row in pending))
            db.execute("COMMIT")
        except BaseException:
            db.execute("ROLLBACK")
            raise

    def reset(self) -> None:
        """Forget everything."""
        self._db.executescript("DELETE FROM meta; DELETE FROM paths; DELETE FROM pending;")


def _agreed(rows: Iterable[tuple[Row, bytes | None]]) -> Iterator[tuple[object, ...]]:
    for row, look in rows:
        if row.file is not None:
            first = row.file.pieces[0] if len(row.file.pieces) == 1 else None
            yield row.path, _encode(row.file), _encode(row.places), first, look


def _where(span: Span) -> tuple[str, tuple[bytes, ...]]:
    terms = [term for term, value in (("path >= ?", span.first), ("path < ?", span.until)) if value is not None]
    values = tuple(value for value in span if value is not None)
    return (f"WHERE {' AND '.join(terms)}" if terms else "", values)


def forget(path: Path) -> None:
    """Remove a memory; what is not there is no error."""
    for suffix in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).unlink()
