"""`lofty url`."""

from __future__ import annotations

import click

from ..errors import UsageError
from . import options
from .output import data, document, facts


@click.command(help="Print the address of a workspace; it opens without a further login.")
@options.name
@click.option("--notebook", is_flag=True, help="the classic page")
@click.option("--tensorboard", is_flag=True, help="TensorBoard")
@options.as_json
def command(name: str | None, notebook: bool, tensorboard: bool, as_json: bool) -> None:
    """One line, so that it can stand in `$(lofty url)`."""
    from ..api import Client

    task = Client().get(name, kind="workspace")
    seen = task.observe()
    if seen.state == "running":
        task.connect()
    if as_json:
        document(facts(task, seen))
        return
    if seen.state != "running":
        raise UsageError(f"'{task.name}' is {seen.state}", hint=f"lofty start {task.name}")
    place = task.addresses
    assert place is not None
    data(place.notebook if notebook else place.tensorboard if tensorboard else place.lab)
