"""What `history` and `restore` have in common: `[NAME] [-- PATH]`."""

from __future__ import annotations

import click


def target(name: str | None, path: str | None) -> tuple[str | None, list[str]]:
    """Which task or store, and which paths: click does not tell on which side of `--` a word stood."""
    words: list[str] = click.get_current_context().find_object(list) or []
    behind = words[words.index("--") + 1 :] if "--" in words else []
    given = [word for word in (name, path) if word is not None]
    before = given[: len(given) - len(behind)] if behind else given
    return (before[0] if before else None), [*before[1:], *behind]
