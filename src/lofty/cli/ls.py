"""`lofty ls`."""

from __future__ import annotations

import click

from . import options
from .output import document, facts, left, money, say, table


@click.command(help="List workspaces and jobs, everywhere.")
@options.as_json
def command(as_json: bool) -> None:
    """All tasks, newest last."""
    from ..api import Client

    found = [facts(task, task.observe()) for task in Client().tasks()]
    found = sorted((one for one in found if one["state"] != "gone"), key=lambda one: one.get("created") or 0)
    if as_json:
        document(found)
        return
    if not found:
        say("nothing runs, and nothing is kept.  Try: lofty lab")
        return
    heads = ("NAME", "KIND", "STATE", "ON", "LEFT", "USD", "WHERE")
    rows = [
        (
            one["name"], one["kind"], _state(one), one.get("on") or "-", left(one.get("time_left")),
            money(one.get("cost")), one.get("directory") or "-",
        )
        for one in found
    ]  # fmt: skip
    table(heads, rows)


def _state(one: dict[str, object]) -> str:
    code = next((m["exit_code"] for m in one.get("machines") or () if m["exit_code"]), None)  # type: ignore[attr-defined]
    return f"{one['state']} ({code})" if code else str(one["state"])
