"""The way out: a repository into the store, and from there onto a machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec
from blake3 import blake3

from ...errors import StoreError
from ..base import Store
from . import packs
from .description import MACHINE, START, Returned, Start, combined, load, look
from .git import Git, GitError, Repository, kinds, scratch
from .settings import as_text, rules, settings

PACKS = "git/start"
LARGEST_INDEX = 64 << 20
"""Bytes."""
UNFINISHED = "lofty-unfinished"
"""A file in a `.git` that is being made: the next try begins anew."""
ORIGIN = "lofty-start.json"
"""In a machine's `.git`: the start it grew from, which the one in the store may no longer be."""
_UNDERWAY = {
    "MERGE_HEAD": "merge",
    "rebase-merge": "rebase",
    "rebase-apply": "rebase",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
    "BISECT_LOG": "bisect",
}


class Sent(NamedTuple):
    """What became of a repository."""

    there: bool
    """The store holds one for the machine."""
    notes: tuple[str, ...]
    """What the person should know: what stays behind, and why."""


def send(root: Path, store: Store) -> Sent | None:
    """Put the repository of a directory into the store, as far as it is not there yet; None when there is none.

    Everything with a name goes along: all refs, HEAD, the stash, the index with what is staged, the few settings of
    `Settings`. What is not carried is said in the notes. Nothing is written into the person's repository.

    Commits of a machine that are not fetched yet would be forgotten by a new start: then the former one stays, with a
    note, and a new machine begins where the last one ended. Errors: the store's.
    """
    if not os.path.lexists(root / ".git"):
        above = next((folder for folder in root.resolve().parents if (folder / ".git").exists()), None)
        note = f"the git repository stays here: it is that of {above}, and only a part of it was asked for"
        return Sent(there=False, notes=(note,)) if above else None
    try:
        return _send(Repository.of(Git(root)), store)
    except GitError as error:
        return Sent(there=False, notes=(f"the git repository stays here: {error}",))
    except packs.TooLarge as error:
        return Sent(there=False, notes=(f"the git repository stays here: {error}",))


def _send(home: Repository, store: Store) -> Sent:
    former, back = load(store, START, Start), load(store, MACHINE, Returned)
    if former and back and back[0].start == former[1]:
        with scratch(home) as aside:
            if back[0].tips() - set(kinds(aside.git, back[0].tips())):
                note = "git on the machine goes on where it was: commits made there have not been fetched yet"
                return Sent(there=True, notes=(note,))
    # Whoever commits, or collects garbage, meanwhile can pull an object away: then all is looked at anew. An index
    # whose objects are gone is no reason to leave the history behind.
    for last, index in enumerate((True, True, False)):
        try:
            start, notes = _pack(home, store, former[0] if former else None, index=index)
            break
        except GitError:
            if last == 2:
                raise
    if former is None or start != former[0]:
        store.put(START, msgspec.json.encode(start))
    packs.sweep(store, PACKS, (*start.packs, *(back[0].base if back else ())), start.index)
    return Sent(there=True, notes=tuple(notes))


def _pack(home: Repository, store: Store, former: Start | None, *, index: bool) -> tuple[Start, list[str]]:
    """Everything but the description into the store."""
    state, odd = look(home.git)
    boundary = tuple(home.boundary())
    notes = [f"refs whose names cannot be carried stay here: {', '.join(odd[:3])}"] if odd else []
    with scratch(home) as aside:
        content = _index(home, aside) if index else None
        if content is None and home.staged.exists():
            notes.append("what is staged will show as not staged on the machine: git's index could not go along")
        notes += _left_behind(home, aside)
        listed = blake3(aside.git("ls-files", "-s", "-z")).hexdigest() if content else ""
        same = former and former.shallow == boundary and former.format == home.format
        kept = former.packs if former and same else ()
        if not (former and same and former.state == state and former.staged == listed):
            grown = state.tip or "" if content else None
            kept = packs.extend(aside.git, store, PACKS, kept, state.tips(), set(), staged=grown)
    pieces = [content[at : at + packs.PART] for at in range(0, len(content), packs.PART)] if content else []
    names = packs.write(store, PACKS, pieces, len(pieces))
    start = Start(home.format, boundary, state, settings(home.git), rules(home), names, listed, kept)
    return start, notes


def _index(home: Repository, aside: Repository) -> bytes | None:
    """The index as one file that means the same elsewhere; None when there is none, or not one that can go along."""
    try:
        if home.staged.stat().st_size > LARGEST_INDEX:
            return None
        # git replaces it whole, so a copy is consistent; a split one has its other half beside it.
        shutil.copy(home.staged, aside.staged)
        for half in home.staged.parent.glob("sharedindex.*"):
            shutil.copy(half, aside.folder)
        aside.git("update-index", "--no-split-index", "--no-untracked-cache", "--no-fsmonitor")
        return aside.staged.read_bytes()
    except (OSError, GitError):
        aside.staged.unlink(missing_ok=True)
        return None


def _left_behind(home: Repository, aside: Repository) -> Iterator[str]:
    for name, what in _UNDERWAY.items():
        if (home.folder / name).exists():
            yield f"a {what} is under way: its files go along, but it can be continued only here"
    if (home.git.folder / ".gitmodules").exists():
        yield "submodules go along as plain files, without their repositories"
    if aside.staged.exists():
        with suppress(GitError):
            where = (":(glob)**/.gitattributes",)
            if aside.git("grep", "--cached", "-l", "-E", "filter=lfs", "--", *where, fine=(0, 1)):
                yield "Git LFS is not carried: without git-lfs on the machine, its files show there as modified"


def receive(store: Store, root: Path) -> bool:
    """Make `.git` in a directory whose files are there already; whether it was made. Not a file beside it is touched.

    Then `git status`, `diff`, `log` and `stash list` say what they said at home. When a machine before this one has
    sent commits, its branches, HEAD and stash are set up instead, and what it had staged shows as not staged.

    Does nothing when `.git` is there, or nothing was sent. No hook is taken over and no setting beyond `Settings`.
    `StoreError` when parts are missing or damaged, `GitError` (one of them) when git is missing or fails; then there
    is no `.git`.
    """
    folder = root / ".git"
    if os.path.lexists(folder) and not (folder / UNFINISHED).exists():
        return False
    found, last = load(store, START, Start), load(store, MACHINE, Returned)
    back = last[0] if last and last[0].start == (found[1] if found else "") else None
    start = found[0] if found else None
    if not (start or back):
        return False
    shutil.rmtree(folder, ignore_errors=True)
    try:
        root.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
        (folder / UNFINISHED).touch()
        _set_up(store, root, start, back)
        if start:
            (folder / ORIGIN).write_bytes(msgspec.json.encode(start))
        (folder / UNFINISHED).unlink()
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise StoreError(f"the git repository could not be written: {error}") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return True


def _set_up(store: Store, root: Path, start: Start | None, back: Returned | None) -> None:
    folder = root / ".git"
    kind = start.format if start else back.format if back else "sha1"
    Git(root)("init", "-q", "--template=", f"--object-format={kind}", str(root))
    git = Git(root, folder.resolve())  # named, not found: a root that belongs to somebody else is no hindrance
    if start and start.shallow:
        (folder / "shallow").write_text("".join(f"{oid}\n" for oid in start.shallow))
    packs.unpack(git, store, PACKS, start.packs if start else (), strict=False)
    packs.unpack(git, store, "git/machine", back.packs if back else (), strict=False)

    state = combined(start, back)
    # Thousands of refs in one file, in the form that git's own first pack-refs had.
    (folder / "packed-refs").write_text("".join(f"{oid} {name}\n" for name, oid in sorted(state.refs.items())))
    git("pack-refs", "--all")
    for name, target in state.links.items():
        git("symbolic-ref", name, target)
    if state.head:
        git("symbolic-ref", "HEAD", state.head)
    elif state.tip:
        git("update-ref", "--no-deref", "HEAD", state.tip)
    for entry in reversed(state.stash):
        git("update-ref", "--create-reflog", "-m", entry.message, "refs/stash", entry.oid)

    if start:
        with (folder / "config").open("a") as config:
            config.write(as_text(start.settings))
        (folder / "info").mkdir(exist_ok=True)
        (folder / "info" / "exclude").write_text(start.exclude)
    if start and start.index and not back:
        (folder / "index").write_bytes(b"".join(packs.read(store, PACKS, start.index)))
    elif state.tip:
        git("read-tree", state.tip)
