"""`lofty ssh`."""

from __future__ import annotations

import sys

import click

from ..errors import UsageError


@click.command(
    help="Open a shell on the machine of a workspace or job, or run COMMAND there. The exit code is the command's own; "
    "125 when lofty itself failed.",
    short_help="A shell on the machine, or a command there",
)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[NAME] [-- COMMAND...]")
@click.option("--rank", type=click.IntRange(min=0), default=0, metavar="N", help="which machine of the job, from 0")
@click.pass_context
def command(ctx: click.Context, words: tuple[str, ...], rank: int) -> int:
    """Nothing is kept: the shell ends with the terminal."""
    from ..api import Client

    # click takes `--` away, and with it where the name ends; the words as they were typed still have it.
    typed: list[str] = ctx.find_root().obj
    there = tuple(typed[typed.index("--") + 1 :]) if "--" in typed else ()
    names = words[: len(words) - len(there)]
    if len(names) > 1:
        raise UsageError(f"'{names[1]}' is one word too many", hint=f"lofty ssh {names[0]} -- {' '.join(names[1:])}")
    terminal = sys.stdin.isatty() and not there
    return Client().get(names[0] if names else None).ssh(there, rank=rank, terminal=terminal)
