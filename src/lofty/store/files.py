"""A directory into the store and back: one object per distinct content, one manifest per version, and a HEAD that
names the newest. Written in the order contents, manifest, HEAD, so that a kill at any moment leaves the old view."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from fnmatch import fnmatch
from itertools import count
from pathlib import Path, PurePosixPath

import msgspec

from ..errors import StoreError
from .base import Store

ALWAYS_LEFT_OUT = (
    ".git", ".venv", "venv", "node_modules", "__pycache__", "*.pyc", ".ipynb_checkpoints", ".DS_Store",
    ".env", ".env.*", "*.pem", "id_rsa*", "id_ed25519*", ".terraform", "*.tfstate", "*.tfstate.*",
)  # fmt: skip
"""What can be made again, and what looks like a secret."""


class File(msgspec.Struct, frozen=True, omit_defaults=True):
    """One path of a version."""

    hash: str = ""
    size: int = 0
    executable: bool = False
    link: str = ""
    """Target, where the path is a symbolic link."""


class Manifest(msgspec.Struct, frozen=True):
    """One version of the directory: POSIX paths below it."""

    files: dict[str, File]


class Head(msgspec.Struct, frozen=True):
    """Which version is the newest."""

    version: int


class Report(msgspec.Struct):
    """What a transfer did."""

    written: int = 0
    bytes: int = 0
    kept: list[str] = []
    """Paths that both sides had changed: the other side's file was written beside under this name."""
    skipped: list[str] = []
    """What could not be read."""


def push(root: Path, store: Store, exclude: Sequence[str] = ()) -> Report:
    """Make the directory the newest version in the store."""
    report = Report()
    files: dict[str, File] = {}
    have = {entry.key.rsplit("/", 1)[-1] for entry in store.entries("files/objects")}
    for path, name in _walk(root, root, "", (*ALWAYS_LEFT_OUT, *exclude), report.skipped):
        try:
            name.encode()  # JSON has no word for bytes that are no text
            files[name] = _push_one(path, store, have, report)
        except (OSError, UnicodeEncodeError):
            report.skipped.append(ascii(name).strip("'"))
    version, token = _head(store)
    store.put(f"files/manifests/{version + 1:08d}", msgspec.json.encode(Manifest(files)))
    head = msgspec.json.encode(Head(version + 1))
    if token:
        store.swap("files/HEAD", head, token)
    else:
        store.create("files/HEAD", head)
    return report


def _push_one(path: Path, store: Store, have: set[str], report: Report) -> File:
    if path.is_symlink():
        return File(link=str(path.readlink()))
    data = path.read_bytes()
    digest = hashlib.blake2b(data, digest_size=20).hexdigest()
    if digest not in have:
        store.put(f"files/objects/{digest}", data)
        have.add(digest)
        report.written += 1
        report.bytes += len(data)
    return File(digest, len(data), bool(path.stat().st_mode & stat.S_IXUSR))


def _walk(
    root: Path, folder: Path, prefix: str, exclude: Iterable[str], skipped: list[str]
) -> Iterator[tuple[Path, str]]:
    try:
        entries = sorted(os.scandir(folder), key=lambda one: one.name)
    except OSError:
        skipped.append(prefix)
        return
    for entry in entries:
        name, path = f"{prefix}{entry.name}", Path(entry.path)
        if any(fnmatch(entry.name, glob) or fnmatch(name, glob) for glob in exclude):
            continue
        if entry.is_symlink():
            if _stays(root, path.parent, str(path.readlink())):
                yield path, name
        elif entry.is_dir():
            yield from _walk(root, path, f"{name}/", exclude, skipped)
        elif entry.is_file():
            yield path, name


def _stays(root: Path, folder: Path, link: str) -> bool:
    """Whether a link in a folder can only lead to places below the root, whatever other links there will be: it is
    relative, and goes up only where it begins."""
    parts = PurePosixPath(link).parts
    ups = next((i for i, part in enumerate(parts) if part != ".."), len(parts))
    real = os.path.realpath(folder)
    inside = Path(os.path.normpath(f"{real}/{link}")).is_relative_to(os.path.realpath(root))
    return bool(parts) and not link.startswith("/") and ".." not in parts[ups:] and inside


def manifest(store: Store, version: int | None = None) -> Manifest | None:
    """A version's list of files; the newest unless named; None where there is none."""
    try:
        number = version if version is not None else msgspec.json.decode(store.get("files/HEAD"), type=Head).version
        return msgspec.json.decode(store.get(f"files/manifests/{number:08d}"), type=Manifest)
    except KeyError:
        return None
    except msgspec.MsgspecError as error:
        raise StoreError(f"{store.url}: the list of files cannot be read: {error}") from error


def newest(store: Store) -> int:
    """The number of the newest version; 0 where there is none."""
    return _head(store)[0]


def pull(store: Store, root: Path, base: Manifest | None, suffix: str = "from-the-machine") -> Report:
    """Write the newest version into a directory. With `base`, the version both sides began with, a file that was
    changed here is kept, and the other side's version written beside it; nothing is ever deleted here."""
    theirs = manifest(store)
    report = Report()
    if theirs is None:
        return report
    root.mkdir(parents=True, exist_ok=True)
    for name in theirs.files:
        check_path(name)
    for name, file in theirs.files.items():
        before = base.files.get(name) if base else None
        if base is not None and file == before:
            continue
        target = root / name
        here = _describe(target)
        if here == file:
            continue
        if base is not None and here not in (None, before):
            target = _beside(target, suffix, file)
            report.kept.append(str(target.relative_to(root)))
        _write(store, root, target, file)
        report.written += 1
        report.bytes += file.size
    return report


def _beside(target: Path, suffix: str, file: File) -> Path:
    """A name near the target that is free, or holds that very file already."""
    for number in count(1):
        tag = f"{suffix}-{number}" if number > 1 else suffix
        found = target.with_name(f"{target.stem}.{tag}{target.suffix}")
        if _describe(found) in (None, file):
            return found
    raise AssertionError("unreachable")


_DIRECTORY = File(hash="(a directory)")


def _describe(path: Path) -> File | None:
    if path.is_symlink():
        return File(link=str(path.readlink()))
    if not path.is_file():
        return _DIRECTORY if path.is_dir() else None
    data = path.read_bytes()
    digest = hashlib.blake2b(data, digest_size=20).hexdigest()
    return File(digest, len(data), bool(path.stat().st_mode & stat.S_IXUSR))


def _write(store: Store, root: Path, target: Path, file: File) -> None:
    if not Path(os.path.realpath(target.parent)).is_relative_to(os.path.realpath(root)):
        raise StoreError(f"{target} would lie outside {root}: refused")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise StoreError(f"{target} cannot be written: {error.filename} is a file here", hint="move it away") from error
    partial = target.with_name(f".{target.name}.lofty-part")
    partial.unlink(missing_ok=True)  # of a transfer that was killed
    if file.link:
        if not _stays(root, target.parent, file.link):
            raise StoreError(f"{target} links to a place outside {root}: refused")
        partial.symlink_to(file.link)
    else:
        try:
            data = store.get(f"files/objects/{file.hash}")
        except KeyError:
            data = b""
        if hashlib.blake2b(data, digest_size=20).hexdigest() != file.hash:
            raise StoreError(f"{target.name} came damaged out of the store")
        partial.write_bytes(data)
        partial.chmod(0o755 if file.executable else 0o644)
    partial.replace(target)


def check_path(name: str) -> None:
    """A path that a store names is untrusted: `StoreError` unless it stays below the directory, and is none that
    `push` would have left out: a `.git` from elsewhere brings programs along."""
    parts = PurePosixPath(name).parts
    odd = str(PurePosixPath(name)) != name or not parts or name.startswith("/") or ".." in parts or "\0" in name
    foreign = os.name == "nt" and any(sign in name for sign in ":\\")
    if odd or foreign or any(fnmatch(part, glob) for part in parts for glob in ALWAYS_LEFT_OUT):
        raise StoreError(f"the store names the path {name!r}: refused")


def _head(store: Store) -> tuple[int, str]:
    try:
        raw, token = store.read("files/HEAD")
        return msgspec.json.decode(raw, type=Head).version, token
    except KeyError:
        return 0, ""
