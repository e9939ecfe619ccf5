"""`lofty pull`."""

from __future__ import annotations

import click

from . import options
from .output import document, say


@click.command(help="Bring files back that a copy has changed; nothing of yours is overwritten.")
@options.name
@click.option("--to", metavar="DIR", help="into this folder instead of the one it came from")
@options.as_json
def command(name: str | None, to: str | None, as_json: bool) -> None:
    """Files that both sides changed are kept both."""
    from ..api import Client

    task = Client().get(name)
    report = task.pull(to)
    if as_json:
        document(report)
        return
    if task.spec.workdir:
        say(f"'{task.name}' works in {task.spec.workdir} itself: there is nothing to bring")
        return
    say(f"{report.written} files, {report.bytes} bytes")
    for kept in report.kept:
        say(f"changed on both sides, theirs is beside yours: {kept}")
