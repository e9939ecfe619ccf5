"""What a version of a directory is made of, as values: a `Row` for each path.

Paths are POSIX, relative, below the directory; a name's odd bytes ride as surrogates (`surrogateescape`), and a path
that ends in `/` is a folder with nothing in it. What a store names comes from elsewhere and is checked here.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import NamedTuple

import msgspec

from ...errors import StoreError

PIECE = 8 * 1024 * 1024
"""Bytes. A file's content is named piece by piece: a change in a large file costs the pieces it touches."""

HASH_BYTES = 32
MOST_BYTES = 1 << 50
"""No file is larger; a store that says so lies."""
MOST_TIME = 1 << 62
"""No file is written later, in nanoseconds since the epoch: in the year 2116."""


class File(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What lies at a path."""

    pieces: tuple[bytes, ...] = ()
    """BLAKE3 of every `PIECE` of the content; empty for an empty file, and where the content is not known yet."""
    size: int = 0
    executable: bool = False
    link: bytes = b""
    """Target, where the path is a symbolic link."""

    @property
    def known(self) -> bool:
        """Whether the content's hashes are known: those of somebody else's plain object are not, before a look."""
        return bool(self.pieces or self.link or not self.size)

    def same_content(self, other: File | None) -> bool:
        """Equal but for the executable bit."""
        return other is not None and (self.pieces, self.size, self.link) == (other.pieces, other.size, other.link)


class Place(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Where a piece lies in the store."""

    pack: bytes
    """BLAKE3 of the pack; in the plain layout the object's version."""
    offset: int = 0
    """Of the frame in the pack, bytes."""
    length: int = 0
    """Of the frame as stored, bytes."""
    start: int = 0
    """Of the piece in the frame, bytes."""
    packed: bool = False
    """Whether the frame is compressed."""


class Row(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One path of a version, or that it is gone."""

    path: bytes
    file: File | None = None
    places: tuple[Place, ...] = ()
    written: int = 0
    """When the content was written, nanoseconds since the epoch by the clock of the side that sent it; 0: not known.
    It goes along with a new content and makes none: who only touches a file has not changed it."""

    def same(self, other: Row | None) -> bool:
        """Equal but for the time."""
        return other is not None and (self.file, self.places) == (other.file, other.places)

    @property
    def name(self) -> str:
        """The path as text."""
        return decode(self.path)


def encode(path: str) -> bytes:
    """A path as the bytes that are stored and sorted."""
    return path.encode("utf-8", "surrogateescape")


def decode(path: bytes) -> str:
    """A stored path as text."""
    return path.decode("utf-8", "surrogateescape")


def shown(path: str) -> str:
    """A path for a person: on one line, whatever is in it."""
    return path if path.isprintable() else ascii(path)[1:-1]


_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|conin\$|conout\$)(\..*)?", re.IGNORECASE)
OWN = ".lofty"
PART = f"{OWN}-part-"
"""Names that begin so are files on their way, never a person's."""


def is_own(name: str) -> bool:
    """Whether a name is lofty's own, or git's: such never go along."""
    return _REFUSED.search(seen_as(name)) is not None


_REFUSED = re.compile(
    rf"(^|/)(\.{{0,2}}|\.git|{re.escape(OWN)}(-lock|-part-[^/]*)?)(/|\Z)|\0", re.IGNORECASE | re.DOTALL
)
"""Paths that no honest side sends: what leaves the directory, what brings programs along, what is lofty's own."""


DEEPEST = 200
"""Folders in one another; deeper ones do not go along."""
_INVISIBLE = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")


def seen_as(path: str) -> str:
    """The path as a disk may see it that overlooks some letters."""
    return path if path.isascii() else _INVISIBLE.sub("", path)


def check_row(row: Row, *, plain: bool = False, windows: bool = os.name == "nt") -> None:
    """A row that a store names is untrusted. `StoreError` unless its path stays below the directory and is none that
    is never sent, and its numbers can be true. `plain`: the content may be unknown."""
    path = row.name
    bare = path.removesuffix("/")
    far = len(row.path) > 4096 or bare.count("/") > DEEPEST
    if far or _REFUSED.search(seen_as(bare)) or (windows and _foreign(bare)):
        raise StoreError(f"the store names the path {path!r}: refused", hint="lofty history, lofty restore --at WHEN")
    file = row.file
    if file is None:
        return
    size, names, places = file.size, file.pieces, row.places
    lies = (
        not 0 <= size <= MOST_BYTES
        or (bare != path and (size or file.link or names))
        or (file.link and (size or names or not stays(path, decode(file.link))))
        or (len(names) != -(-size // PIECE) and not (plain and not names))
        or (names and len(places) != len(names))
        or any(len(name) != HASH_BYTES for name in names)
        or any(place.offset < 0 or place.length < 0 or place.start < 0 for place in places)
        or not 0 <= row.written <= MOST_TIME
    )
    if lies:
        raise StoreError(f"the store's entry of {path!r} cannot be true: refused")


def _foreign(path: str) -> bool:
    """Whether Windows would take the path for something else."""
    parts = path.split("/")
    return any(re.search(r'[:\\<>"|?*\x00-\x1f]|[. ]$', part) or _DEVICE.fullmatch(part) for part in parts)


def stays(path: str, link: str) -> bool:
    """Whether a link at that path can only lead to places below the directory, whatever other links there will be:
    it is relative, and goes up only where it begins."""
    parts = PurePosixPath(link).parts
    ups = next((i for i, part in enumerate(parts) if part != ".."), len(parts))
    return (
        bool(link)
        and "\0" not in link
        and not link.startswith("/")
        and ".." not in parts[ups:]
        and ups <= path.count("/")
    )


def folded(path: str) -> str:
    """The path as a file system would compare it that knows neither case nor how letters are composed."""
    return path.lower() if path.isascii() else unicodedata.normalize("NFC", path).casefold()


def clashes(paths: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of different paths that would be one file on such a file system."""
    seen: dict[str, str] = {}
    found = []
    for path in paths:
        other = seen.setdefault(folded(path.removesuffix("/")), path)
        if other != path:
            found.append((other, path))
    return found


def above(path: str) -> list[str]:
    """The folders that a path lies in, nearest first."""
    parts = path.removesuffix("/").split("/")
    return ["/".join(parts[:end]) for end in range(len(parts) - 1, 0, -1)]


class Span(NamedTuple):
    """A range of sorted paths: from the first up to, not including, the second; None is open."""

    first: bytes | None = None
    until: bytes | None = None

    def holds(self, path: bytes) -> bool:
        """Whether the path lies in it."""
        return (self.first is None or path >= self.first) and (self.until is None or path < self.until)


ALL = Span()


def beneath(path: bytes) -> Span:
    """Everything in a folder."""
    return Span(path + b"/", path + b"0")  # "0" follows "/"
