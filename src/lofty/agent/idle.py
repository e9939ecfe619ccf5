"""When is a workspace at rest? Decided from what kernels do, never from open tabs, and never from the server's own
`last_activity`: an abandoned tab keeps that fresh for ever, and a silent training cell lets it grow old."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import psutil

BUSY_STATES = frozenset({"busy", "starting", "restarting"})
CPU_SHARE = 0.05
"""Share of one core above which other work of the task (a terminal's, nohup's, a kernel's threads) counts as
activity; a resting shell or kernel stays far below."""


class Kernel(msgspec.Struct):
    """One kernel as the server sees it."""

    execution_state: str
    last_activity: float


class Terminal(msgspec.Struct):
    """One terminal."""

    last_activity: float


class Activity(msgspec.Struct):
    """What the workspace's own handler tells; asking for it counts as nothing."""

    kernels: list[Kernel] = []
    terminals: list[Terminal] = []
    last_save: float | None = None
    keep: float | None = None


def last_active(seen: Activity, *, worked: bool, before: float, now: float) -> float:
    """Epoch seconds of the last sign of work: `now` while something is busy. `before` is the answer of the last
    look, `worked` whether processes of the task used the processor since."""
    if worked or any(kernel.execution_state in BUSY_STATES for kernel in seen.kernels):
        return now
    marks: list[float] = [before]
    marks += [kernel.last_activity for kernel in seen.kernels]
    marks += [terminal.last_activity for terminal in seen.terminals]
    marks += [mark for mark in (seen.last_save, seen.keep) if mark is not None]
    return min(now, max(marks))


class Worked:
    """Whether processes used the processor between two looks."""

    def __init__(self) -> None:
        self._seen: dict[tuple[int, float], float] = {}
        self._time: float | None = None

    def look(self, processes: Iterable[psutil.Process], now: float) -> bool:
        """True when they used more than `CPU_SHARE` of a core since the last look."""
        used: dict[tuple[int, float], float] = {}
        for process in processes:
            try:
                times = process.cpu_times()
                used[process.pid, process.create_time()] = times.user + times.system
            except psutil.Error:
                continue
        spent = sum(
            total - self._seen.get(who, 0.0 if self._time is not None else total) for who, total in used.items()
        )
        elapsed = now - self._time if self._time is not None else 0.0
        self._seen, self._time = used, now
        return elapsed > 0 and spent / elapsed > CPU_SHARE
