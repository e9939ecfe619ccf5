"""`lofty start`."""

from __future__ import annotations

import time

import click

from ..errors import Interrupted
from . import options
from .output import Progress, data, document, facts, tell_timings


@click.command(help="Start a stopped workspace again: same address, same token.")
@options.name
@options.as_json
@options.timings
def command(name: str | None, as_json: bool, timings: bool) -> None:
    """A workspace that runs already is left alone."""
    from ..api import Client

    began = time.time()
    task = Client().get(name, kind="workspace")
    try:
        with Progress(quiet=as_json) as progress:
            task.start(progress=progress)
    except KeyboardInterrupt:
        raise Interrupted("left alone; it goes on getting ready", hint=f"lofty url {task.name}") from None
    seconds = progress.timings(began)
    if as_json:
        document({**facts(task, task.observe()), **({"timings": seconds} if timings else {})})
        return
    data(task.url or "")
    if timings:
        tell_timings(seconds)
