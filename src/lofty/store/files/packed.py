"""The packed layout: every version can be restored, and a small change costs a small transfer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from threading import Lock

import msgspec

from ...errors import StoreError
from ..base import Store
from .garbage import collect
from .layout import Count, Look
from .pack import Packer, Wanted, digest, fetch, key_of
from .state import State
from .tree import PIECE, File, Place, Row, encode
from .version import Head, Manifest, Versions, View, pack, unpack
from .write import Part, Take, Writer

OURS = frozenset({"HEAD", "versions", "shards", "packs", "garbage", "git"})
"""What may lie in a prefix that we begin to use."""


class Packed:
    """A store's versions."""

    links = executables = by_content = True

    def __init__(self, store: Store) -> None:
        self.versions = Versions(store)
        self._view: View | None = None
        self._theirs: frozenset[bytes] = frozenset()
        self._sent: dict[bytes, Place] = {}
        """Contents that are in the store, and not published yet."""
        self._sweeps = 0

    def look(self, state: State, *, ahead: bool = False) -> Look:
        """One conditional request when nothing is new; none when `ahead` of the others."""
        token = state.meta("token").decode()
        if not (ahead and self._view is not None and self._view.token == token):
            return self._ask(state, token)
        self._theirs = frozenset()
        return _found(self._view, {})

    def _ask(self, state: State, token: str) -> Look:
        try:
            view = self.versions.look(token)
        except KeyError:
            if token:
                state.reset()  # the store was emptied: nothing is known to be there, and nothing is deleted here
            self._view = None
            return Look({}, "", 0.0, 0)
        changes: dict[bytes, Row] = {}
        if view is None:
            head = msgspec.json.decode(state.meta("head"), type=Head)
            view = View(head, token, unpack(state.meta("manifest")))
        else:
            old: Manifest | None = None
            if token and state.meta("store").decode() == view.head.store:
                old = unpack(state.meta("manifest"))
            elif token:
                state.reset()  # another store at the same address
            changes = self.versions.changes(view.manifest, old, state.known)
        self._view = view
        self._theirs = frozenset(changes)
        return _found(view, changes)

    def news(self) -> bool:
        """Whether there is something new since the last look: one conditional request."""
        if self._view is None:
            return True
        try:
            return self.versions.store.read_changed("HEAD", self._view.token) is not None
        except KeyError:
            return True

    def outbox(self, state: State, moved: Count) -> _Outbox:
        """Small files together, large ones in pieces; what the store has is not sent."""
        pending = {row.path for row in state.pending()} | self._theirs
        garbage = self.versions.garbage(self._view.head) if self._view is not None else frozenset()
        sweeps = self._view.head.sweeps if self._view is not None else 0
        if sweeps != self._sweeps:
            self._sent.clear()  # what was sent and not published may have been deleted meanwhile
            self._sweeps = sweeps
        self._sent = {name: place for name, place in self._sent.items() if key_of(place.pack) not in garbage}

        somewhere = bool(state.count())

        def known(name: bytes) -> Place | None:
            if (place := self._sent.get(name)) is not None:
                return place
            # Only what the newest version holds is sure to stay.
            row = state.place(name) if somewhere else None
            return row.places[0] if row is not None and row.path not in pending else None

        return _Outbox(Packer(self.versions.store, known, moved, garbage), self._sent, state, pending)

    def commit(self, rows: Mapping[bytes, Row], by: str) -> int:
        """A new version."""
        if self._view is None:
            self._check_free()
        self._view = self.versions.commit(rows, self._view, by)
        self._sent.clear()
        return number(self._view)

    def _check_free(self) -> None:
        for entry in self.versions.store.entries():
            if entry.key.partition("/")[0] not in OURS:
                hint = "choose another prefix, or --plain to work with the objects that are there"
                raise StoreError(f"{self.versions.store.url} holds other things, such as {entry.key}", hint=hint)

    def bring(self, takes: Mapping[str, Take], writer: Writer, moved: Count) -> dict[str, Row]:
        """From several packs at once."""
        wanted: list[Wanted] = []
        parts: list[Part] = []

        def damaged(path: str, why: str) -> None:
            writer.done.failed[path] = why

        owners: dict[int, str] = {}
        writer.begin(takes)
        for path, take in takes.items():
            row = take.row
            file = row.file
            if file is None or not file.pieces or take.content is not None:
                writer.place(path, take)
                continue
            if len(file.pieces) == 1:
                one = Wanted(file.pieces[0], row.places[0], file.size, partial(writer.whole, path, take))
                owners[id(one)] = path
                wanted.append(one)
                continue
            if (part := writer.part(path, take)) is None:
                continue
            parts.append(part)
            arrival = _Arrival(part, len(file.pieces))
            for index, (name, place) in enumerate(zip(file.pieces, row.places, strict=True)):
                one = Wanted(name, place, min(PIECE, file.size - index * PIECE), arrival.piece(index))
                owners[id(one)] = path
                wanted.append(one)
        try:
            fetch(self.versions.store, wanted, lambda one, why: damaged(owners[id(one)], why), moved)
        finally:
            writer.end()
            for part in parts:
                part.__exit__()
        return {path: take.row for path, take in takes.items()}

    def content(self, row: Row) -> bytes | None:
        """A whole small file of any version."""
        file = row.file
        if file is None or file.link or file.size > 4 * PIECE:
            return None
        found: dict[int, bytes] = {}

        def keep(index: int) -> Arrive:
            return lambda piece: found.update({index: bytes(piece)})

        wanted = [
            Wanted(name, place, min(PIECE, file.size - index * PIECE), keep(index))
            for index, (name, place) in enumerate(zip(file.pieces, row.places, strict=True))
        ]
        fetch(self.versions.store, wanted, lambda _one, _why: None)
        return b"".join(found[i] for i in range(len(wanted))) if len(found) == len(wanted) else None

    def describe(self, row: Row) -> Row:
        """Always known."""
        return row

    def tidy(self) -> None:
        """One listing and the kept manifests: seldom."""
        collect(self.versions)

    def marks(self) -> dict[str, bytes]:
        """HEAD, its token and its manifest."""
        if self._view is None:
            return {}
        head, token, manifest = self._view
        return {
            "store": head.store.encode(),
            "token": token.encode(),
            "head": msgspec.json.encode(head),
            "manifest": pack(manifest),
        }


def _found(view: View, changes: dict[bytes, Row]) -> Look:
    me = view.manifest.me
    return Look(changes, me.by, me.time, number(view))


def number(view: View) -> int:
    """A version's number."""
    return int(view.head.version.partition("-")[0])


Arrive = Callable[[memoryview], None]


class _Arrival:
    """A large file whose pieces come in any order."""

    def __init__(self, part: Part, pieces: int) -> None:
        self._part, self._left = part, pieces
        self._lock = Lock()

    def piece(self, index: int) -> Arrive:
        def arrive(content: memoryview) -> None:
            self._part.write(index, content)
            with self._lock:
                self._left -= 1
                last = not self._left
            if last:
                self._part.finish()

        return arrive


class _Outbox:
    def __init__(
        self, packer: Packer, sent: dict[bytes, Place], state: State, pending: frozenset[bytes] | set[bytes]
    ) -> None:
        self._packer, self._sent, self._state, self._pending = packer, sent, state, pending

    def send(self, path: str, pieces: Iterator[bytes], size: int, *, executable: bool) -> File:
        """Hash exactly what is sent."""
        before = self._state.get(encode(path)) if size > PIECE else None
        names = []
        for index, piece in enumerate(pieces):
            name = digest(piece)
            # A large file that changed in one piece: the others lie where they lay.
            same = before and before.file and before.file.pieces[index : index + 1] == (name,)
            if before and same and before.path not in self._pending:
                self._sent[name] = before.places[index]
            self._packer.add(piece, name)
            names.append(name)
        return File(tuple(names), size, executable)

    def flush(self) -> None:
        """Send the pack that is not full yet."""
        self._packer.flush()

    def finish(self, seconds: float | None) -> None:
        """Wait for the packs."""
        self._packer.finish(seconds)

    def row(self, path: str, file: File, written: int) -> Row | None:
        """With the places of its pieces."""
        places = self._packer.places(file.pieces)
        if places is None:
            return None
        self._sent.update(zip(file.pieces, places, strict=True))
        return Row(encode(path), file, places, written)

    def close(self) -> None:
        """End the threads."""
        self._packer.close()
