"""`lofty sweep`."""

from __future__ import annotations

import click

from . import options
from .output import document, say


@click.command(help="Remove half-made tasks, what belongs to no task, and environments whose folder is gone.")
@options.dry_run
@options.yes
@options.as_json
def command(dry_run: bool, yes: bool, as_json: bool) -> int:
    """Stopped and lost workspaces and jobs that have ended stay: `lofty down` removes those."""
    from ..api import Client

    removed, kept = Client().sweep(dry_run=dry_run)
    if as_json:
        document({"removed": removed, "kept": kept})
    else:
        for text in removed:
            say(f"{'would remove' if dry_run else 'removed'} {text}")
        for text in kept:
            say(f"kept {text}: lofty down ID --discard removes it")
        if not removed and not kept:
            say("nothing was left behind")
    return 1 if kept else 0
