"""What is written on the things of a task: whose they are, and on the group the whole record, so that one page of
groups tells of a hundred tasks. No secret is in it."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from ...model.spec import TaskSpec

TASK, OWNER = "lofty:task", "lofty:owner"
PART = "lofty:record:"
"""And the number of the part."""
LENGTH, MOST = 256, 50
"""What a tag's value holds, and how many tags a group may have; a record that does not fit is read from the store."""


def tags_of(task: TaskSpec) -> dict[str, str]:
    """Who made it, and what for."""
    return task.tags | {TASK: task.id, "lofty:name": task.name, OWNER: task.owner, "Name": task.id}


def as_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """In the form most of AWS takes."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def as_dict(tags: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """From the form that most of AWS gives."""
    return {str(tag["Key"]): str(tag["Value"]) for tag in tags}


def with_record(task: TaskSpec) -> dict[str, str]:
    """The same, and the record but for the values of variables and the text of scripts, which tags would show to more
    people than the store does; whoever needs those reads it there."""
    options = {key: value for key, value in task.options.items() if key != "env"}
    processes = tuple(msgspec.structs.replace(process, files={}) for process in task.processes)
    shown = msgspec.structs.replace(task, env={}, options=options, processes=processes)
    text = base64.b64encode(zlib.compress(msgspec.json.encode(shown), 9)).decode()
    parts = [text[start : start + LENGTH] for start in range(0, len(text), LENGTH)]
    own = tags_of(task)
    fits = len(own) + len(parts) <= MOST
    return own | ({f"{PART}{number}": part for number, part in enumerate(parts)} if fits else {})


def record_in(tags: Mapping[str, str]) -> TaskSpec | None:
    """The record; None where it is not there, or not whole."""
    parts: list[str] = []
    while (part := tags.get(f"{PART}{len(parts)}")) is not None:
        parts.append(part)
    try:
        found = msgspec.json.decode(zlib.decompress(base64.b64decode("".join(parts))), type=TaskSpec)
    except (ValueError, zlib.error, msgspec.MsgspecError):
        return None
    return found if found.id == tags.get(TASK) else None
