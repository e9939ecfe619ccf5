"""Lines of a `.gitignore` matched as git matches them: bytes, part by part of a path, the last that fits decides.
[Why this is not a library](../../../../docs/decisions/0007-ignore-patterns-of-our-own.md)."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable
from typing import NamedTuple


class _Pattern(NamedTuple):
    """One line of an ignore file."""

    regex: bytes
    leaves_out: bool
    only_folders: bool
    by_name: bool
    """Matched against the last part of a path alone."""


class _Choice:
    """Patterns as one regular expression, the last first: whichever fits first decides."""

    def __init__(self, patterns: Iterable[tuple[int, _Pattern]]) -> None:
        last_first = list(patterns)[::-1]
        regex = b"|".join(b"(%b)" % pattern.regex for _, pattern in last_first)
        self._fits = re.compile(regex, re.DOTALL).fullmatch if last_first else None
        self._numbers = [number for number, _ in last_first]

    def last(self, text: bytes) -> int:
        """The number of the last pattern that fits; -1 when none does."""
        found = self._fits(text) if self._fits else None
        return self._numbers[(found.lastindex or 1) - 1] if found else -1


class Lines:
    """The rules of one place. Matching is of bytes, as git's is: `?` is one byte of a name."""

    def __init__(self, lines: Iterable[bytes], says: Callable[[str], None], skip: int = 0) -> None:
        self.skip = skip
        """How many bytes of a path come before what these rules are matched against."""
        self._out: list[bool] = []
        found: list[tuple[int, _Pattern]] = []
        for line in lines:
            pattern = _pattern(line)
            if pattern is None:
                says(f"'{line.decode('utf-8', 'backslashreplace')}' is no rule")
            else:
                found.append((len(found), pattern))
                self._out.append(pattern.leaves_out)
        self._choices = [
            tuple(
                _Choice((n, one) for n, one in found if one.by_name == by_name and (folder or not one.only_folders))
                for by_name in (True, False)
            )
            for folder in (False, True)
        ]

    def decide(self, path: bytes, name: bytes, *, folder: bool) -> bool | None:
        """Whether the last rule that fits leaves this very path out; None when none fits."""
        by_name, by_path = self._choices[folder]
        last = max(by_name.last(name), by_path.last(path[self.skip :]))
        return None if last < 0 else self._out[last]


_SPECIAL = re.compile(rb"[*?\[\\]")


def rules_of(content: bytes) -> list[bytes]:
    """The lines of an ignore file that are rules; a space at the end counts when a backslash precedes it."""
    result = []
    for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        bare = line.removesuffix(b"\r")
        cut = bare.rstrip(b" ")
        if len(cut) < len(bare) and (len(cut) - len(cut.rstrip(b"\\"))) % 2:
            cut += b" "
        if cut and not cut.startswith(b"#"):
            result.append(cut)
    return result


def _pattern(line: bytes) -> _Pattern | None:
    """None for what git takes and never matches."""
    leaves_out = not line.startswith(b"!")
    glob = line if leaves_out else line[1:]
    only_folders = glob.endswith(b"/")
    glob = glob[:-1] if only_folders else glob
    by_name = b"/" not in glob
    regex = _regex(glob.removeprefix(b"/")) if glob and b"\0" not in glob else None
    return None if regex is None else _Pattern(regex, leaves_out, only_folders, by_name)


def _regex(glob: bytes) -> bytes | None:
    """A glob as a regular expression. What comes between two wildcards is taken where it first fits and not looked
    for again, which is enough, and keeps a hostile pattern from taking for ever."""
    first = _SPECIAL.search(glob)
    plain = first.start() if first else len(glob)  # git matches this by itself, and then the rest as if from the start
    done, deep, parts = b"", b"", [b""]
    at = 0
    while at < len(glob):
        char = glob[at : at + 1]
        end = at + 1
        if char == b"*":
            while glob[end : end + 1] == b"*":
                end += 1
            begins = at == plain or glob[at - 1 : at] == b"/"
            ends = glob[end : end + 1] in (b"", b"/") or glob[end : end + 2] == b"\\/"
            if end - at > 1 and begins and ends:
                done += b"(?>%b)" % (deep + _stretch(parts))
                slash = glob[end : end + 1] == b"/"
                deep, parts = (b"(?:.*?/)??" if slash else b".*?"), [b""]
                end += slash
            else:
                parts.append(b"")
        elif char == b"?":
            parts[-1] += b"[^/]"
        elif char == b"[":
            found = _bracket(glob, end)
            if found is None:
                return None
            text, end = found
            parts[-1] += text
        else:
            if char == b"\\":
                char, end = glob[end : end + 1], end + 1
            if not char:
                return None
            parts[-1] += re.escape(char)
        at = end
    return done + deep + _stretch(parts)


def _stretch(parts: list[bytes]) -> bytes:
    """What stands between two `**`, parted at its `*`."""
    head, *rest = parts
    if not rest:
        return head
    return head + b"".join(b"(?>[^/]*?%b)" % part for part in rest[:-1]) + b"[^/]*" + rest[-1]


_CLASSES: dict[bytes, str] = {
    b"alnum": string.ascii_letters + string.digits,
    b"alpha": string.ascii_letters,
    b"blank": " \t",
    b"cntrl": "".join(map(chr, (*range(32), 127))),
    b"digit": string.digits,
    b"graph": "".join(map(chr, range(33, 127))),
    b"lower": string.ascii_lowercase,
    b"print": "".join(map(chr, range(32, 127))),
    b"punct": string.punctuation,
    b"space": " \t\n\r",
    b"upper": string.ascii_uppercase,
    b"xdigit": string.hexdigits,
}


def _bracket(glob: bytes, at: int) -> tuple[bytes, int] | None:
    """The bytes that `[...]` stands for, and where it ends; None when nothing ends it."""
    negated = glob[at : at + 1] in (b"!", b"^")
    at += negated
    chosen: set[int] = set()
    start, before = at, -1
    while at < len(glob):
        char = glob[at]
        if char == ord("]") and at > start:
            chosen = (set(range(256)) - chosen if negated else chosen) - {ord("/")}
            return (b"[%b]" % b"".join(b"\\x%02x" % byte for byte in sorted(chosen)) if chosen else b"(?!)"), at + 1
        if char == ord("\\"):
            at += 1
            if at == len(glob):
                return None
            char = glob[at]
            chosen.add(char)
        elif char == ord("-") and before >= 0 and glob[at + 1 : at + 2] not in (b"", b"]"):
            at += 1 + (glob[at + 1 : at + 2] == b"\\")
            if at == len(glob):
                return None
            chosen.update(range(before, glob[at] + 1))
            char = -1
        elif glob[at : at + 2] == b"[:" and (close := glob.find(b"]", at + 2)) != at + 2:
            if close < 0:
                return None
            if glob[close - 1 : close] == b":":
                if (named := _CLASSES.get(glob[at + 2 : close - 1])) is None:
                    return None
                chosen.update(named.encode())
                at, char = close, -1
            else:
                chosen.add(char)
        else:
            chosen.add(char)
        at, before = at + 1, char
    return None
