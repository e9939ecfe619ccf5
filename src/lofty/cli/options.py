"""click options made from the table in `lofty.config`, and those that many verbs share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..config import OPTIONS, Option

F = TypeVar("F", bound=Callable[..., Any])


def making(verb: str) -> Callable[[F], F]:
    """Every option of a verb that makes a task; they arrive as keywords, None where not given."""

    def add(function: F) -> F:
        for option in reversed([one for one in OPTIONS if verb in one.verbs]):
            function = _click(option)(function)
        return function

    return add


def _click(option: Option) -> Callable[[F], F]:
    names = [f"--{option.name.replace('_', '-')}"]
    if option.name == "parallelism":
        names.insert(0, "-n")
    if option.kind == "flag":
        return click.option(*names, is_flag=True, default=None, help=option.help)
    # Values are checked where variables and files are checked too, hence text here.
    return click.option(*names, metavar=option.metavar, help=option.help, multiple=option.kind == "list")


def given(values: dict[str, Any]) -> dict[str, Any]:
    """What was really typed."""
    return {key: value for key, value in values.items() if value not in (None, ())}


def parameter(function: F) -> F:
    """`-p NAME=VALUE`."""
    return click.option(
        "-p",
        "--parameter",
        "parameters",
        multiple=True,
        metavar="NAME=VALUE",
        help="notebook parameter; repeatable",
    )(function)


as_json = click.option("--json", "as_json", is_flag=True, help="one JSON document on stdout")
timings = click.option("--timings", is_flag=True, help="print the seconds of each stage at the end")
detach = click.option("-d", "--detach", is_flag=True, help="return when it is up; open no browser")
dry_run = click.option("--dry-run", is_flag=True, help="show what would be made; make nothing")
yes = click.option("-y", "--yes", is_flag=True, help="ask nothing")
name = click.argument("name", required=False)
