"""`lofty ls`."""

from __future__ import annotations

from typing import Any

import click

from ..errors import LoftyError
from . import options
from .output import document, facts, left, money, say, table


@click.command(help="List workspaces and jobs, everywhere.")
@options.as_json
def command(as_json: bool) -> int:
    """All tasks, newest last. What could not be asked is named after them, with exit code 3: a bill must not be
    invisible."""
    from ..api import Client

    tasks, problems = Client().everything()
    found = []
    for task in tasks:
        try:
            seen = task.record.seen
            # Where finding told how all of them stand, none is asked for its token: that would be a request each.
            found.append(facts(task, seen or task.observe(), addresses=seen is None))
        except LoftyError as error:
            problems.append(f"{task.name}: {error}")
    found = sorted((one for one in found if one["state"] != "gone"), key=lambda one: one["created"] or 0)
    if as_json:
        document(found)
    elif found:
        _show(found)
    elif not problems:
        say("nothing runs, and nothing is kept.  Try: lofty lab")
    for problem in problems:
        say(f"lofty: not everything could be asked: {problem}\n  try: lofty check")
    return 3 if problems else 0


def _show(found: list[dict[str, Any]]) -> None:
    heads = ("NAME", "KIND", "STATE", "ON", "LEFT", "USD", "WHERE")
    rows = [
        (
            one["name"], one["kind"], _state(one), one["on"] or "-", left(one["time_left"]),
            money(one["cost"]), one["directory"] or "-",
        )
        for one in found
    ]  # fmt: skip
    table(heads, rows)


def _state(one: dict[str, Any]) -> str:
    code = next((machine["exit_code"] for machine in one["machines"] or () if machine["exit_code"]), None)
    return f"{one['state']} ({code})" if code else str(one["state"])
