"""How the work of a machine came to its end."""

from __future__ import annotations

import msgspec

from ..model.state import State


class End(msgspec.Struct, frozen=True):
    """State and reason, as they will be the last word."""

    state: State
    reason: str = ""
    exit_code: int | None = None
    error: str = ""
    hint: str = ""
    goes_on: bool = False
    """The machine goes away, the task does not: another one is to take it up."""


def of_job(code: int) -> End:
    """By the exit code of its process."""
    return End("succeeded" if code == 0 else "failed", "" if code == 0 else f"exit code {code}", code)


def is_failure(end: End) -> bool:
    """Whether there is something to find out: not where a limit has ended the work."""
    return end.state == "failed" and end.error != "LimitReached"
