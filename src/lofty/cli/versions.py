"""What `history` and `restore` have in common: `[NAME] [-- PATH]`."""

from __future__ import annotations

import click

from ..errors import UsageError

words = click.argument("words", nargs=-1, metavar="[NAME] [-- PATH]")


def target(given: tuple[str, ...]) -> tuple[str | None, list[str]]:
    """Which task or store, and which paths: click does not tell on which side of `--` a word stood."""
    typed: list[str] = click.get_current_context().find_object(list) or []
    behind = len(typed) - typed.index("--") - 1 if "--" in typed else 0
    before, paths = given[: len(given) - behind], given[len(given) - behind :]
    if len(before) > 1:
        raise UsageError(f"'{before[1]}': paths stand behind --", hint=f"{before[0]} -- {' '.join(before[1:])}")
    return (before[0] if before else None), list(paths)
