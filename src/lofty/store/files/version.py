"""Versions of a directory in a store: an immutable manifest for each, and a tiny HEAD that names the newest.

    HEAD                        which manifest is the newest; replaced by compare-and-set alone
    versions/NNNNNNNNNN-HASH    a manifest: which shards the tree is made of, what has changed since they were
                                written, and the versions before it that are kept
    shards/HASH                 a stretch of the tree: rows in the order of their paths
    packs/HASH                  contents

Written in the order packs, shards, manifest, HEAD: a kill at any moment leaves the old view whole. A small change
writes a small manifest, however large the tree: rows are moved into shards only when many have gathered.
"""

from __future__ import annotations

import secrets
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, NamedTuple, TypeVar

import msgspec

from ...errors import Damaged, Stale, StoreError
from ..base import Store
from .pack import WORKERS, digest, expand
from .tree import Row, Span, check_row

FORMAT = 1
SHARD = 4096
"""Rows of a shard, about; one is split when it has twice as many."""
DELTA = 512
"""Rows that gather in manifests before they are moved into shards."""
MOST = 4 * SHARD
SHARD_BYTES = 64 * 1024 * 1024
LITTLE, RATIO = 1024 * 1024, 100
"""No record has more entries or is larger when opened, nor so many times larger than as stored, but for a little:
limits for what a hostile store makes us hold. Hashes do not compress."""

T = TypeVar("T")
Name = Annotated[str, msgspec.Meta(pattern=r"^(\d{10}-[0-9a-f]{32})?$")]
"""Of a version: its number and the hash of its manifest."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The one object that changes."""

    format: int = FORMAT
    store: str
    """Tells this store from another that was made at the same address later."""
    version: Name
    """Name of the newest manifest."""
    garbage: str = ""
    """Name of the list of objects that nothing needs and that are about to be deleted."""
    sweeps: int = 0
    """How often objects were deleted: who sent some before and publishes after has to make sure of them."""


class Shard(msgspec.Struct, frozen=True, array_like=True):
    """A stretch of the tree, from `first` up to the next shard's."""

    first: bytes
    hash: bytes
    rows: int


class Past(msgspec.Struct, frozen=True, array_like=True):
    """A version that is kept."""

    name: Name
    time: Annotated[float, msgspec.Meta(gt=0, lt=1e12)]
    """Epoch seconds, by the clock of the side that made it."""
    by: str
    """The side that made it."""
    changed: int = 0
    """Paths written."""
    removed: int = 0
    """Paths deleted."""

    @property
    def number(self) -> int:
        """Which version it is, counted from 1."""
        return int(self.name.partition("-")[0])


class Manifest(msgspec.Struct, frozen=True, array_like=True):
    """One version."""

    format: int
    nonce: bytes
    me: Past
    """This version; its name is empty, being made from the hash of all this."""
    shards: Annotated[tuple[Shard, ...], msgspec.Meta(max_length=MOST)] = ()
    delta: Annotated[tuple[Row, ...], msgspec.Meta(max_length=MOST)] = ()
    """What has changed since the shards were written, in the order of paths."""
    line: Annotated[tuple[Past, ...], msgspec.Meta(max_length=MOST)] = ()
    """The versions before it that are kept, oldest first."""


class Stretch(msgspec.Struct, frozen=True, array_like=True):
    """A shard's content."""

    rows: Annotated[tuple[Row, ...], msgspec.Meta(max_length=MOST)]
    salt: bytes = b""
    """Makes the name another one, where that of the same rows is about to be deleted."""


class View(NamedTuple):
    """The newest version as it was read."""

    head: Head
    token: str
    """For the compare-and-set."""
    manifest: Manifest


_manifest = msgspec.msgpack.Decoder(Manifest)
_stretch = msgspec.msgpack.Decoder(Stretch)
_keys = msgspec.msgpack.Decoder(Annotated[tuple[str, ...], msgspec.Meta(max_length=1 << 20)])
_encode = msgspec.msgpack.Encoder().encode


def pack(value: object) -> bytes:
    """A record as it is stored."""
    import zstandard

    return zstandard.ZstdCompressor(level=3, write_content_size=True).compress(_encode(value))


def unpack(raw: bytes) -> Manifest:
    """A manifest as `pack` made it."""
    return _manifest.decode(_opened(raw))


def _opened(raw: bytes) -> bytes:
    return expand(raw, min(SHARD_BYTES, LITTLE + RATIO * len(raw)))


class Versions:
    """The versions under one prefix."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self.store, self._clock = store, clock
        self._garbage: tuple[str, frozenset[str]] = ("", frozenset())

    # --- reading ---

    def look(self, token: str = "") -> View | None:
        """The newest version; None when it is still the one that `token` stands for. Raises `KeyError` where there is
        none at all."""
        found = self.store.read_changed("HEAD", token) if token else self.store.read("HEAD")
        if found is None:
            return None
        raw, newer = found
        try:
            head = msgspec.json.decode(raw, type=Head)
        except msgspec.MsgspecError as error:
            raise Damaged(f"{self.store.url}: HEAD cannot be read: {error}", hint="another prefix") from error
        if head.format != FORMAT:
            raise StoreError(
                f"{self.store.url} was written by another release of lofty (format {head.format})", hint="upgrade lofty"
            )
        return View(head, newer, self.manifest(head.version))

    def manifest(self, name: str) -> Manifest:
        """A version's manifest; its bytes must be what its name says."""
        raw = self._get(f"versions/{name}")
        if name.partition("-")[2] != digest(raw).hex()[:32]:
            raise Damaged(f"{self.store.url}: version {name} is damaged", hint="lofty history")
        return self._decode(_manifest, raw, f"version {name}")

    def shard(self, shard: Shard) -> tuple[Row, ...]:
        """The rows of a shard, checked."""
        raw = self._get(shard_key(shard.hash))
        if digest(raw) != shard.hash:
            raise Damaged(f"{self.store.url}: shard {shard.hash.hex()[:12]} is damaged", hint="lofty history")
        return self._decode(_stretch, raw, f"shard {shard.hash.hex()[:12]}").rows

    def _get(self, key: str) -> bytes:
        try:
            return self.store.get(key)
        except KeyError:
            raise Damaged(f"{self.store.url}: {key} is not there", hint="lofty history") from None

    def _decode(self, decoder: msgspec.msgpack.Decoder[T], raw: bytes, what: str) -> T:
        try:
            return decoder.decode(_opened(raw))
        except (msgspec.MsgspecError, Damaged, RecursionError) as error:
            raise Damaged(f"{self.store.url}: {what} cannot be read: {error}", hint="lofty history") from error

    def rows(self, manifest: Manifest, cache: dict[bytes, tuple[Row, ...]] | None = None) -> Iterator[Row]:
        """Every path of a version, checked, in order. A `cache` of shards saves requests where several versions are
        read."""
        for _, rows in self._stretches(manifest, manifest.shards, cache):
            for row in rows:
                check_row(row)
                yield row

    def changes(
        self, manifest: Manifest, old: Manifest | None, known: Callable[[Span], Iterable[Row]]
    ) -> dict[bytes, Row]:
        """Where a version differs from what is known, which is `old`: rows, without a file where the path is gone."""
        changed: dict[bytes, Row] = {}
        if old is not None and old.shards == manifest.shards and _covers(manifest.delta, old.delta):
            before = {row.path: row for row in old.delta}
            changed = {row.path: row for row in manifest.delta if before.get(row.path) != row}
        else:
            same = frozenset(old.shards) & frozenset(manifest.shards) if old is not None else frozenset()
            touched = [row.path for row in (*(old.delta if old else ()), *manifest.delta)]
            spans = dict(zip(manifest.shards, _spans(manifest.shards), strict=True))
            if not manifest.shards:
                spans = {Shard(b"", b"", 0): Span()}
            needed = [
                shard for shard, span in spans.items() if shard not in same or any(span.holds(path) for path in touched)
            ]
            for span, rows in self._stretches(manifest, needed if manifest.shards else ()):
                changed.update(_difference(rows, known(span)))
        for row in changed.values():
            check_row(row)
        return changed

    def _stretches(
        self, manifest: Manifest, shards: Iterable[Shard], cache: dict[bytes, tuple[Row, ...]] | None = None
    ) -> Iterator[tuple[Span, list[Row]]]:
        """Stretches of a version with what has changed since: those of the shards named, or the one without any."""
        if not manifest.shards:
            yield Span(), sorted((row for row in manifest.delta if row.file is not None), key=lambda row: row.path)
            return
        spans = dict(zip(manifest.shards, _spans(manifest.shards), strict=True))
        wanted = list(shards)
        cached = cache if cache is not None else {}

        def read(shard: Shard) -> tuple[Row, ...]:
            if shard.hash in cached:
                return cached[shard.hash]
            rows = self.shard(shard)
            if cache is not None:
                cache[shard.hash] = rows
            return rows

        for shard, rows in zip(wanted, _parallel(read, wanted), strict=True):
            span = spans[shard]
            merged = {row.path: row for row in rows if span.holds(row.path)}
            merged.update((row.path, row) for row in manifest.delta if span.holds(row.path))
            yield span, sorted((row for row in merged.values() if row.file is not None), key=lambda row: row.path)

    def garbage(self, head: Head) -> frozenset[str]:
        """Keys that are about to be deleted: a new version must not count on them."""
        if head.garbage and head.garbage != self._garbage[0]:
            raw = self._get(f"garbage/{head.garbage}")
            keys: tuple[str, ...] = self._decode(_keys, raw, "the list of garbage")
            self._garbage = head.garbage, frozenset(keys)
        return self._garbage[1] if head.garbage else frozenset()

    # --- writing ---

    def commit(self, changes: Mapping[bytes, Row], view: View | None, by: str) -> View:
        """Make the next version out of the one that was read and what has changed; `Stale` when another has become
        the newest meanwhile. All that the rows point at must be in the store already."""
        before = view.manifest if view is not None else None
        delta = {row.path: row for row in (before.delta if before else ())}
        delta.update(changes)
        shards = before.shards if before else ()
        if len(delta) > DELTA:
            shards, delta = self._fold(shards, delta, self.garbage(view.head) if view else frozenset()), {}
        now = self._clock()
        removed = sum(row.file is None for row in changes.values())
        manifest = Manifest(
            format=FORMAT,
            nonce=secrets.token_bytes(8),
            me=Past("", now, by, len(changes) - removed, removed),
            shards=shards,
            delta=tuple(delta[path] for path in sorted(delta)),
            line=thin((*before.line, named(before, view.head.version)), now) if before and view else (),
        )
        raw = pack(manifest)
        number = named(before, view.head.version).number + 1 if before and view else 1
        name = f"{number:010d}-{digest(raw).hex()[:32]}"
        self.store.put(f"versions/{name}", raw, durable=True)
        if view is None:
            head = Head(store=secrets.token_hex(8), version=name)
        else:
            head = msgspec.structs.replace(view.head, version=name)
        return View(head, self.swap(head, view.token if view else ""), manifest)

    def swap(self, head: Head, token: str) -> str:
        """Replace HEAD if it is still the one that was read; gives the new token."""
        raw = msgspec.json.encode(head)
        try:
            return self.store.swap("HEAD", raw, token) if token else self.store.create("HEAD", raw)
        except Stale:
            # An answer that was lost on its way makes the second try look like a lost race.
            try:
                now, newer = self.store.read("HEAD")
            except KeyError:
                raise Stale("HEAD is gone") from None
            if now == raw:
                return newer
            raise

    def _fold(
        self, shards: tuple[Shard, ...], delta: Mapping[bytes, Row], garbage: frozenset[str]
    ) -> tuple[Shard, ...]:
        """Move gathered rows into the shards where they belong; the others stay as they are."""
        firsts = [shard.first for shard in shards]
        by_shard: dict[int, dict[bytes, Row]] = {}
        for path, row in delta.items():
            by_shard.setdefault(max(0, bisect_right(firsts, path) - 1), {})[path] = row
        order = sorted(by_shard)
        old = dict(zip(order, _parallel(self.shard, [shards[i] for i in order]), strict=True)) if shards else {}
        result: list[Shard] = []
        jobs: list[tuple[Shard, bytes]] = []
        for index in range(max(1, len(shards))):
            if index not in by_shard:
                result.append(shards[index])
                continue
            rows = {row.path: row for row in old.get(index, ())}
            rows.update(by_shard[index])
            kept = [rows[path] for path in sorted(rows) if rows[path].file is not None]
            for piece in _pieces(kept):
                raw = pack(Stretch(tuple(piece)))
                if shard_key(digest(raw)) in garbage:
                    raw = pack(Stretch(tuple(piece), secrets.token_bytes(8)))
                made = Shard(piece[0].path, digest(raw), len(piece))
                jobs.append((made, raw))
                result.append(made)
        _parallel(lambda job: self.store.put(shard_key(job[0].hash), job[1], durable=True), jobs)
        if result and result[0].first:  # the first stretch begins at the beginning
            result[0] = msgspec.structs.replace(result[0], first=b"")
        return tuple(result)


def shard_key(name: bytes) -> str:
    """Where a shard lies."""
    return f"shards/{name.hex()}"


def named(manifest: Manifest, name: str) -> Past:
    """A version's own entry for the line."""
    return msgspec.structs.replace(manifest.me, name=name)


MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
KEPT = ((10 * MINUTE, 0.0), (HOUR, MINUTE), (DAY, 15 * MINUTE), (30 * DAY, DAY), (float("inf"), 7 * DAY))
"""(age, spacing) in seconds: versions younger than the age are kept that far apart; the youngest ones all."""
MOST_KEPT = 600


def thin(line: Iterable[Past], now: float) -> tuple[Past, ...]:
    """Which versions to keep: all of the last minutes, fewer and fewer of what is older, of each span the newest."""
    kept: list[Past] = []
    last: tuple[int, int] | None = None
    for past in sorted(line, key=lambda one: one.number, reverse=True):
        age = max(0.0, now - past.time)
        band, (_, spacing) = next((i, pair) for i, pair in enumerate(KEPT) if age < pair[0])
        slot = (band, int(past.time // spacing)) if spacing else None
        if slot is None or slot != last:
            kept.append(past)
        last = slot
    return tuple(reversed(kept[:MOST_KEPT]))


def _covers(newer: tuple[Row, ...], older: tuple[Row, ...]) -> bool:
    paths = {row.path for row in newer}
    return all(row.path in paths for row in older)


def _difference(rows: Iterable[Row], known: Iterable[Row]) -> Iterator[tuple[bytes, Row]]:
    before = {row.path: row for row in known}
    for row in rows:
        if not row.same(before.pop(row.path, None)):
            yield row.path, row
    for path in before:
        yield path, Row(path)


def _spans(shards: tuple[Shard, ...]) -> list[Span]:
    firsts = [shard.first for shard in shards]
    return [Span(first, until) for first, until in zip(firsts, [*firsts[1:], None], strict=False)]


def _pieces(rows: list[Row]) -> list[list[Row]]:
    if len(rows) <= 2 * SHARD:
        return [rows] if rows else []
    return [rows[start : start + SHARD] for start in range(0, len(rows), SHARD)]


J = TypeVar("J")


def _parallel(work: Callable[[J], T], jobs: list[J]) -> list[T]:
    if len(jobs) < 2:
        return [work(job) for job in jobs]
    with ThreadPoolExecutor(WORKERS, "lofty-list") as pool:
        return list(pool.map(work, jobs))
