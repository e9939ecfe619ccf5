"""`lofty open`."""

from __future__ import annotations

import click

from ..errors import UsageError
from . import options
from .output import data, say


@click.command(help="Open a workspace in the browser.")
@options.name
def command(name: str | None) -> None:
    """The page, or its address where there is no display."""
    from ..api import Client
    from .browser import open_page

    client = Client()
    task = client.get(name, kind="workspace")
    if task.state != "running":
        raise UsageError(f"'{task.name}' is {task.state}", hint=f"lofty start {task.name}")
    url = task.connect().url or ""
    if not open_page(url, client.home):
        say("there is no display here; the address is:")
        data(url)
