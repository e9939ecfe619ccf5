"""Contents into packs and out of them. A pack is a row of frames, each of them compressed where that pays; a frame
holds several small pieces or one large one. A pack is named by the hash of its bytes, a piece by that of its own.

What comes out of a store is untrusted: a frame says how large it becomes before it is opened, and every piece is
checked against its name.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from itertools import chain
from threading import Lock, Semaphore

import zstandard
from blake3 import blake3

from ...errors import Damaged
from ..base import Store
from .tree import PIECE, Place

FRAME = 256 * 1024
"""Bytes of small pieces that are compressed together: enough to compress well, little to fetch for one of them."""

PACK = PIECE
"""Bytes of content after which a pack is sent."""

WORKERS = 8
"""Transfers at once: hides the delay of a store at some distance, and bounds memory: each holds about two packs."""

PROBE = 64 * 1024
PAYS = 0.9
"""A frame is kept compressed when it is smaller than this share of its content."""


def digest(content: bytes | bytearray | memoryview) -> bytes:
    """The name of a content."""
    return blake3(content).digest()


def key_of(pack: bytes) -> str:
    """Where a pack lies."""
    return f"packs/{pack.hex()}"


class Packer:
    """Sends pieces into a store, small ones together."""

    def __init__(
        self,
        store: Store,
        known: Callable[[bytes], Place | None],
        moved: Callable[[int], None],
        garbage: frozenset[str] = frozenset(),
    ) -> None:
        self._store, self._known, self._moved, self._garbage = store, known, moved, garbage
        self._places: dict[bytes, Place | None] = {}
        self._frames: list[list[bytes]] = [[]]
        self._names: list[list[bytes]] = [[]]
        self._frame_bytes = self._pack_bytes = 0
        self._pool = ThreadPoolExecutor(WORKERS, "lofty-send")
        self._slots = Semaphore(WORKERS + 2)
        self._jobs: list[Future[None]] = []
        self._lock = Lock()

    def add(self, content: bytes, name: bytes) -> None:
        """Send a piece unless the store has it."""
        if name in self._places:
            return
        place = self._known(name)
        self._places[name] = place
        if place is not None:
            self._moved(len(content))
            return
        if len(content) > FRAME:
            self._send([[content]], [[name]])
            return
        if self._frame_bytes + len(content) > FRAME:
            self._frames.append([])
            self._names.append([])
            self._frame_bytes = 0
        self._frames[-1].append(content)
        self._names[-1].append(name)
        self._frame_bytes += len(content)
        self._pack_bytes += len(content)
        if self._pack_bytes >= PACK:
            self.flush()

    def flush(self) -> None:
        """Send the small pieces that wait for others to share a pack with."""
        if self._pack_bytes:
            self._send(self._frames, self._names)
            self._frames, self._names = [[]], [[]]
            self._frame_bytes = self._pack_bytes = 0

    def _send(self, frames: list[list[bytes]], names: list[list[bytes]]) -> None:
        self._slots.acquire()
        for job in self._jobs:
            if job.done():
                job.result()  # the first thing that went wrong ends the whole
        self._jobs = [job for job in self._jobs if not job.done()]
        self._jobs.append(self._pool.submit(self._send_one, frames, names))

    def _send_one(self, frames: list[list[bytes]], names: list[list[bytes]]) -> None:
        try:
            stored, placed, offset = [], [], 0
            for pieces, called in zip(frames, names, strict=True):
                whole = pieces[0] if len(pieces) == 1 else b"".join(pieces)
                frame = _compressed(whole)
                start = 0
                for piece, name in zip(pieces, called, strict=True):
                    placed.append((name, offset, len(frame), start, frame is not whole))
                    start += len(piece)
                stored.append(frame)
                offset += len(frame)
            pack = stored[0] if len(stored) == 1 else b"".join(stored)
            hashed = digest(pack)
            if key_of(hashed) in self._garbage:  # about to be deleted under this name: take another
                pack += secrets.token_bytes(16)
                hashed = digest(pack)
            self._store.put(key_of(hashed), pack, durable=True)
            with self._lock:
                for name, at, length, within, packed in placed:
                    self._places[name] = Place(hashed, at, length, within, packed)
            self._moved(sum(len(piece) for pieces in frames for piece in pieces))
        finally:
            self._slots.release()

    def finish(self, seconds: float | None = None) -> None:
        """Wait until all is sent, at most so long; raises what went wrong."""
        self.flush()
        done, _ = wait(self._jobs, timeout=seconds)
        for job in done:
            job.result()

    def places(self, names: Sequence[bytes]) -> tuple[Place, ...] | None:
        """Where these pieces lie; None while one of them is not sent."""
        found = [place for name in names if (place := self._places.get(name)) is not None]
        return tuple(found) if len(found) == len(names) else None

    def close(self) -> None:
        """End the threads; what was not begun is not sent."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _compressed(content: bytes) -> bytes:
    compress = zstandard.ZstdCompressor(level=1, write_content_size=True).compress
    if len(content) > 2 * PROBE and len(compress(content[:PROBE])) > PAYS * PROBE:
        return content
    small = compress(content)
    return small if len(small) < PAYS * len(content) else content


class Wanted:
    """A piece that somebody waits for."""

    __slots__ = ("name", "place", "size", "take")

    def __init__(self, name: bytes, place: Place, size: int, take: Callable[[memoryview], None]) -> None:
        self.name, self.place, self.size, self.take = name, place, size, take


def fetch(
    store: Store,
    wanted: Iterable[Wanted],
    damaged: Callable[[Wanted, str], None],
    moved: Callable[[int], None] = lambda _: None,
) -> None:
    """Bring pieces and hand each to its taker, in any order, from several threads; `moved` hears of the bytes. What is
    not what its name says, or is not there, is told to `damaged`; other troubles of the store are raised."""
    by_pack: dict[bytes, list[Wanted]] = {}
    for one in wanted:
        by_pack.setdefault(one.place.pack, []).append(one)
    unpack = _Unpack(store, damaged, moved)
    if len(by_pack) == 1:
        for pack, pieces in by_pack.items():
            unpack.open(pack, pieces)
        return
    with ThreadPoolExecutor(WORKERS, "lofty-fetch") as pool:
        jobs = [pool.submit(unpack.open, pack, pieces) for pack, pieces in by_pack.items()]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


class _Unpack:
    """Opens packs, several at once."""

    def __init__(self, store: Store, damaged: Callable[[Wanted, str], None], moved: Callable[[int], None]) -> None:
        self._store, self._damaged, self._moved = store, damaged, moved
        self._turn = Lock()

    def open(self, pack: bytes, wanted: list[Wanted]) -> None:
        """Bring what is wanted of one pack."""
        frames: dict[tuple[int, int, bool], list[Wanted]] = {}
        for one in wanted:
            place = one.place
            if place.length > 2 * PACK or place.start + one.size > 2 * PACK or one.size > PIECE:
                self._damaged(one, "its place cannot be true")
            else:
                frames.setdefault((place.offset, place.length, place.packed), []).append(one)
        for group in _groups(sorted(frames)):
            why = ""
            try:
                parts = self._store.ranges(key_of(pack), [(offset, length) for offset, length, _ in group])
            except KeyError:
                why = "not there"
            except Damaged:
                why = "cut short"
            if why:
                for one in chain.from_iterable(frames[span] for span in group):
                    self._damaged(one, f"pack {pack.hex()[:12]} is {why}")
                continue
            for span, raw in zip(group, parts, strict=True):
                self._give(raw, frames[span], pack)

    def _give(self, raw: bytes, wanted: list[Wanted], pack: bytes) -> None:
        try:
            content = memoryview(expand(raw, 2 * PACK) if wanted[0].place.packed else raw)
        except Damaged:
            content = memoryview(b"")
        # Many small pieces are work for the interpreter: threads would only take turns at it, one by one.
        with self._turn if len(wanted) > 1 else nullcontext():
            self._moved(sum(self._hand_out(content, one, pack) for one in wanted))

    def _hand_out(self, content: memoryview, one: Wanted, pack: bytes) -> int:
        piece = content[one.place.start : one.place.start + one.size]
        if len(piece) != one.size or digest(piece) != one.name:
            self._damaged(one, f"pack {pack.hex()[:12]} is damaged")
            return 0
        one.take(piece)
        return one.size


def _groups(spans: list[tuple[int, int, bool]]) -> list[list[tuple[int, int, bool]]]:
    """Frames to ask for together: no more than a pack or so, whatever a manifest says."""
    groups: list[list[tuple[int, int, bool]]] = []
    size = 0
    for span in spans:
        if not groups or size + span[1] > 2 * PACK:
            groups.append([])
            size = 0
        groups[-1].append(span)
        size += span[1]
    return groups


def expand(raw: bytes, limit: int) -> bytes:
    """Open a compressed frame of at most `limit` bytes of content; `Damaged` when it is damaged or larger."""
    try:
        size = zstandard.frame_content_size(raw)
        if not 0 <= size <= limit:
            raise Damaged("a frame does not say its size, or too large a one")
        return zstandard.ZstdDecompressor(max_window_size=1 << 27).decompress(raw, max_output_size=limit)
    except zstandard.ZstdError as error:
        raise Damaged(f"a damaged frame: {error}") from error
