"""The plain layout: one object per file under its own name, for a container that belongs to a person. Any tool can read
it and add to it; what it keeps of versions is the container's own affair.

Nothing is written over that somebody else has changed since it was last seen: every write names the object's version.
Links, empty folders and the executable bit have no place there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock

import msgspec

from ...errors import Stale, StoreError
from ..base import Store
from .layout import Count, Look
from .pack import WORKERS, digest
from .state import State
from .tree import PIECE, File, Place, Row, above, check_row, decode, encode
from .write import Take, Writer


class Plain:
    """A container's objects as files."""

    links = executables = by_content = False

    def __init__(self, store: Store) -> None:
        self.store = store
        self._tokens: dict[str, str] = {}

    def news(self) -> bool:
        """Always worth a look: only a listing tells."""
        return True

    def look(self, state: State, *, ahead: bool = False) -> Look:
        """One listing: a thousand files to a request."""
        listed = {}
        newest = 0.0
        for entry in self.store.entries():
            written = int(entry.modified * 1e9)
            row = Row(encode(entry.key), File(size=entry.size), (Place(entry.version.encode()),), written)
            if _is_file(row):
                listed[row.path] = row
                newest = max(newest, entry.modified)
        # Some tools mark a folder by an object of its name; its files tell as much.
        for folder in {upper for path in listed for upper in above(decode(path))}:
            listed.pop(encode(folder), None)
        changes: dict[bytes, Row] = {}
        self._tokens = {row.name: decode(row.places[0].pack) for row in listed.values()}
        for before in state.known():
            now = listed.pop(before.path, None)
            if now is None:
                changes[before.path] = Row(before.path)
            elif before.places[:1] != now.places:
                changes[before.path] = now
        changes.update(listed)
        return Look(changes, "store", newest, 0)

    def outbox(self, state: State, moved: Count) -> _Outbox:
        """Object by object, several at once."""
        return _Outbox(self.store, self._tokens, moved)

    def commit(self, rows: Mapping[bytes, Row], by: str) -> int:
        """What was sent is there already; deletions follow."""
        gone = [row.name for row in rows.values() if row.file is None and row.name in self._tokens]
        for name in gone:
            if self._version(name) not in (None, self._tokens[name]):
                raise Stale(f"{name} was changed meanwhile")
        self.store.delete(gone)
        return 0

    def _version(self, name: str) -> str | None:
        try:
            return self.store.version(name)
        except KeyError:
            return None

    def bring(self, takes: Mapping[str, Take], writer: Writer, moved: Count) -> dict[str, Row]:
        """Object by object, several at once."""
        rows: dict[str, Row] = {}

        def one(path: str, take: Take) -> None:
            file = take.row.file
            if take.content is not None or (file is not None and not file.size):
                writer.place(path, take)
                rows[path] = take.row
                return
            assert file is not None
            part = writer.part(path, take)
            if part is None:
                return
            with part:
                try:
                    names, token = [], take.row.places[0].pack
                    for number, piece in enumerate(self._pieces(take.row)):
                        part.write(number, memoryview(piece))
                        names.append(digest(piece))
                        moved(len(piece))
                    rows[path] = Row(take.row.path, File(tuple(names), file.size), (Place(token),))
                    part.finish()
                except (KeyError, Stale):
                    writer.done.failed[path] = "was changed in the store meanwhile"
                except StoreError as error:
                    writer.done.failed[path] = str(error)

        with ThreadPoolExecutor(WORKERS, "lofty-fetch") as pool:
            for job in [pool.submit(one, path, take) for path, take in takes.items()]:
                job.result()
        return rows

    def _pieces(self, row: Row) -> Iterator[bytes]:
        """An object's content; `Stale` when it is not the version that the row names."""
        name, token, size = row.name, decode(row.places[0].pack), row.file.size if row.file else 0
        if size <= PIECE:
            content, now = self.store.read(name)
            if now != token or len(content) != size:
                raise Stale(f"{name} was changed meanwhile")
            yield content
            return
        for start in range(0, size, PIECE):
            yield self.store.ranges(name, [(start, min(PIECE, size - start))])[0]
        if self.store.version(name) != token:
            raise Stale(f"{name} was changed meanwhile")

    def content(self, row: Row) -> bytes | None:
        """The object, if it is still that version."""
        if row.file is None or not row.places:
            return None
        try:
            return b"".join(self._pieces(row))
        except (KeyError, Stale):
            return None

    def describe(self, row: Row) -> Row:
        """Read it through to know what it holds."""
        assert row.file is not None
        try:
            names = tuple(digest(piece) for piece in self._pieces(row))
        except KeyError:
            raise Stale(f"{row.name} went away meanwhile") from None
        return msgspec.structs.replace(row, file=File(names, row.file.size))

    def tidy(self) -> None:
        """What lies there is the person's."""

    def marks(self) -> dict[str, bytes]:
        """That there was a look."""
        return {"token": b"plain"}


def _is_file(row: Row) -> bool:
    """Whether an object's name can be a file's; others are left alone."""
    if row.path.endswith(b"/"):
        return False
    try:
        check_row(row, plain=True)
    except StoreError:
        return False
    return True


class _Outbox:
    def __init__(self, store: Store, tokens: dict[str, str], moved: Count) -> None:
        self._store, self._tokens, self._moved = store, tokens, moved
        self._pool = ThreadPoolExecutor(WORKERS, "lofty-send")
        self._jobs: list[Future[None]] = []
        self._new: dict[str, str] = {}
        self._lock = Lock()

    def send(self, path: str, pieces: Iterator[bytes], size: int, *, executable: bool) -> File:
        """Small files wait for each other in threads; a large one is sent as it is read."""
        names: list[bytes] = []

        def read() -> Iterator[bytes]:
            for piece in pieces:
                names.append(digest(piece))
                yield piece

        if size > PIECE:
            self._one(path, read())
        else:
            content = b"".join(read())
            self._jobs.append(self._pool.submit(self._one, path, iter([content])))
            if len(self._jobs) > 4 * WORKERS:
                self._jobs.pop(0).result()
        return File(tuple(names), size)

    def _one(self, path: str, content: Iterator[bytes]) -> None:
        size = 0

        def counted() -> Iterator[bytes]:
            nonlocal size
            for piece in content:
                size += len(piece)
                yield piece
                self._moved(len(piece))

        token = self._store.replace(path, counted(), self._tokens.get(path))
        with self._lock:
            self._new[path] = token

    def flush(self) -> None:
        """Nothing waits."""

    def finish(self, seconds: float | None) -> None:
        """Wait for all."""
        done, _ = wait(self._jobs, timeout=seconds)
        for job in done:
            job.result()

    def row(self, path: str, file: File, written: int) -> Row | None:
        """With the object's new version."""
        token = self._new.get(path)
        return Row(encode(path), file, (Place(token.encode()),), written) if token is not None else None

    def close(self) -> None:
        """Send nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
