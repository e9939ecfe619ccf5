"""Faults by name: errors of calls, and manners of machines."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase

import msgspec

from ...errors import (
    CapacityError,
    CloudError,
    Forbidden,
    NotLoggedIn,
    QuotaExceeded,
    Throttled,
    Unavailable,
    unknown_choice,
)

_ERRORS: dict[str, Callable[[str], BaseException]] = {
    "throttled": lambda at: Throttled(f"{at}: too many requests", hint="wait a little", retry_after=1.0),
    "unavailable": lambda at: Unavailable(f"{at}: service unavailable", hint="wait a little", retry_after=2.0),
    "broken": lambda at: CloudError(f"{at}: internal error", hint="lofty check"),
    "no-capacity": lambda at: CapacityError(f"{at}: no such machine is free", hint="try another --region"),
    "quota": lambda at: QuotaExceeded(f"{at}: the account's limit is reached", hint="ask the cloud for more"),
    "forbidden": lambda at: Forbidden(f"{at}: the right is missing", hint="lofty check"),
    "not-logged-in": lambda at: NotLoggedIn(f"{at}: the credentials have expired", hint="lofty check"),
    "interrupted": lambda at: KeyboardInterrupt(at),
}
_MANNERS = ("slow-to-appear", "machine-lost", "never-ready", "never-ends")
FAULTS = (*_ERRORS, *_MANNERS)


class _Fault(msgspec.Struct):
    name: str
    at: str
    after: bool
    times: int | None


class Faults:
    """What is to go wrong, and how often yet."""

    def __init__(self) -> None:
        self._due: list[_Fault] = []

    def add(self, name: str, at: str, *, after: bool, times: int | None) -> None:
        """Raises `ValueError` for a name that is not in `FAULTS`."""
        if name not in FAULTS:
            raise ValueError(unknown_choice("fault", name, FAULTS))
        self._due.append(_Fault(name, at, after, times))

    def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._due.clear()

    def has(self, name: str) -> bool:
        """Whether there is one of that name, used up or not."""
        return any(fault.name == name for fault in self._due)

    def take(self, name: str) -> bool:
        """Whether a fault of that name is due; it is used up once."""
        for fault in self._due:
            if fault.name == name and fault.times != 0:
                fault.times = fault.times - 1 if fault.times else None
                return True
        return False

    def strike(self, call: str, *, after: bool) -> None:
        """Raise what is due at this call."""
        for fault in self._due:
            if fault.name in _ERRORS and fault.after == after and fault.times != 0 and fnmatchcase(call, fault.at):
                fault.times = fault.times - 1 if fault.times else None
                raise _ERRORS[fault.name](call)
