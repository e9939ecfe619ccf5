"""Making and unmaking: in order, with another try where it helps, and undone in reverse where it fails."""

from __future__ import annotations

from collections.abc import Sequence

from ..drivers.base import Resource
from ..errors import Conflict, LoftyError, Stale
from .clock import Clock
from .retry import DELETE_TRIES, retried


def create(resources: Sequence[Resource], clock: Clock) -> None:
    """Make all of them, or none: a failure (Ctrl-C too) deletes what this call had made, and then raises.

    What existed before is left alone; a failure that took effect in the cloud all the same is deleted too, since
    deleting what is not there is no error."""
    made: list[Resource] = []
    try:
        for resource in resources:
            if retried(resource.read, clock):
                continue
            made.append(resource)
            try:
                retried(resource.create, clock)
            except (Stale, Conflict):
                made.pop()  # another process made it at this moment, or it is not lofty's: not ours to delete
                raise
    except BaseException as error:
        left = destroy(made, clock)
        if left:
            error.add_note(f"not removed: {', '.join(left)}; lofty sweep")
        raise


def destroy(resources: Sequence[Resource], clock: Clock) -> list[str]:
    """Delete all of them, last made first, going on past errors; names what could not be deleted, with the reason.
    The store goes only when nothing else is left: its record is what the next try finds the task by."""
    left: list[str] = []
    for resource in reversed(resources):
        if left and resource.kind == "store":
            left.append(f"store {resource.name} (kept, it knows the rest)")
            continue
        try:
            retried(resource.delete, clock, DELETE_TRIES)
        except (LoftyError, OSError) as error:
            left.append(f"{resource.kind} {resource.name} ({error})")
    return left
