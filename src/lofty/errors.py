"""Everything that lofty raises, in one tree.

    LoftyError                      exit 1
    ├── UsageError                  exit 2   the request is wrong; nothing was done
    │   ├── SpecError                        a value in a file, option or variable
    │   ├── NotFound                         no task of that name
    │   ├── Ambiguous                        several tasks fit
    │   ├── Conflict                         the name is taken by something else
    │   ├── Unsupported                      this driver does not claim that feature
    │   └── MissingExtra                     an optional part is not installed
    ├── AccessError                 exit 3   credentials or rights
    │   ├── NotLoggedIn
    │   └── Forbidden
    ├── CapacityError               exit 4   nothing to be had
    │   ├── NoOffer
    │   └── QuotaExceeded
    ├── LimitReached                exit 5   deadline or budget
    ├── Interrupted                 exit 130 Ctrl-C while waiting
    ├── CloudError                  exit 1   the other side failed; often worth another try
    │   ├── Throttled
    │   └── Unavailable
    ├── StoreError                  exit 1   files or records could not be read or written
    │   ├── Stale                            somebody else swapped first
    │   └── Damaged                          what came out is not what was put in
    ├── EnvironmentFailed           exit 1   packages could not be installed
    └── TaskFailed                  exit 1   the task ended badly

Each carries what happened (the message), the command to run next (`hint`), and whether trying again can help
(`retry_after`: seconds, or None when it cannot). A message never holds a secret.
"""

from __future__ import annotations


class LoftyError(Exception):
    """Base of all errors; its message says what happened, `hint` what to do about it."""

    exit_code: int = 1

    def __init__(self, message: str, *, hint: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.retry_after = retry_after

    @property
    def kind(self) -> str:
        """The class's name, as `error.kind` in JSON output."""
        return type(self).__name__


class UsageError(LoftyError):
    """The request itself is wrong; nothing was done."""

    exit_code = 2


class SpecError(UsageError):
    """A value in an option, a variable or a configuration file cannot be used."""


class NotFound(UsageError):
    """No task fits the name."""


class Ambiguous(UsageError):
    """Several tasks fit the name."""


class Conflict(UsageError):
    """The name belongs to a task that was made from another place or with other options."""


class Unsupported(UsageError):
    """The driver does not claim the feature asked for."""


class AccessError(LoftyError):
    """The credentials at hand do not reach that far."""

    exit_code = 3


class NotLoggedIn(AccessError):
    """There are no credentials, or they have expired."""


class Forbidden(AccessError):
    """The credentials are good, but lack a right."""


class CapacityError(LoftyError):
    """What was asked for is not to be had at the moment."""

    exit_code = 4


class NoOffer(CapacityError):
    """No machine fits the need."""


class QuotaExceeded(CapacityError):
    """The account's limit is reached."""


class LimitReached(LoftyError):
    """A deadline or a budget has ended the work."""

    exit_code = 5


class Interrupted(LoftyError):
    """The person pressed Ctrl-C while lofty waited; the task goes on."""

    exit_code = 130


class CloudError(LoftyError):
    """The other side failed."""


class Throttled(CloudError):
    """Too many requests; later is better."""


class Unavailable(CloudError):
    """The service did not answer, or answered that it cannot."""


class StoreError(LoftyError):
    """Files or records could not be read from, or written to, the store."""


class Stale(StoreError):
    """A compare-and-set found that somebody else had written first."""


class Damaged(StoreError):
    """What came out of the store is not what was put in, or is missing there."""


class EnvironmentFailed(LoftyError):
    """The packages that the task needs could not be installed."""


class TaskFailed(LoftyError):
    """The task ended badly."""


class MissingExtra(UsageError):
    """An optional part of lofty is not installed."""


def unknown_choice(what: str, given: str, choices: tuple[str, ...] | list[str]) -> str:
    """One line that names a wrong word, the nearest right one, and otherwise all of them."""
    from difflib import get_close_matches

    near = get_close_matches(given, choices, n=1, cutoff=0.5)
    if near:
        return f"unknown {what} '{given}': did you mean '{near[0]}'?"
    return f"unknown {what} '{given}': choose from {', '.join(choices)}"
