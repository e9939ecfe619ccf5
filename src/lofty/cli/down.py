"""`lofty down`."""

from __future__ import annotations

import sys

import click

from ..errors import UsageError
from ..model.units import size
from . import options
from .output import Progress, say
from .transfers import files


@click.command(help="End a workspace or job, bring its files back and remove everything of it.")
@options.name
@click.option("--all", "everything", is_flag=True, help="every task")
@click.option("--discard", is_flag=True, help="do not bring files back")
@click.option("--to", metavar="DIR", help="bring files into this folder")
@options.yes
def command(name: str | None, everything: bool, discard: bool, to: str | None, yes: bool) -> None:
    """The folder itself is never touched where the task works directly in it."""
    from ..api import Client

    client = Client()
    if everything and name:
        raise UsageError("either a NAME or --all", hint="lofty down --all")
    tasks = client.tasks() if everything else [client.get(name)]
    if everything and tasks and not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"--all would remove {len(tasks)} tasks", hint="lofty down --all -y")
        click.confirm(f"Remove {', '.join(task.name for task in tasks)}?", abort=True, err=True)
    for task in tasks:
        with Progress() as progress:
            report = task.down(discard=discard, to=to, progress=progress)
        back = f"; {files(report.brought)} came back ({size(report.brought_bytes)})" if report.brought else ""
        say(f"{task.name} is gone{back}")
        for line in report.told():
            say(line)
