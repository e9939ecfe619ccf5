"""`lofty run FILE`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from ..errors import LoftyError, SpecError
from ..model.units import size
from . import options
from .output import Progress, document, facts, failure, say, tell_timings
from .transfers import files

if TYPE_CHECKING:
    from ..api import Client, Task


@click.command(
    help="Run FILE (.ipynb, .py, .sh or any executable) as a job. Its exit code is the job's own; "
    "125 when lofty itself failed.",
    short_help="Run a notebook or a script as a job",
)
@click.argument("file")
@click.argument("args", nargs=-1)
@options.parameter
@options.making("run")
@options.detach
@options.dry_run
@options.yes
@options.as_json
@options.timings
def command(
    file: str, args: tuple[str, ...], parameters: tuple[str, ...], detach: bool, dry_run: bool, yes: bool,
    as_json: bool, timings: bool, **given: Any,
) -> int:  # fmt: skip
    """Start a job; without -d show its output and pass its exit code on."""
    from ..api import Client

    began, chosen = time.time(), options.given(given)
    task: Task | None = None
    try:
        client = Client()
        if dry_run:
            from .plans import show

            show(client.plan_run(file, args, _parameters(parameters), chosen), as_json=as_json)
            return 0
        with Progress(quiet=as_json) as progress:
            task = client.run(file, *args, parameters=_parameters(parameters), progress=progress, **chosen)
        seconds = progress.timings(began) if timings else {}
        if detach:
            return _detached(task, as_json=as_json, timings=seconds)
        return _attached(client, task, as_json=as_json, timings=seconds)
    except KeyboardInterrupt:
        say(f"\nThe job goes on. Its output: lofty logs -f {task.name if task else ''}".rstrip())
        say(f"To end it: lofty stop {task.name if task else 'NAME'}")
        return 130
    except (LoftyError, OSError) as error:
        if as_json and not isinstance(error, BrokenPipeError):
            kind, hint = (error.kind, error.hint) if isinstance(error, LoftyError) else ("LoftyError", None)
            failure(task.handle.id if task else None, kind, str(error), hint)
        raise


def _parameters(words: tuple[str, ...]) -> dict[str, Any]:
    from ..jupyter.job import typed

    values = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name.isidentifier():
            raise SpecError(f"-p {word}: a parameter is written NAME=VALUE", hint="lofty run NOTEBOOK -p lr=0.1")
        values[name] = typed(value)
    return values


def _detached(task: Task, *, as_json: bool, timings: dict[str, float]) -> int:
    if as_json:
        document({**_outcome(task, None), **({"timings": timings} if timings else {})})
    else:
        tell_timings(timings)
        say(f"{task.name} is {task.state}. Its output: lofty logs -f {task.name}")
    return 0


def _attached(client: Client, task: Task, *, as_json: bool, timings: dict[str, float]) -> int:
    for line in task.logs(follow=True):
        # With --json, stdout belongs to the one document at the end.
        out = sys.stdout if line.stream == "out" and not as_json else sys.stderr
        text = line.text if line.stream != "sys" else f"lofty: {line.text}"
        out.write(text + line.end)
        out.flush()
    code = task.wait()
    if task.spec.workdir == "":
        report = task.pull()
        say(f"{files(report.brought)} came back ({size(report.brought_bytes)})")
        for note in report.told():
            say(note)
    seen = task.observe()
    if as_json:
        document({**_outcome(task, code), **({"timings": timings} if timings else {})})
    else:
        _tell_end(task, seen.state, seen.reason, timings)
    return 125 if code is None or (code == 0 and seen.state != "succeeded") else code


def _tell_end(task: Task, state: str, reason: str, timings: dict[str, float]) -> None:
    tell_timings(timings)
    if state != "succeeded":
        say(f"lofty: {task.name} {state}" + (f": {reason}" if reason else ""))
    if task.output is not None and task.output.exists():
        say(f"executed notebook: {task.output}")


def _outcome(task: Task, code: int | None) -> dict[str, Any]:
    seen = task.observe()
    kind = next((one.error for one in seen.machines if one.error), "")
    if seen.state == "lost":
        kind = "TaskFailed"
    error = {"kind": kind, "message": seen.reason, "hint": f"lofty logs {task.name}"} if kind else None
    return {**facts(task, seen), "exit_code": code, "error": error}
