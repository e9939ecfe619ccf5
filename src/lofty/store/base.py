"""One prefix of an object store, whichever cloud it lies in. `obstore` carries the bytes.

Only obstore's synchronous calls are used: its asynchronous ones abort the interpreter at exit in a few per cent of
short processes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import GenericError
from obstore.store import LocalStore, MemoryStore

from ..errors import Damaged, Forbidden, SpecError, Stale
from . import disk
from .clouds import LARGE, SCHEMES, opened, region_in
from .translate import NotModified, translated

Data = bytes | bytearray | memoryview

_memories: dict[str, MemoryStore] = {}
"""`memory://NAME` means the same store everywhere in one process."""


class Entry(NamedTuple):
    """One object in a listing."""

    key: str
    size: int
    modified: float
    """Epoch seconds, by the store's clock."""
    version: str
    """As `Store.version` gives it."""


class Store:
    """Keys and bytes under one prefix of `file:///DIR`, `memory://NAME/…`, `s3://BUCKET/…`, `gs://BUCKET/…` or
    `az://CONTAINER/…`. A bucket in another region than the environment's is `s3://BUCKET/…?region=REGION`. May be used
    from several threads at once.

    A *version* is an opaque text that stands for what a key held at one moment. Requests that fail for the store's
    reasons are tried again with growing pauses, for `patience` seconds.

    Errors: `KeyError` for a key that is not there, `Stale` for a lost compare-and-set, `AccessError` for
    credentials, `StoreError` for everything else, disk full included. `Stale` may also mean that a write arrived whose
    answer was lost: who needs to know looks.
    """

    def __init__(self, url: str, *, patience: float = 120.0) -> None:
        self.url = url
        parts = urlsplit(url)
        self.root: Path | None = None
        """The folder that it is; None where it is none."""
        self._prefix = parts.path.strip("/")
        self._made: Any = None
        self._made_large: Any = None
        self._cloud: tuple[str, str, float, str] | None = None
        self._patience = patience
        if parts.scheme == "file":
            self.root, self._prefix = Path(unquote(parts.path)), ""
        elif parts.scheme == "memory":
            self._made = _memories.setdefault(parts.netloc, MemoryStore())
        elif parts.scheme in SCHEMES:
            self._prefix = unquote(self._prefix)
            self._cloud = (parts.scheme, parts.netloc, patience, region_in(url))
            with translated(url, ""):
                self._made = opened(*self._cloud)
        else:
            known = "s3://BUCKET/PREFIX, gs://…, az://… or file:///…"
            raise SpecError(f"'{url}' is not a store that lofty knows", hint=f"use {known}")

    @property
    def _objects(self) -> Any:
        """obstore's store. A directory is made by the first write, never by looking."""
        if self._made is None:
            self._made = LocalStore(str(self.root), mkdir=True, automatic_cleanup=True)
        return self._made

    def _objects_for(self, size: int) -> Any:
        """The same, for a write of that size."""
        if self._cloud is None or size < LARGE:
            return self._objects
        if self._made_large is None:
            self._made_large = opened(*self._cloud, large=True)
        return self._made_large

    def _is_there(self) -> bool:
        return self._made is not None or (self.root is not None and self.root.is_dir())

    def _path(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    # --- reading ---

    def get(self, key: str) -> bytes:
        """The bytes under a key."""
        return self.read(key)[0]

    def read(self, key: str) -> tuple[bytes, str]:
        """The bytes under a key and their version, for `swap`."""
        if not self._is_there():
            raise KeyError(key)
        with self._reading(key):
            result = obstore.get(self._objects, self._path(key))
            return bytes(result.bytes()), _version(result.meta)

    def read_changed(self, key: str, version: str) -> tuple[bytes, str] | None:
        """As `read`, but None when the version is still that one: one request and no body."""
        if not self._is_there():
            raise KeyError(key)
        try:
            with self._reading(key):
                result = obstore.get(self._objects, self._path(key), options={"if_none_match": f'"{version}"'})
                return bytes(result.bytes()), _version(result.meta)
        except NotModified:
            return None

    def ranges(self, key: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
        """Parts of an object, each by its start and length; near ones are asked for together. `Damaged` when the
        object ends before one of them does."""
        if not self._is_there():
            raise KeyError(key)
        asked = [(start, length) for start, length in spans if length]
        starts, lengths = [start for start, _ in asked], [length for _, length in asked]
        parts: Sequence[Any]
        with self._reading(key):
            try:
                parts = obstore.get_ranges(self._objects, self._path(key), starts=starts, lengths=lengths)
            except GenericError as error:
                # A server may send the whole in place of a range (RFC 9110, 14.2); obstore takes that for an error.
                if "non-partial response" not in str(error):
                    raise
                whole = obstore.get(self._objects, self._path(key)).bytes().to_bytes()
                parts = [whole[start : start + length] for start, length in asked]
            if [len(part) for part in parts] != lengths:
                raise Damaged(f"{self.url}: {key}: shorter than it should be")
            found = iter(parts)
            return [bytes(next(found)) if length else b"" for _, length in spans]

    def version(self, key: str) -> str:
        """The version of a key now."""
        if not self._is_there():
            raise KeyError(key)
        with self._reading(key):
            return _version(obstore.head(self._objects, self._path(key)))

    @contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        """A machine's role may list under its own prefix alone, and S3 then answers 403 for a key that is not there;
        a listing, which it may ask for, tells the one from the other."""
        try:
            with translated(self.url, key):
                yield
        except Forbidden:
            if self._cloud is None or self._listed(key):
                raise
            raise KeyError(key) from None

    def _listed(self, key: str) -> bool:
        path = self._path(key)
        with translated(self.url, key):
            pages = obstore.list(self._objects, path.rpartition("/")[0] or None, offset=path[:-1])
            for meta in chain.from_iterable(pages):
                if meta["path"] >= path:
                    return bool(meta["path"] == path)
        return False

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Everything under a prefix that ends at a `/`."""
        if not self._is_there():
            return
        limit = time.monotonic() + self._patience
        last = None
        with translated(self.url, prefix):
            while True:
                try:
                    pages = obstore.list(self._objects, self._path(prefix) or None, offset=last)
                    for meta in chain.from_iterable(pages):
                        key = meta["path"].removeprefix(f"{self._prefix}/" if self._prefix else "")
                        if self.root is None or not disk.is_own(key):
                            yield Entry(key, meta["size"], meta["last_modified"].timestamp(), _version(meta))
                        last = meta["path"]
                except GenericError as error:
                    # obstore does not try again when a page breaks off in the middle.
                    if self._cloud is None or "response body" not in str(error) or time.monotonic() > limit:
                        raise
                    time.sleep(0.2)
                else:
                    return

    def folders(self, prefix: str = "") -> list[str]:
        """Names of the groups directly under a prefix, without the prefix."""
        if not self._is_there():
            return []
        with translated(self.url, prefix):
            found = obstore.list_with_delimiter(self._objects, self._path(prefix) or None)
            return sorted(path.rsplit("/", 1)[-1] for path in found["common_prefixes"])

    # --- writing ---

    def put(self, key: str, data: Data, *, durable: bool = False) -> None:
        """Write a key whole; a reader sees the old bytes or the new ones, never half. `durable`: on a disk, return
        only when it survives a loss of power, as a cloud does always."""
        with translated(self.url, key):
            if durable and self.root is not None:
                disk.write(self.root, key, data)
            else:
                obstore.put(self._objects_for(len(data)), self._path(key), data, use_multipart=False)

    def create(self, key: str, data: Data) -> str:
        """Write a key that must not exist yet and give its version; `Stale` when it does. Of several callers one
        wins."""
        with translated(self.url, key):
            if self.root is None:
                return self._put_if(key, data, "create")
            disk.write(self.root, key, data, new=True)
            return self.version(key)

    def swap(self, key: str, data: Data, version: str) -> str:
        """Replace a key if its version is still the one that was read; gives the new version, or `Stale`."""
        with translated(self.url, key):
            try:
                if self.root is None:
                    return self._put_if(key, data, self._condition(key, version))
                with disk.held(self.root):
                    disk.check(key, self.version(key), version)
                    disk.write(self.root, key, data)
                    return self.version(key)
            except (KeyError, FileNotFoundError):
                raise Stale(f"{key} is gone") from None

    def _condition(self, key: str, version: str) -> Any:
        """That a key is still of that version, in the store's own terms."""
        tag = f'"{version}"'
        if self._cloud is None or self._cloud[0] != "gs":
            return {"e_tag": tag}
        # Google's compares generations, and its listings do not tell them: look which one bears the tag.
        now = obstore.head(self._objects, self._path(key))
        if _version(now) != version:
            raise Stale(f"{key} was changed by somebody else")
        return {"e_tag": tag, "version": now["version"]}

    def _put_if(self, key: str, data: Data, mode: Any) -> str:
        done = obstore.put(self._objects_for(len(data)), self._path(key), data, mode=mode, use_multipart=False)
        return _version(done)

    def replace(self, key: str, content: Iterator[bytes], version: str | None) -> str:
        """Write a key of any size in pieces, if it is still that version (None: not there); gives the new version. A
        large object is compared first and written then: the moment between is open."""
        first = next(content, b"")
        second = next(content, None)
        if second is None:
            return self.create(key, first) if version is None else self.swap(key, first, version)
        try:
            now = self.version(key)
        except KeyError:
            now = None
        if now != version:
            raise Stale(f"{key} was changed by somebody else")
        with translated(self.url, key):
            obstore.put(self._objects_for(LARGE), self._path(key), chain((first, second), content), use_multipart=True)
        return self.version(key)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove keys; those that are gone already are no error."""
        if not self._is_there():
            return
        paths = [self._path(key) for key in keys]
        for start in range(0, len(paths), 1000):
            some = paths[start : start + 1000]
            with translated(self.url, some[0]):
                try:
                    obstore.delete(self._objects, some)
                except FileNotFoundError:
                    for path in some:
                        _delete_one(self._objects, path)

    def clear(self) -> None:
        """Remove everything under the prefix, and on a disk the directory itself."""
        if self.root is not None:
            import shutil

            shutil.rmtree(self.root, ignore_errors=True)
            self._made = None
        else:
            self.delete([entry.key for entry in self.entries()])


def _version(meta: Any) -> str:
    """The ETag, bare: it reads the same in a listing and in every answer of the store."""
    return str(meta.get("e_tag") or "").removeprefix("W/").strip('"')


def _delete_one(objects: Any, path: str) -> None:
    try:
        obstore.delete(objects, path)
    except FileNotFoundError:
        return
