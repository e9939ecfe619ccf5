"""`lofty pull`."""

from __future__ import annotations

import click

from . import options
from .output import Progress, document, say
from .transfers import code_of, tell


@click.command(help="Bring the files of a workspace or job, running or not; nothing of yours is overwritten.")
@options.name
@click.option("--to", metavar="DIR", help="into this folder instead of the one it came from")
@click.option("--force", is_flag=True, help="pass on deletions that look like an accident")
@options.as_json
def command(name: str | None, to: str | None, force: bool, as_json: bool) -> int:
    """Files that both sides changed are kept both."""
    from ..api import Client

    task = Client().get(name)
    with Progress(as_json=as_json) as progress:
        report = task.pull(to, progress=progress, force=force)
    if as_json:
        document(report)
    elif task.in_place:
        say(f"'{task.name}' works in {task.spec.workdir} itself: there is nothing to bring")
    else:
        tell(report)
    return code_of(report)
