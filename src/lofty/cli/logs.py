"""`lofty logs`."""

from __future__ import annotations

import sys

import click
import msgspec

from . import options
from .output import data, say


@click.command(help="Show the output of a workspace or job.")
@options.name
@click.option("-f", "--follow", is_flag=True, help="and what is still to come, to its end")
@options.as_json
def command(name: str | None, follow: bool, as_json: bool) -> int:
    """Output as it was written; with --json a line of JSON each with -f, else one document."""
    from ..api import Client

    task = Client().get(name)
    lines = task.logs(follow=follow)
    try:
        if as_json and not follow:
            data(msgspec.json.encode(list(lines)).decode())
            return 0
        for line in lines:
            if as_json:
                data(msgspec.json.encode(line).decode())
            else:
                sys.stdout.write(line.text + line.end)
                sys.stdout.flush()
    except KeyboardInterrupt:
        say(f"\n{task.name} goes on.")
        return 130
    return 0
