"""`lofty stop`."""

from __future__ import annotations

import click

from . import options
from .output import document, facts, say


@click.command(help="End the machine of a workspace or job; files, address and token stay.")
@options.name
@options.as_json
def command(name: str | None, as_json: bool) -> None:
    """Nothing is paid for afterwards but storage."""
    from ..api import Client

    task = Client().get(name).stop()
    if as_json:
        document(facts(task, task.observe()))
    elif task.kind == "workspace":
        say(f"{task.name} is stopped. Again: lofty start {task.name}   For good: lofty down {task.name}")
    else:
        say(f"{task.name} is {task.state}. To remove it: lofty down {task.name}")
