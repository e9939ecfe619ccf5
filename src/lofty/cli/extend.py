"""`lofty extend`."""

from __future__ import annotations

import click

from ..errors import UsageError
from . import options
from .output import document, facts, left, say


@click.command(help="Move the deadline: TIME from now, such as 2h. `lofty extend NAME 2h`.")
@click.argument("words", nargs=-1, metavar="[NAME] TIME")
@options.as_json
def command(words: tuple[str, ...], as_json: bool) -> None:
    """The time comes last; the name may be left out where there is only one task."""
    from ..api import Client

    if len(words) not in (1, 2):
        raise UsageError("say how long", hint="lofty extend 2h, or lofty extend NAME 2h")
    task = Client().get(words[0] if len(words) == 2 else None).extend(words[-1])
    now = facts(task, task.observe())
    if as_json:
        document(now)
    else:
        say(f"{task.name}: {left(now['time_left'])} left")
