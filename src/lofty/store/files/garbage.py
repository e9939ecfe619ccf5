"""Deletes what no kept version needs, never while somebody could still need it.

First a list of such objects is published through HEAD, so that every later version avoids them: who would send one of
them again gives it another name. Only an hour later, by the store's own clock, they are deleted; a reader that had
begun with an older version had that hour. A kill in between leaves the list, and the next one goes on.
"""

from __future__ import annotations

import secrets
from contextlib import suppress

import msgspec

from ...errors import Damaged, Stale
from ..base import Store
from .pack import key_of
from .version import Manifest, Versions, View, named, pack, shard_key

GRACE = 3600.0
"""Seconds between being listed and being deleted, and how old an object has to be to be listed at all: a version that
is being written is not known to anybody yet."""


def collect(versions: Versions, *, grace: float = GRACE) -> int:
    """List or delete what is not needed; gives how many objects were deleted."""
    store = versions.store
    try:
        view = versions.look()
    except KeyError:
        return 0
    assert view is not None
    now = _now(store)
    if view.head.garbage:
        return _sweep(versions, view, now - grace)
    keys = _unneeded(versions, view, now - grace)
    if keys:
        name = secrets.token_hex(8)
        store.put(f"garbage/{name}", pack(tuple(keys)), durable=True)
        with suppress(Stale):  # somebody published meanwhile: another time
            versions.swap(msgspec.structs.replace(view.head, garbage=name), view.token)
    return 0


def _now(store: Store) -> float:
    """The store's own time: clocks of computers differ."""
    store.put("garbage/now", b"")
    return next(entry.modified for entry in store.entries("garbage/") if entry.key == "garbage/now")


def _sweep(versions: Versions, view: View, before: float) -> int:
    store, key = versions.store, f"garbage/{view.head.garbage}"
    written = next((entry.modified for entry in store.entries("garbage/") if entry.key == key), None)
    if written is not None and written > before:
        return 0
    keys = sorted(versions.garbage(view.head)) if written is not None else []
    store.delete(keys)
    while True:
        try:
            # The count keeps a HEAD that is as before from being the one that was read before.
            versions.swap(msgspec.structs.replace(view.head, garbage="", sweeps=view.head.sweeps + 1), view.token)
        except Stale:
            newer = versions.look()
            if newer is None or newer.head.garbage != view.head.garbage:
                break
            view = newer
        else:
            break
    store.delete([key])
    return len(keys)


def _unneeded(versions: Versions, view: View, before: float) -> list[str]:
    needed = {"HEAD"}
    shards: set[bytes] = set()
    for past in (*view.manifest.line, named(view.manifest, view.head.version)):
        needed.add(f"versions/{past.name}")
        try:
            manifest = view.manifest if past.name == view.head.version else versions.manifest(past.name)
        except Damaged:
            continue  # nothing can be told of it, and nothing of it can be restored
        needed |= _needed_by(versions, manifest, shards)
    own = ("versions/", "shards/", "packs/", "garbage/")
    return [
        entry.key
        for entry in versions.store.entries()
        if entry.key.startswith(own) and entry.key not in needed and entry.modified < before
    ]


def _needed_by(versions: Versions, manifest: Manifest, seen: set[bytes]) -> set[str]:
    rows = list(manifest.delta)
    keys = set()
    for shard in manifest.shards:
        keys.add(shard_key(shard.hash))
        if shard.hash not in seen:
            seen.add(shard.hash)
            with suppress(Damaged):
                rows += versions.shard(shard)
    return keys | {key_of(place.pack) for row in rows for place in row.places}
