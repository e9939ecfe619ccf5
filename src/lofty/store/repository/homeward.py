"""The way back: what was committed on a machine, into the store and from there beside the person's own branches.

What comes from a machine is not to be trusted: its description is decoded against patterns, its packs are unpacked
into a quarantine where git's fsck sees every object, and only a history without gaps gets its names, all or none.
"""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from ...errors import StoreError
from ..base import Store
from . import packs
from .description import LARGEST, MACHINE, REF, Pack, Returned, Start, State, decode, load, look
from .git import LONG, Git, GitError, Repository, kinds, scratch
from .outward import ORIGIN, UNFINISHED
from .outward import PACKS as BASE

PACKS = "git/machine"
MOST_REFS = 50_000
_MADE = ("refs/heads/", "refs/tags/", "refs/notes/")
_MOMENT = 2.0
"""Seconds within which a file's time does not tell whether it changed once more."""


def send_back(root: Path, store: Store) -> bool:
    """On the machine, once: what `Sender.send` does."""
    return Sender(root, store).send()


class Sender:
    """Sends what is committed on the machine, as often as it is asked."""

    def __init__(self, root: Path, store: Store) -> None:
        self._root, self._store = root, store
        self._seen: object = None

    def send(self) -> bool:
        """Put new commits, branches, tags, notes and stash entries into the store; whether there were any.

        Cheap while nothing happens: it starts no process unless a file's time has changed where refs are kept.
        `GitError` when git fails, `StoreError` when it is too much (2 GiB, 50,000 refs) or cannot be stored.
        A branch whose history reaches to where the machine itself has fetched only a shallow part is left out.
        """
        folder = self._root / ".git"
        if not folder.exists() or (folder / UNFINISHED).exists():
            return False
        stamp, newest = _stamp(folder)
        if stamp == self._seen:
            return False
        sent = _send(self._root, self._store)
        self._seen = stamp if newest < time.time() - _MOMENT else None
        return sent


def _stamp(folder: Path) -> tuple[object, float]:
    """Something that differs after any change of a ref, and when the last one was.

    A ref is written beside and moved into place, which its folder's time tells: the folders are enough.
    """
    paths = [folder / "HEAD", folder / "packed-refs", folder / "logs" / "refs"]
    paths += [Path(where) for where, _, _ in os.walk(folder / "refs")]
    times = []
    for path in paths:
        with suppress(OSError):
            times.append((str(path), path.stat().st_mtime_ns))
    return times, max((moment for _, moment in times), default=0) / 1e9


def _send(root: Path, store: Store) -> bool:
    here = Repository.of(Git(root, (root / ".git").resolve()))
    start, identity = _origin(here)
    last = load(store, MACHINE, Returned)
    former = last[0] if last and last[0].start == identity and last[0].format == here.format else None
    base = start.state if start else State(None, None, {}, {}, ())
    state, _ = look(here.git)
    known = base.tips()
    with scratch(here) as aside:
        moved = {name: oid for name, oid in state.refs.items() if name.startswith(_MADE) and base.refs.get(name) != oid}
        broken = _cut_off(here, aside, start, {*moved.values(), *([state.tip] if state.tip else [])}, known)
        moved = {name: oid for name, oid in moved.items() if name not in broken}
        if len(moved) > MOST_REFS:
            raise StoreError(f"more than {MOST_REFS:,} branches and tags are new on the machine: they cannot come back")
        back = Returned(
            start=identity,
            base=start.packs if start else (),
            format=here.format,
            head=base.head if "HEAD" in broken else state.head,
            tip=base.tip if "HEAD" in broken else state.tip,
            moved=moved,
            gone=tuple(name for name in base.refs if name.startswith(_MADE) and name not in state.refs),
            stash=state.stash,
            stashed=tuple(entry.oid for entry in state.stash if entry not in base.stash),
            packs=former.packs if former else (),
        )
        if back == former or (former is None and _nothing(back, base)):
            return False
        chain = packs.extend(aside.git, store, PACKS, back.packs, back.tips(), known)
    store.put(MACHINE, msgspec.json.encode(msgspec.structs.replace(back, packs=chain)))
    packs.sweep(store, PACKS, chain)
    return True


def _origin(here: Repository) -> tuple[Start | None, str]:
    try:
        return decode((here.folder / ORIGIN).read_bytes(), ORIGIN, Start)
    except FileNotFoundError:
        return None, ""  # made on the machine


def _nothing(back: Returned, base: State) -> bool:
    return not (back.moved or back.gone) and (back.head, back.tip, back.stash) == (base.head, base.tip, base.stash)


def _cut_off(here: Repository, aside: Repository, start: Start | None, tips: set[str], known: set[str]) -> set[str]:
    """Names of refs, and HEAD, whose new commits end where the machine fetched no further: home would lack the rest."""
    boundary = set(here.boundary()) - set(start.shallow if start else ())
    if not boundary or not start or not tips:
        return set()
    there = kinds(aside.git, known)
    feed = "".join(f"{word}\n" for word in (*sorted(tips), *(f"^{oid}" for oid in there))).encode()
    ends = boundary.intersection(aside.git.lines("rev-list", "--stdin", feed=feed))
    if not ends:
        return set()
    words = [word for oid in sorted(ends) for word in ("--contains", oid)]
    names = set(here.git.lines("for-each-ref", "--format=%(refname)", *words, "refs/heads", "refs/tags"))
    head = "".join(here.git.lines("symbolic-ref", "-q", "HEAD", fine=(0, 1)))
    return names | ({"HEAD"} if not head or head in names else set())


def fetch_back(store: Store, root: Path, name: str) -> list[str]:
    """At home: a machine's commits under `refs/lofty/NAME/`; the refs there that are new or have moved.

    `heads/…`, `tags/…` and `notes/…` as they are called there, `HEAD` what it has checked out, and `stash/…` for each
    entry that was stashed there. A ref that moves keeps a reflog; none is ever removed: one that stands in the way of
    a new one (`a` and `a/b`) goes under `old/`. Neither branches, tags, HEAD, FETCH_HEAD, the index, settings nor
    files are touched.

    `StoreError` when what the machine sent is damaged, hostile or incomplete: nothing has changed then. It has a
    `retry_after` when the machine may just have replaced it.
    """
    back = _checked(store)
    if back is None:
        return []
    prefix = f"refs/lofty/{name}/"
    if "/" in name or not re.search(REF, f"{prefix}HEAD"):
        raise StoreError(f"'{name}' cannot be part of a git ref's name")
    if not os.path.lexists(root / ".git"):
        hint = "git init, and the same command again"
        raise StoreError("there are commits from the machine, but no git repository here", hint=hint)
    home = Repository.of(Git(root))
    if back.format != home.format:
        raise StoreError(f"the machine's commits are named by {back.format}, those here by {home.format}")
    listed = home.git.lines("for-each-ref", "--format=%(refname) %(objectname)", prefix)
    have = dict(line.split(" ", 1) for line in listed)
    new = {ref: oid for ref, oid in _names(back, prefix).items() if have.get(ref) != oid}
    for ref in new:
        if any(folder in new for folder in _folders(ref)) or max(map(len, ref.encode().split(b"/"))) > 240:
            raise StoreError(f"the machine sent a ref that cannot be: {ref!r}")
    if new:
        _bring(store, home, back)
        _write_names(home.git, prefix, have, new)
    return sorted(new)


def _checked(store: Store) -> Returned | None:
    """The machine's description and its parts, as far as sizes go: before a byte of them is read."""
    sizes = {entry.key: entry.size for entry in store.entries("git")}
    if MACHINE not in sizes:
        return None
    if sizes[MACHINE] > LARGEST:
        raise StoreError(f"{MACHINE} is too large: {sizes[MACHINE]:,} bytes")
    back, _ = decode(store.get(MACHINE), MACHINE, Returned)
    if len(back.moved) + len(back.stashed) > MOST_REFS:
        raise StoreError(f"{MACHINE} names more than {MOST_REFS:,} refs")
    for folder, sent in ((PACKS, back.packs), (BASE, back.base)):
        parts = [sizes.get(f"{folder}/{part}", 0) for pack in sent for part in pack.parts]
        if sum(parts) > packs.LIMIT or max(parts, default=0) > packs.PART:
            raise StoreError(f"what the machine sent is larger than {packs.LIMIT >> 30} GiB, or than its parts may be")
    return back


def _names(back: Returned, prefix: str) -> dict[str, str]:
    names = {prefix + ref.removeprefix("refs/"): oid for ref, oid in back.moved.items()}
    names |= {f"{prefix}stash/{oid[:16]}": oid for oid in back.stashed}
    return names | ({f"{prefix}HEAD": back.tip} if back.tip else {})


def _bring(store: Store, home: Repository, back: Returned) -> None:
    """The objects, through a quarantine. First only what is new here; if that leaves gaps, everything there is."""
    try:
        _try(store, home, back, ())
    except GitError as error:
        try:
            # Gone are commits of one's own that the machine built upon: the store has them still.
            _try(store, home, back, back.base)
        except StoreError:
            text = f"what the machine committed cannot be taken over: {error}"
            raise StoreError(text, hint="it stays in the store, and nothing has changed here") from error


def _try(store: Store, home: Repository, back: Returned, base: tuple[Pack, ...]) -> None:
    with scratch(home, beside=home.objects) as aside:
        tips = {oid for pack in back.packs for oid in pack.tips} | back.tips()
        here = set() if base else set(kinds(aside.git, tips))
        packs.unpack(aside.git, store, BASE, base, strict=True)
        packs.unpack(aside.git, store, PACKS, (pack for pack in back.packs if set(pack.tips) - here), strict=True)
        _complete(home, aside, back)
        for kind in (".pack", ".rev", ".idx"):  # git takes a pack for whole as soon as its .idx is there
            for path in sorted((aside.objects / "pack").glob(f"pack-*{kind}")):
                target = home.objects / "pack" / path.name
                if not target.exists():
                    path.replace(target)


def _complete(home: Repository, aside: Repository, back: Returned) -> None:
    """`GitError` unless everything named is there with all it reaches, and of the kind that its name promises."""
    found = kinds(aside.git, back.tips())
    commits = {oid for ref, oid in back.moved.items() if not ref.startswith("refs/tags/")} | {*back.stashed}
    for oid in commits | ({back.tip} if back.tip else set()):
        if found.get(oid) != "commit":
            raise GitError(f"{oid} is {found.get(oid, 'missing')}, not a commit")
    own = kinds(aside.git, home.git.lines("for-each-ref", "--format=%(objectname)"))
    feed = "".join(f"{word}\n" for word in (*sorted(back.tips()), *(f"^{oid}" for oid in own))).encode()
    aside.git("rev-list", "--objects", "--quiet", "--stdin", feed=feed, limit=LONG)


def _write_names(git: Git, prefix: str, have: dict[str, str], new: dict[str, str]) -> None:
    """All refs or none."""
    none = "0" * len(next(iter(new.values())))
    above = {folder for ref in new for folder in _folders(ref)}
    stale = {ref: oid for ref, oid in have.items() if ref in above or not new.keys().isdisjoint(_folders(ref))}
    if stale:
        kept = {f"{prefix}old/{oid[:16]}": oid for oid in stale.values()}
        _transaction(git, [f"update {ref}\0{oid}\0\0" for ref, oid in kept.items()])
        _transaction(git, [f"delete {ref}\0{oid}\0" for ref, oid in stale.items()])
    _transaction(git, [f"update {ref}\0{oid}\0{have.get(ref, none)}\0" for ref, oid in new.items()])


def _transaction(git: Git, commands: list[str]) -> None:
    words = ("update-ref", "--create-reflog", "-m", "lofty: from the machine", "--no-deref", "--stdin", "-z")
    git(*words, feed="".join(commands).encode())


def _folders(ref: str) -> list[str]:
    parts = ref.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]
