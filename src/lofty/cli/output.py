"""What people and programs see: tables, JSON, progress, hints."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

import msgspec

from ..model.state import ALIVE, Observation
from ..model.units import clock, size

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live

    from ..api import Step, Task
    from ..model.spec import TaskSpec
    from ..store.files.report import Moved

STAGES = {
    "create": "preparing",
    "machine": "waiting for a machine",
    "agent": "starting lofty there",
    "files": "bringing files",
    "environment": "making the environment",
    "jupyter": "starting Jupyter",
    "notebook": "starting the notebook",
    "job": "starting the job",
}
"""How a stage is called while it goes on."""
TIMINGS = {
    **STAGES,
    "create": "preparing, and sending files",
    "machine": "the cloud's time: a machine, its boot",
    "reach": "opening the way to it",
    "other": "finding an offer, and between",
    "own": "lofty's own: total less the cloud's",
}
"""How it is called by `--timings`."""


def say(text: str) -> None:
    """Talk, on stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def data(text: str) -> None:
    """Data, on stdout."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def document(value: object) -> None:
    """One JSON document on stdout, indented for a terminal."""
    raw = msgspec.json.encode(value)
    data((msgspec.json.format(raw, indent=2) if sys.stdout.isatty() else raw).decode())


def failure(task: str | None, kind: str, message: str, hint: str | None) -> None:
    """The one document of a `run` that lofty itself could not carry through."""
    error = {"kind": kind, "message": message, "hint": hint}
    document({"id": task, "state": "failed", "exit_code": 125, "output": None, "error": error})


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], out: TextIO | None = None) -> None:
    """Columns as wide as they need, the last one as it comes; plain text, so that it can be cut and searched."""
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
    for row in (heads, *rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        (out or sys.stdout).write("  ".join(cells).rstrip() + "\n")


FACTS = (
    *("id", "name", "kind", "state", "reason", "url", "notebook_url", "tensorboard_url", "on", "region", "machine"),
    *("machines", "price_per_hour", "cost", "time_left", "directory", "output", "created"),
)
"""What JSON says of every task, be it known or null."""


def facts(task: Task, seen: Observation, *, addresses: bool = True) -> dict[str, Any]:
    """A task as JSON; what is not known is null, and so are addresses that are not asked for."""
    import time

    spec = task.record.spec
    if spec is None:
        return {**dict.fromkeys(FACTS), "id": task.handle.id, "name": task.name, "kind": "remains", "state": seen.state}
    now = time.time()
    alive = seen.state in ALIVE
    limits = [machine.idle_at for machine in seen.machines if machine.idle_at and alive]
    kept = any(machine.kept for machine in seen.machines)
    limits += [seen.deadline] if seen.deadline and (alive or kept) else []
    price = spec.price.usd_per_hour if spec.price else None
    place = task.addresses if alive and addresses else None
    return {
        "id": spec.id,
        "name": spec.name,
        "kind": spec.kind,
        "state": seen.state,
        "reason": seen.reason or None,
        "url": place.lab if place else None,
        "notebook_url": place.notebook if place else None,
        "tensorboard_url": place.tensorboard if place else None,
        "on": spec.on,
        "region": task.handle.region,
        "machine": _machine(spec, seen),
        "machines": [
            {
                "id": one.id,
                "rank": one.rank,
                "state": one.state,
                "exit_code": one.exit_code,
                "pid": one.pid,
                "kept": one.kept,
            }
            for one in seen.machines
        ],
        "price_per_hour": price,
        "cost": price * seen.machine_seconds / 3600 + seen.extra_cost if price is not None else None,
        "time_left": max(0.0, min(limits) - now) if limits else None,
        "directory": spec.source,
        "output": str(task.output) if task.output else None,
        "created": spec.created,
    }


def _machine(spec: TaskSpec, seen: Observation) -> str | None:
    """The type of the machine there is; where there is none now, what was asked for, if anything was."""
    if spec.on == "local":
        return "this-machine"
    return next((one.type for one in seen.machines if one.type), spec.need.machine) or None


def money(value: float | None) -> str:
    """USD for a table."""
    return "-" if value is None else f"{value:.2f}" if value == 0 or value >= 0.01 else f"{value:.4f}"


def left(seconds: float | None) -> str:
    """Time left for a table."""
    return "-" if seconds is None else clock(seconds)


TOLD_EVERY = 10.0
"""Seconds between lines about a transfer where nothing can be drawn."""


class Transfer:
    """A transfer under way."""

    def __init__(self, moved: Moved, now: float) -> None:
        self.what, self.moved, self.told = moved.what, moved, now
        self._began, self._bytes_before = now, moved.bytes

    def line(self, now: float) -> str:
        """Files, bytes, rate and time left."""
        moved = self.moved
        rate = (moved.bytes - self._bytes_before) / max(0.001, now - self._began)
        left = clock((moved.of_bytes - moved.bytes) / rate) if rate > 0 else "?"
        verb = "sending" if moved.what == "send" else "bringing"
        files = "1 file" if moved.files == 1 else f"{moved.files} files"
        return f"{verb} {files}: {size(moved.bytes)} of {size(moved.of_bytes)}, {size(rate)}/s, {left} left"


class Progress:
    """Stages while a person waits: drawn on a terminal, a line each through a pipe; the seconds are kept."""

    def __init__(self, *, quiet: bool = False, as_json: bool = False) -> None:
        self._quiet, self._as_json = quiet or as_json, as_json
        self._transfer: Transfer | None = None
        self._live: Live | None = None
        self._lines: list[Step] = []
        self._done: list[Step] = []

    def __enter__(self) -> Progress:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(self, console=Console(stderr=True), refresh_per_second=10, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __call__(self, step: Step) -> None:
        """Take note of a step."""
        if step.moved is not None:
            self.moved(step.moved)
            return
        if step.name == "note":
            self._print(f"note: {step.note}")
            return
        if step.seconds is None:
            self._lines.append(step)
            if self._live is None and not self._quiet:
                say(f"{STAGES.get(step.name, step.name)} ...")
        else:
            self._done.append(step)
            self._lines = [line for line in self._lines if line.name != step.name]
        if self._live is not None:
            self._live.refresh()

    def moved(self, moved: Moved) -> None:
        """Take note of how far a transfer is. On a terminal it is drawn, otherwise told every ten seconds."""
        import time

        now = time.monotonic()
        if self._transfer is None or self._transfer.what != moved.what or moved.bytes < self._transfer.moved.bytes:
            self._transfer = Transfer(moved, now)
        self._transfer.moved = moved
        if self._live is None and now - self._transfer.told >= TOLD_EVERY:
            self._transfer.told = now
            if self._as_json:
                say(msgspec.json.encode({"event": "moved", **msgspec.to_builtins(moved)}).decode())
            elif not self._quiet:
                say(self._transfer.line(now))

    def _print(self, text: str) -> None:
        if self._live is not None:
            self._live.console.print(text, markup=False, highlight=False)
        else:
            say(text)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """What the terminal shows now."""
        from rich.spinner import Spinner
        from rich.text import Text

        for step in self._done:
            note = f" ({step.note})" if step.note else ""
            yield Text(f"✓ {STAGES.get(step.name, step.name)}{note}  {step.seconds or 0:.1f} s", style="green")
        if self._transfer is not None and self._transfer.moved.bytes < self._transfer.moved.of_bytes:
            import time

            yield Spinner("dots", text=self._transfer.line(time.monotonic()))
        elif self._lines:
            yield Spinner("dots", text=f"{STAGES.get(self._lines[-1].name, self._lines[-1].name)} ...")

    def timings(self, began: float) -> dict[str, float]:
        """Seconds of each stage that is over, and of all since `began` (epoch seconds), with what belongs to no stage
        as `other`. Where a cloud had to start a machine, `own` is what lofty itself took: everything but that."""
        import time

        spent = {step.name: step.seconds or 0.0 for step in self._done}
        total = time.time() - began
        spent |= {"other": max(0.0, total - sum(spent.values())), "total": total}
        if "machine" in spent:
            spent["own"] = spent["total"] - spent["machine"]
        return {name: round(seconds, 3) for name, seconds in spent.items()}


def tell_timings(timings: Mapping[str, float]) -> None:
    """A line for each stage."""
    for name, seconds in timings.items():
        say(f"{TIMINGS.get(name, name):40} {seconds:7.2f} s")
