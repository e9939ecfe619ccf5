"""`lofty sync DIR URL`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from ..errors import UsageError
from . import options
from .output import Progress, data, document, say
from .transfers import code_of, report_as_json, tell

if TYPE_CHECKING:
    from ..store.files.report import Moved, Report
    from ..store.files.sync import Folder

TIDY_EVERY = 50
"""Versions after which what no version needs any more is looked for."""
HELP = """Keep the folder DIR and a store alike: s3://BUCKET/PREFIX, gs://..., az://... or file:///...

Both directions once, unless one is named. Every version is kept (lofty history URL, lofty restore URL). What both
sides changed is kept twice; nothing is overwritten or deleted that the other side has not seen."""


@click.command(help=HELP, short_help="Keep a folder and an object store alike")
@click.argument("folder", metavar="DIR")
@click.argument("url", metavar="URL")
@click.option("--push", "mode", flag_value="push", help="only what changed here; nothing edited there is touched")
@click.option("--pull", "mode", flag_value="pull", help="only what changed there, and what is missing here")
@click.option("--watch", is_flag=True, help="go on until Ctrl-C")
@click.option("--plain", is_flag=True, help="one object per file, as other tools read them; no versions")
@click.option("--exclude", multiple=True, metavar="GLOB", help="files that do not go along; may be repeated")
@click.option("--force", is_flag=True, help="pass on deletions that look like an accident")
@options.as_json
def command(
    folder: str,
    url: str,
    mode: Literal["push", "pull"] | None,
    watch: bool,
    plain: bool,
    exclude: tuple[str, ...],
    force: bool,
    as_json: bool,
) -> int:
    """Without a mode, both directions."""
    from ..computer import Computer
    from ..store import files
    from ..store.base import Store

    if watch and mode:
        raise UsageError("--watch goes both ways", hint="leave --push and --pull out")
    computer = Computer.here(os.environ)
    root = Path(folder).expanduser().resolve()
    url = _absolute(url)
    with Progress(quiet=False, as_json=as_json) as progress:
        kept = files.folder(
            root,
            Store(url),
            files.memory_of(computer.home / "sync", root, url),
            side=computer.side,
            plain=plain,
            exclude=exclude,
            watcher=progress.moved,
        )
        report = kept.sync(mode or "both", force=force)
    if report.version and report.sent and report.version % TIDY_EVERY == 0:
        kept.layout.tidy()
    if watch:
        if as_json:
            data(report_as_json(report))
        else:
            tell(report)
        return _watch(kept, url, as_json=as_json)
    if as_json:
        document(report)
    else:
        tell(report)
    return code_of(report)


def _absolute(url: str) -> str:
    """A path is a folder of this computer."""
    return url if "://" in url else Path(url).expanduser().resolve().as_uri()


def _watch(folder: Folder, url: str, *, as_json: bool) -> int:
    from ..errors import LoftyError
    from ..store.files.live import CLOUD, HERE, Live

    def told(report: Report) -> None:
        if as_json:
            data(report_as_json(report))
        else:
            tell(report)

    def failed(error: LoftyError) -> None:
        say(f"lofty: {error}" + (f" (try: {error.hint})" if error.hint else "") + "; going on")

    def quiet(_: Moved) -> None:
        return

    folder.watcher = quiet
    live = Live(folder, HERE if url.startswith("file:") else CLOUD, told=told, failed=failed)
    if not as_json:
        say(f"watching {folder.root} and {url}; Ctrl-C ends it")
    try:
        live.run()
    except KeyboardInterrupt:
        live.stop()
        say("")
        return 130
    return 0
