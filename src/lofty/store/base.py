"""One prefix of an object store, whichever cloud it lies in. `obstore` carries the bytes.

Only obstore's synchronous calls are used: its asynchronous ones abort the interpreter at exit in a few per cent of
short processes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotModifiedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import LocalStore, MemoryStore

from ..errors import AccessError, SpecError, Stale, StoreError

_memories: dict[str, MemoryStore] = {}
"""`memory://NAME` means the same store everywhere in one process."""


class Entry(NamedTuple):
    """One object in a listing."""

    key: str
    size: int
    modified: float
    """Epoch seconds, by the store's clock."""


class Store:
    """Keys and bytes under one prefix.

    Errors: `KeyError` for a key that is not there, `Stale` for a lost compare-and-set, `AccessError` for
    credentials, `StoreError` for everything else, disk full included.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        parts = urlsplit(url)
        if parts.scheme == "file":
            self.root: Path | None = Path(unquote(parts.path))
            self._made: Any = None
            self._prefix = ""
        elif parts.scheme == "memory":
            self.root = None
            self._made = _memories.setdefault(parts.netloc, MemoryStore())
            self._prefix = parts.path.strip("/")
        else:
            raise SpecError(f"'{url}' is not a store that lofty knows", hint="use file:///… or memory://…")

    @property
    def _objects(self) -> Any:
        """obstore's store. A directory is made by the first write, never by looking."""
        if self._made is None:
            self._made = LocalStore(str(self.root), mkdir=True, automatic_cleanup=True)
        return self._made

    def _is_there(self) -> bool:
        return self._made is not None or (self.root is not None and self.root.is_dir())

    def _path(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    def get(self, key: str) -> bytes:
        """The bytes under a key."""
        return self.read(key)[0]

    def read(self, key: str) -> tuple[bytes, str]:
        """The bytes under a key and their version, for `swap`."""
        if not self._is_there():
            raise KeyError(key)
        with _translated(self.url, key):
            result = obstore.get(self._objects, self._path(key))
            return bytes(result.bytes()), result.meta["e_tag"] or ""

    def read_changed(self, key: str, version: str) -> tuple[bytes, str] | None:
        """As `read`, but None when the version is still that one: one request and no body."""
        try:
            with _translated(self.url, key):
                result = obstore.get(self._objects, self._path(key), options={"if_none_match": version})
                return bytes(result.bytes()), result.meta["e_tag"] or ""
        except _NotModifiedError:
            return None

    def put(self, key: str, data: bytes) -> None:
        """Write a key whole; a reader sees the old bytes or the new ones, never half."""
        with _translated(self.url, key):
            obstore.put(self._objects, self._path(key), data, use_multipart=False)

    def create(self, key: str, data: bytes) -> None:
        """Write a key that must not exist yet; `Stale` when it does. Of several callers one wins."""
        with _translated(self.url, key):
            obstore.put(self._objects, self._path(key), data, mode="create", use_multipart=False)

    def swap(self, key: str, data: bytes, version: str) -> str:
        """Replace a key if its version is still the one that was read; gives the new version, or `Stale`."""
        with _translated(self.url, key):
            if self.root is None:
                done = obstore.put(
                    self._objects,
                    self._path(key),
                    data,
                    mode={"e_tag": version},
                    use_multipart=False,
                )
                return done["e_tag"] or ""
            return self._swap_on_disk(key, data, version)

    def _swap_on_disk(self, key: str, data: bytes, version: str) -> str:
        # obstore has no compare-and-set for directories: a lock between processes makes one.
        from filelock import FileLock

        assert self.root is not None
        with FileLock(self.root.parent / f".{self.root.name}.lock"):
            if obstore.head(self._objects, self._path(key))["e_tag"] != version:
                raise Stale(f"{key} was changed by another process")
            return obstore.put(self._objects, self._path(key), data, use_multipart=False)["e_tag"] or ""

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Everything under a prefix that ends at a `/`."""
        if not self._is_there():
            return
        with _translated(self.url, prefix):
            for page in obstore.list(self._objects, self._path(prefix) or None):
                for meta in page:
                    key = meta["path"].removeprefix(f"{self._prefix}/" if self._prefix else "")
                    yield Entry(key, meta["size"], meta["last_modified"].timestamp())

    def folders(self, prefix: str = "") -> list[str]:
        """Names of the groups directly under a prefix, without the prefix."""
        if not self._is_there():
            return []
        with _translated(self.url, prefix):
            found = obstore.list_with_delimiter(self._objects, self._path(prefix) or None)
            return sorted(path.rsplit("/", 1)[-1] for path in found["common_prefixes"])

    def delete(self, keys: Iterable[str]) -> None:
        """Remove keys; those that are gone already are no error."""
        paths = [self._path(key) for key in keys]
        if paths:
            with _translated(self.url, paths[0]):
                try:
                    obstore.delete(self._objects, paths)
                except FileNotFoundError:
                    for path in paths:
                        _delete_one(self._objects, path)

    def clear(self) -> None:
        """Remove everything under the prefix, and on a disk the directory itself."""
        if self.root is not None:
            import shutil

            shutil.rmtree(self.root, ignore_errors=True)
            self._made = None
            (self.root.parent / f".{self.root.name}.lock").unlink(missing_ok=True)
        else:
            self.delete([entry.key for entry in self.entries()])


class _NotModifiedError(Exception):
    """The version asked about is still the current one."""


def _delete_one(objects: Any, path: str) -> None:
    try:
        obstore.delete(objects, path)
    except FileNotFoundError:
        return


@contextmanager
def _translated(url: str, key: str) -> Iterator[None]:
    """obstore's errors as ours, most specific first, the original as the cause."""
    try:
        yield
    except (Stale, StoreError):
        raise
    except FileNotFoundError as error:
        raise KeyError(key) from error
    except NotModifiedError as error:
        raise _NotModifiedError from error
    except (AlreadyExistsError, PreconditionError) as error:
        raise Stale(f"{key} was written by somebody else first") from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise AccessError(f"no access to {url}: {_first_line(error)}", hint="lofty check") from error
    except (BaseError, OSError, ValueError) as error:
        text = _first_line(error)
        hint = "free some space and run the command again" if "No space left" in str(error) else "lofty check"
        where = f"{url}: {key}" if key else url
        raise StoreError(f"{where}: {text}", hint=hint) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    causes = [line.strip() for line in str(error).splitlines() if "message:" in line or "os error" in line]
    return f"{lines[0]} ({causes[0]})" if causes and causes[0] not in lines[0] else lines[0]
