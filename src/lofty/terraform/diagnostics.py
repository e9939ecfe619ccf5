"""What terraform shows a person: a summary, the detail under it, and the argument it is about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from ..errors import LoftyError

Severity = Literal["error", "warning"]


class Key(str):
    """A key of a map, as a step of a path; other text there is an attribute's or a block's name."""

    __slots__ = ()


Path = tuple[str | int, ...]
"""Where in a configuration: names, places in a list, `Key`s of a map. Nothing leads into a set: a path ends there."""


class Diagnostic(msgspec.Struct, frozen=True):
    """One message. The summary is a sentence without a full stop, the detail says what to do."""

    summary: str
    detail: str = ""
    path: Path = ()
    severity: Severity = "error"

    def under(self, path: Path) -> Diagnostic:
        """The same, seen from further up."""
        return Diagnostic(self.summary, self.detail, (*path, *self.path), self.severity)


class Refused(LoftyError):
    """Several things are wrong at once, each at its own place."""

    def __init__(self, *diagnostics: Diagnostic) -> None:
        super().__init__("; ".join(one.summary for one in diagnostics))
        self.diagnostics = diagnostics


def of(error: BaseException, path: Path = ()) -> Iterator[Diagnostic]:
    """An exception as terraform shows it. A message that a person can act on comes from `LoftyError` alone; of
    anything else only its own words are shown, since a traceback would tell them nothing."""
    notes = "\n".join(getattr(error, "__notes__", ()))
    if isinstance(error, Refused):
        yield from (one.under(path) for one in error.diagnostics)
    elif isinstance(error, LoftyError):
        hint = f"Try: {error.hint}" if error.hint else ""
        yield Diagnostic(_summary(str(error)), "\n".join(filter(None, (notes, hint))), path)
    elif isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        yield Diagnostic(_summary(f"{where}{error.strerror}"), notes or "Try: lofty check", path)
    else:
        words = f"{type(error).__name__}: {error}"
        yield Diagnostic(
            "lofty has failed in a way that it did not expect",
            f"{words}\n\nTF_LOG_PROVIDER=debug terraform … shows where. Nothing was hidden from the state.",
            path,
        )


def errors(diagnostics: Iterable[Diagnostic]) -> bool:
    """Whether any of them stops the work."""
    return any(one.severity == "error" for one in diagnostics)


def _summary(message: str) -> str:
    """Terraform sets a summary in bold on one line. A name at its beginning stays as it is."""
    text = " ".join(message.split())
    return text[:1].upper() + text[1:] if text.partition(" ")[0].isalpha() else text
