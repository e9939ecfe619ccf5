"""Histories as packs in the store: what is new to those that are there, in parts named by their hash."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain

from blake3 import blake3

from ...errors import StoreError
from ..base import Store
from .description import Pack
from .git import Git, kinds

PART = 8 << 20
"""Bytes of a part."""
LIMIT = 2 << 30
"""Bytes of all packs of a repository."""
MOST_PACKS = 64
"""Then they become one again."""


class TooLarge(StoreError):
    """A history is over the limit."""


def extend(
    git: Git,
    store: Store,
    folder: str,
    former: tuple[Pack, ...],
    tips: set[str],
    known: set[str],
    *,
    staged: str | None = None,
) -> tuple[Pack, ...]:
    """The former packs and one more, so that all tips are in them or `known` on the other side.

    `staged`: with the objects of git's index, which grew from this commit; empty: from none. `TooLarge` over the
    limit; `GitError` when objects are missing.
    """
    there = {oid for pack in former for oid in pack.tips}
    have = set(kinds(git, there | known))
    if not there & have or len(former) >= MOST_PACKS:
        former, there = (), set()
    words = ["pack-objects", "-q", "--revs", "--thin", "--delta-base-offset", "--stdout"]
    wanted = [*sorted(tips), *(f"^{oid}" for oid in sorted((there | known) & have))]
    if staged is not None:
        words.append("--indexed-objects")
    if staged:
        # git leaves out what an excluded commit has only where a wanted one borders on it: this one does.
        wanted += git.lines("commit-tree", "-m", "what is staged", "-p", staged, f"{staged}^{{tree}}")
    feed = "".join(f"{word}\n" for word in wanted).encode()
    room = LIMIT // PART - sum(len(pack.parts) for pack in former)
    try:
        with closing(git.draw(*words, feed=feed, size=PART)) as pieces:
            parts = _write_pack(store, folder, pieces, room, spare=1 if staged else 0)
    except TooLarge:
        if not former:
            raise
        return extend(git, store, folder, (), tips, known, staged=staged)
    return (*former, Pack(parts, tuple(sorted(tips - there)))) if parts else former


def _write_pack(store: Store, folder: str, pieces: Iterator[bytes], room: int, spare: int) -> tuple[str, ...]:
    """The parts of a pack; none when it has no more than so many objects to spare."""
    first = next(pieces, b"")
    if int.from_bytes(first[8:12]) <= spare:
        for _ in pieces:
            continue  # to the end: only then does git say whether it failed
        return ()
    return write(store, folder, chain([first], pieces), room)


def write(store: Store, folder: str, pieces: Iterable[bytes], room: int) -> tuple[str, ...]:
    """Put pieces as parts, and give their names. `room`: how many there may be."""
    names: list[str] = []
    for piece in pieces:
        if len(names) >= room:
            raise TooLarge(f"its history is larger than {LIMIT >> 30} GiB")
        names.append(blake3(piece).hexdigest())
        store.put(f"{folder}/{names[-1]}", piece)
    return tuple(names)


def read(store: Store, folder: str, names: Iterable[str]) -> Iterator[bytes]:
    """The parts again, each verified. `StoreError` when one is damaged or gone."""
    for name in names:
        key = f"{folder}/{name}"
        try:
            piece = store.get(key)
        except KeyError as error:
            raise StoreError(f"{key} is missing: it was replaced meanwhile, or is lost", retry_after=1.0) from error
        if blake3(piece).hexdigest() != name:
            raise StoreError(f"{key} is damaged: its content is not what its name says")
        yield piece


def unpack(git: Git, store: Store, folder: str, packs: Iterable[Pack], *, strict: bool) -> None:
    """Put packs among the objects. `strict`: git's fsck looks at each object, and refuses what could harm."""
    words = ["index-pack", "--stdin", "--fix-thin", f"--max-input-size={LIMIT}", *(["--strict"] if strict else [])]
    for pack in packs:
        git.pour(*words, pieces=read(store, folder, pack.parts))


def sweep(store: Store, folder: str, used: Iterable[Pack], beside: Iterable[str] = ()) -> None:
    """Remove the parts that no description names any more."""
    names = {*beside, *(name for pack in used for name in pack.parts)}
    store.delete([entry.key for entry in store.entries(folder) if entry.key.rsplit("/", 1)[-1] not in names])
