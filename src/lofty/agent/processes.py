"""Processes of a task, found as a cloud finds machines: by a tag. Here the tag is a variable that every child
inherits, so that what one process started, another finds, also after the parent has died."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterator

import psutil

TASK_TAG = "LOFTY_STORE"
"""Holds the URL of the task's store in the environment of everything that runs for it: unlike the identifier, two
homes of one person never share it."""
MACHINE_TAG = "LOFTY_MACHINE_ID"
"""Likewise the machine's, for there may be several of one task on one computer."""


def alive(pid: int | None, birth: float | None) -> bool:
    """Whether that very process still runs: the id alone could have gone to another one by now."""
    if pid is None:
        return False
    try:
        process = psutil.Process(pid)
        same = birth is None or abs(process.create_time() - birth) < 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def tagged(
    task: str, machine: str | None = None, spare: Collection[int] = (), before: str = ""
) -> Iterator[psutil.Process]:
    """Every live process of a task, or of one machine of it, or of the machines that sort `before` one; this one and
    those in `spare` excepted."""
    for process in psutil.process_iter():
        if process.pid == os.getpid() or process.pid in spare:
            continue
        try:
            tags = process.environ()
            mine = tags.get(TASK_TAG) == task and machine in (None, tags.get(MACHINE_TAG))
            mine = mine and (not before or tags.get(MACHINE_TAG, "") < before)
            if mine and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except (psutil.Error, OSError):
            continue  # gone meanwhile, or somebody else's


def kill_tagged(task: str, machine: str | None = None, spare: Collection[int] = (), before: str = "") -> int:
    """End everything of a task at once, until a look around finds nothing more; gives how many there were."""
    count = 0
    for _ in range(250):  # a process may fork while it is being looked for
        found = list(tagged(task, machine, spare, before))
        if not found:
            break
        for process in found:
            try:
                process.send_signal(signal.SIGKILL)
                count += 1
            except psutil.Error:
                continue
        # Not longer: where nobody collects the dead, they stay as zombies, for which waiting never ends.
        psutil.wait_procs(found, timeout=0.02)
    return count
