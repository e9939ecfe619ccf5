"""`lofty restore [NAME] --at WHEN [-- PATH]`."""

from __future__ import annotations

import time

import click

from ..errors import UsageError
from ..model.units import moment, size
from . import options
from .output import document, say
from .transfers import code_of, files
from .versions import target, words


@click.command(help="Bring back files as they were; what was not sent yet is kept beside.")
@words
@click.option("--at", required=True, metavar="WHEN", help="a version's number, 2h (ago), 14:30, or 2026-11-24T14:30")
@click.option("--to", metavar="DIR", help="into this folder instead of the one they came from")
@click.option("--beside", is_flag=True, help="into a new folder beside it")
@options.as_json
def command(words: tuple[str, ...], at: str, to: str | None, beside: bool, as_json: bool) -> int:
    """NAME may be the address of a store; then --to is needed."""
    from ..api import Client

    name, paths = target(words)
    wanted = moment(at, time.time())
    client = Client()
    if to and beside:
        raise UsageError("either --to or --beside", hint="lofty restore --help")
    if name is not None and "://" in name:
        from pathlib import Path

        from ..store.base import Store
        from ..store.files import Packed, history, memory_of

        if not to:
            raise UsageError(f"where is {name} to be restored to?", hint=f"lofty restore {name} --at {at} --to DIR")
        layout, root = Packed(Store(name)), Path(to).expanduser().resolve()
        version = history.find(layout.versions, wanted)
        memory = memory_of(client.home / "sync", root, name)
        report = history.restore(layout, version, root, memory, paths=paths, side=client.side)
    else:
        task = client.get(name)
        if beside:
            binding = client.bindings.get(task.handle.id)
            if binding is None:
                raise UsageError(f"no directory here belongs to '{task.name}'", hint="--to DIR")
            to = f"{binding.directory}-{time.strftime('%Y%m%dT%H%M%S')}"
        version, report = task.restore(wanted, paths, to)
    if as_json:
        document({"version": version, "report": report})
        return code_of(report)
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(version.time))
    where = f" into {to}" if to else ""
    say(f"version {version.number} of {when}: {files(report.brought)} ({size(report.brought_bytes)}) restored{where}")
    for line in report.told():
        say(line)
    return code_of(report)
