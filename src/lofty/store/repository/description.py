"""What is said of a repository in the store, and the patterns that hold for it: decoding refuses everything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeVar

import msgspec
from blake3 import blake3
from msgspec import Meta

from ...errors import StoreError
from ..base import Store
from .git import Git

START = "git/start.json"
MACHINE = "git/machine.json"
LARGEST = 32 << 20
"""Bytes of a description: some 200,000 refs."""

REF = r"\A(?!.*(?:\.\.|@\{|\.lock(?:/|\Z)|\.\Z))refs(?:/(?!\.)[^\x00-\x20\x7f~^:?*\[\\/]+)+\Z"
"""A full name that git itself would take: none leads out of `refs/`."""
Ref = Annotated[str, Meta(pattern=REF, max_length=1000)]
Made = Annotated[str, Meta(pattern=REF.replace("refs(?:", "refs/(?:heads|tags|notes)(?:"), max_length=1000)]
"""The refs that come back from a machine."""
Oid = Annotated[str, Meta(pattern=r"\A(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")]
Part = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Format = Annotated[str, Meta(pattern=r"\Asha(?:1|256)\Z")]


class Pack(msgspec.Struct, frozen=True):
    """One pack: the names of its parts, in order, and what it was made to bring."""

    parts: tuple[Part, ...]
    tips: tuple[Oid, ...]


class Stash(msgspec.Struct, frozen=True):
    """One entry of `git stash list`."""

    oid: Oid
    message: str


class State(msgspec.Struct, frozen=True):
    """Everything in a repository that has a name."""

    head: Ref | None
    """The branch that HEAD is on; None when it is detached."""
    tip: Oid | None
    """The commit at HEAD; None when there is none yet."""
    refs: dict[Ref, Oid]
    links: dict[Ref, Ref]
    """Refs that point to refs, as `refs/remotes/origin/HEAD` does."""
    stash: tuple[Stash, ...]
    """Newest first."""

    def tips(self) -> set[str]:
        """Every object that is named."""
        return {*self.refs.values(), *(entry.oid for entry in self.stash), *([self.tip] if self.tip else [])}


class Settings(msgspec.Struct, frozen=True):
    """What is taken over of the person's configuration, which is all of it that is."""

    user: dict[str, str]
    """`name` and `email`."""
    core: dict[str, str]
    """`filemode`, `autocrlf` and `eol`: they decide what counts as modified."""
    remotes: dict[str, str]
    """Their addresses, without passwords and tokens."""
    upstreams: dict[str, tuple[str, str]]
    """A branch's remote and the ref there."""


class Start(msgspec.Struct, frozen=True):
    """A repository as it was at home."""

    format: Format
    shallow: tuple[Oid, ...]
    state: State
    settings: Settings
    exclude: str
    """Rules for ignored files that are not in a `.gitignore`."""
    index: tuple[Part, ...]
    """The index file; empty: it did not go along."""
    staged: str
    """The hash of what it lists: the file itself changes with every `git status`."""
    packs: tuple[Pack, ...]


class Returned(msgspec.Struct, frozen=True):
    """What has become of a repository on a machine."""

    start: str
    """The identity of the start that it grew from; empty: it was made on the machine."""
    base: tuple[Pack, ...]
    """The packs of that start: what they bring is not in `packs`."""
    format: Format
    head: Ref | None
    tip: Oid | None
    moved: dict[Made, Oid]
    """New and changed refs."""
    gone: tuple[Made, ...]
    stash: tuple[Stash, ...]
    """All of it, newest first."""
    stashed: tuple[Oid, ...]
    """Those entries that were made on the machine."""
    packs: tuple[Pack, ...]

    def tips(self) -> set[str]:
        """The objects that the machine has named."""
        return {*self.moved.values(), *self.stashed, *([self.tip] if self.tip else [])}


T = TypeVar("T")


def load(store: Store, key: str, kind: type[T]) -> tuple[T, str] | None:
    """A description and its identity, or None. `StoreError` when it is not one."""
    try:
        data = store.get(key)
    except KeyError:
        return None
    return decode(data, key, kind)


def decode(data: bytes, key: str, kind: type[T]) -> tuple[T, str]:
    """As `load`, from bytes."""
    try:
        return msgspec.json.decode(data, type=kind), blake3(data).hexdigest()
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise StoreError(f"{key} does not describe a repository: {error}") from error


def look(git: Git) -> tuple[State, list[str]]:
    """The present state, and names of refs that cannot be told in it (not UTF-8, or longer than 1000 letters)."""
    refs: dict[str, str] = {}
    links: dict[str, str] = {}
    odd = []
    for line in git.lines("for-each-ref", "--format=%(objectname) %(refname) %(symref)"):
        oid, name, target = line.split(" ")
        if name.startswith(("refs/bisect/", "refs/worktree/", "refs/rewritten/")) or name == "refs/stash":
            continue  # one worktree's own, or told below
        if not _is(name, Ref) or (target and not _is(target, Ref)):
            odd.append(name.encode(errors="replace").decode())
        elif target:
            links[name] = target
        else:
            refs[name] = oid
    head = "".join(git.lines("symbolic-ref", "-q", "HEAD", fine=(0, 1))) or None
    if head is not None and not _is(head, Ref):
        odd.append(head.encode(errors="replace").decode())
        head = None
    tip = "".join(git.lines("rev-parse", "-q", "--verify", "HEAD", fine=(0, 1))) or None
    if head is not None:
        tip = refs.get(head)  # of the one moment in which the refs were listed
    return State(head, tip, refs, links, _stash(git)), odd


def _stash(git: Git) -> tuple[Stash, ...]:
    if not git("rev-parse", "-q", "--verify", "refs/stash", fine=(0, 1)):
        return ()
    form = ("--no-show-signature", "--encoding=UTF-8", "-z", "--format=%H %gs")
    entries = git("log", "-g", *form, "refs/stash", "--").decode(errors="replace").rstrip("\0").split("\0")
    found = (entry.partition(" ") for entry in entries if entry)
    return tuple(Stash(oid, message.replace("\n", " ")) for oid, _, message in found)


def _is(value: str, kind: object) -> bool:
    try:
        value.encode()
        msgspec.convert(value, kind)
    except (msgspec.ValidationError, UnicodeEncodeError):
        return False
    return True


def combined(start: Start | None, back: Returned | None) -> State:
    """The state to set up: as sent, and what a former machine made of it."""
    state = start.state if start else State(None, None, {}, {}, ())
    if back is None:
        return state
    refs: Mapping[str, str] = {name: oid for name, oid in state.refs.items() if name not in back.gone} | back.moved
    return State(back.head, back.tip, dict(refs), state.links, back.stash)
