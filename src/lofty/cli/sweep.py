"""`lofty sweep`."""

from __future__ import annotations

import click

from . import options
from .output import say


@click.command(help="Remove tasks that are lost or half-made, and environments that no folder uses any more.")
@options.dry_run
@options.yes
def command(dry_run: bool, yes: bool) -> None:
    """Workspaces that were stopped on purpose, and jobs that have ended, stay."""
    from ..api import Client

    client = Client()
    found = client.leftovers()
    for what in found:
        say(f"{'would remove' if dry_run else 'removing'} {what.text}")
        if not dry_run:
            what.remove()
    if not found:
        say("nothing was left behind")
