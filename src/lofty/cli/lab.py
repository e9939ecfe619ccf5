"""`lofty lab [PATH]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..errors import Interrupted
from . import options
from .output import Progress, data, document, facts, say, tell_timings

if TYPE_CHECKING:
    from ..store.files.report import Report
    from ..task import Task


def make(verb: str) -> click.Command:
    """`lab` and `notebook` differ in the page that opens."""

    @click.command(name=verb, help=_HELP[verb], short_help=_HELP[verb])
    @click.argument("path", default=".")
    @options.making(verb)
    @options.detach
    @options.dry_run
    @options.yes
    @options.as_json
    @options.timings
    def command(path: str, detach: bool, dry_run: bool, yes: bool, as_json: bool, timings: bool, **given: Any) -> None:
        _lab(
            verb,
            path,
            options.given(given),
            quiet=detach or as_json,
            dry_run=dry_run,
            as_json=as_json,
            timings=timings,
        )

    return command


_HELP = {
    "lab": "Open JupyterLab, Notebook and TensorBoard on PATH, a folder or a notebook (default: here).",
    "notebook": "Open the classic notebook page on PATH, a folder or a notebook (default: here).",
}


def _lab(
    verb: str, path: str, given: dict[str, Any], *, quiet: bool, dry_run: bool, as_json: bool, timings: bool
) -> None:
    import time

    from .. import request
    from ..api import Client

    client = Client()
    _, front = request.opened(path)
    if dry_run:
        from .plans import show

        show(client.plan_lab(path, given), as_json=as_json)
        return
    began = time.time()
    try:
        with Progress(quiet=as_json) as progress:
            task = client.lab(path, progress=progress, **given)
    except KeyboardInterrupt:
        raise Interrupted("left alone; it goes on getting ready", hint="lofty ls") from None
    seconds = progress.timings(began)
    seen = task.observe()
    place = task.addresses
    if place is not None and front:
        place = place.at(front)
    if as_json:
        told = facts(task, seen)
        if place is not None and told["url"]:
            told |= {"url": place.lab, "notebook_url": place.notebook}
        document({**told, **({"timings": seconds} if timings else {})})
        return
    assert place is not None
    first = place.notebook if verb == "notebook" else place.lab
    say(f"{task.name} is {seen.state} on {task.spec.source}")
    data(f"Lab          {place.lab}")
    data(f"Notebook     {place.notebook}")
    data(f"TensorBoard  {place.tensorboard}")
    if timings:
        tell_timings(seconds)
    say(f"It runs on until: lofty stop {task.name}   (files stay; lofty start {task.name} brings it back)")
    if not quiet:
        from .browser import open_page

        open_page(first, client.home)
        if not task.in_place:
            _keep_alike(task)


def _keep_alike(task: Task) -> None:
    """Stay, and keep the folder here and the machine's alike."""

    def told(report: Report) -> None:
        for line in report.told():
            say(line)

    say("Files are kept alike as long as this runs; Ctrl-C leaves the workspace running.")
    try:
        task.attach(told=told, failed=lambda error: say(f"lofty: files: {error}; going on"))
    except KeyboardInterrupt:
        hint = f"lofty pull {task.name}, or lofty lab {task.spec.source} to go on"
        raise Interrupted("left alone; the workspace runs on, files are brought when you ask", hint=hint) from None
    say(f"{task.name} is {task.state}")


command = make("lab")
