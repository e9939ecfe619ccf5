"""The machine is about to be taken away: whatever runs on it is told while it can still save something.

A file appears, whose path every process has in `LOFTY_NOTICE`, with the reason in it; and what a kernel runs is
interrupted, as by the person's own Stop, so that `except KeyboardInterrupt` and `finally` of a cell have their turn. A
job's process hears SIGTERM soon after, as at every end.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable
from pathlib import Path

import psutil

from .paths import write_private

VARIABLE = "LOFTY_NOTICE"
WARNED_SECONDS = 5.0
"""Between the word and the end: the shortest notice of a cloud is 30 s, and the last push needs its part of it."""
HURRIED_SECONDS = 1.0
"""The same where the machine is going down already."""


def file(run: Path) -> Path:
    """Where the word will be."""
    return run / "notice"


def warn(run: Path, reason: str, processes: Iterable[psutil.Process]) -> None:
    """Tell them. A kernel that is at rest takes no notice of an interruption."""
    write_private(file(run), f"{reason}\n".encode())
    for process in processes:
        try:
            if _is_kernel(process.cmdline(), run):
                process.send_signal(signal.SIGINT)
        except psutil.Error:
            continue  # it has ended meanwhile


def _is_kernel(words: list[str], run: Path) -> bool:
    """Whatever its language, a kernel is started with the file of its connection."""
    return any(word.startswith(f"{run}/jupyter/kernel-") and word.endswith(".json") for word in words)
