"""`lofty history [NAME] [-- PATH]`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from ..model.units import size
from . import options
from .output import document, table
from .versions import target, words

if TYPE_CHECKING:
    from ..store.files.history import Version


@click.command(help="Show the versions of a workspace's or job's files, or of a store (its URL), newest last.")
@words
@options.as_json
def command(words: tuple[str, ...], as_json: bool) -> None:
    """After `--`, only those in which a path changed."""
    name, paths = target(words)
    asked = paths[0] if paths else ""
    found = versions_of(name, asked)
    if as_json:
        document(found)
        return
    rows = []
    for one in found:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.time))
        what = f"{one.changed} changed" + (f", {one.removed} removed" if one.removed else "")
        if asked:
            what = size(one.size) if one.size is not None else "not there"
        rows.append((str(one.number), when, one.by, what))
    table(("VERSION", "TIME", "BY", asked or "FILES"), rows)


def versions_of(name: str | None, path: str) -> list[Version]:
    """Of a task, or of a store by its address."""
    if name is not None and "://" in name:
        from ..store.base import Store
        from ..store.files import history
        from ..store.files.version import Versions

        return history.versions(Versions(Store(name)), path)
    from ..api import Client

    return Client().get(name).history(path)
