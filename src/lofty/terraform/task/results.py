"""What terraform shows of a task: counts, events and logs in the predecessor's forms."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ...model.state import ALIVE, Event, LogLine, Machine
from ..schema import Values

if TYPE_CHECKING:
    from ...task import Task

FIRST, LAST = 256 * 1024, 768 * 1024
"""Characters of a machine's log that go into the state, from both its ends: terraform carries all of it around at every
step."""


def of(task: Task) -> Values:
    """Everything that is computed but the identifier, as it is now."""
    seen = task.observe()
    return {
        "ssh_public_key": task.records.secret("ssh.pub") or "",
        "ssh_private_key": task.records.secret("ssh") or "",
        "addresses": addresses(seen.machines),
        "status": status(seen.machines),
        "events": events(seen.events),
        "logs": logs(task.logs(), [machine.id for machine in seen.machines]),
    }


NOTHING: Values = {
    "ssh_public_key": "",
    "ssh_private_key": "",
    "addresses": [],
    "status": {},
    "events": [],
    "logs": [],
}
"""Of a task that was just made, or could not be looked at."""


def status(machines: Iterable[Machine]) -> dict[str, int]:
    """How many machines are there and how many have ended how; only what there is any of."""
    counts = {"running": 0, "succeeded": 0, "failed": 0}
    for machine in machines:
        if machine.state in ALIVE:
            counts["running"] += 1
        elif machine.state == "succeeded":
            counts["succeeded"] += 1
        elif machine.state in ("failed", "lost", "stopped"):
            counts["failed"] += 1
    return {word: count for word, count in counts.items() if count}


def events(happened: Iterable[Event]) -> list[str]:
    """`YYYY-MM-DD hh:mm:ss: CODE` and then what it is, in UTC."""
    return [f"{_clock(event.time, ' ')}: {event.code}\n{event.text}" for event in happened]


def logs(lines: Iterable[LogLine], machines: Sequence[str]) -> list[str]:
    """One text for each of these machines: `YYYY-MM-DDThh:mm:ssZ message` a line. What a progress bar wrote over is
    left out, as on a screen; what lofty itself says begins with its name."""
    texts: dict[str, list[str]] = {machine: [] for machine in machines}
    begun: dict[tuple[str, str], tuple[float, str]] = {}
    for line in lines:
        if line.machine not in texts:
            continue
        key = line.machine, line.stream
        at, text = begun.pop(key, (line.time, ""))
        text += line.text
        if line.end == "\n":
            texts[line.machine].append(_line(line.stream, at, text))
        else:
            begun[key] = at, "" if line.end == "\r" else text
    for (machine, stream), (at, text) in begun.items():
        if text:
            texts[machine].append(_line(stream, at, text))
    return [bounded("".join(text)) for text in texts.values()]


def _line(stream: str, at: float, text: str) -> str:
    return f"{_clock(at, 'T')}Z {'lofty: ' if stream == 'sys' else ''}{text.removesuffix(chr(13))}\n"


def _clock(seconds: float, between: str) -> str:
    return time.strftime(f"%Y-%m-%d{between}%H:%M:%S", time.gmtime(seconds))


def bounded(text: str) -> str:
    """What of a log goes into the state."""
    if len(text) <= FIRST + LAST:
        return text
    head, tail = text[:FIRST].rpartition("\n")[0], text[-LAST:].partition("\n")[2]
    left = len(text) - len(head) - len(tail)
    return f"{head}\n({left} characters are left out here; lofty logs shows them)\n{tail}"


def addresses(machines: Iterable[Machine]) -> list[str]:
    """Public addresses of the machines that run."""
    return [machine.public_address for machine in machines if machine.state in ALIVE and machine.public_address]
