"""Names: the identifier of a task is made from its owner and name alone, so that any computer of the same
account computes the same one, and every resource can be named from it without a record kept anywhere."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from ..errors import SpecError

NAME_LIMIT = 40
_NAME = re.compile(rf"[a-z0-9](?:[a-z0-9-]{{0,{NAME_LIMIT - 2}}}[a-z0-9])?")


def slug(text: str) -> str:
    """The nearest name to a free text: `My Notebook (2)` becomes `my-notebook-2`; never empty."""
    word = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:NAME_LIMIT].strip("-")
    return word or "task"


def check_name(name: str) -> str:
    """The name itself when it can serve for resources and URLs everywhere; `SpecError` otherwise."""
    if not _NAME.fullmatch(name):
        raise SpecError(
            f"'{name}' cannot be a name: use up to {NAME_LIMIT} of a-z, 0-9 and -, no - at either end",
            hint=f"--name {slug(name)}",
        )
    return name


def identifier(owner: str, name: str) -> str:
    """`lofty-NAME-HASH`: at most 55 characters of a-z, 0-9 and -, the same for the same owner and name."""
    digest = hashlib.sha256(f"{owner}/{name}".encode()).hexdigest()[:8]
    return f"lofty-{name}-{digest}"


def numbered(stem: str, taken: Iterable[str]) -> str:
    """`STEM-1`, `STEM-2`, …: one above the highest number that is taken."""
    base = slug(stem)[: NAME_LIMIT - 6].rstrip("-")
    pattern = re.compile(re.escape(base) + r"-(\d+)")
    used = [int(match[1]) for name in taken if (match := pattern.fullmatch(name))]
    return f"{base}-{max(used, default=0) + 1}"
