"""Every call of making and unmaking a task, struck in every way: what comes of it, and that nothing is left.

The calls are found by recording. Each is a scenario of its own: an empty account, one strike, then another computer,
which knows nothing, clears up; then the same name is used again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from lofty.errors import LoftyError
from tests.aws.account import Account, hurry
from tests.cloudbox.api import Call

Phase = Literal["lab", "down"]
Fault = Literal["fails", "lost", "refused", "killed", "killed after"]
FAULTS: tuple[Fault, ...] = ("fails", "lost", "refused", "killed", "killed after")
"""fails: 500, without effect · lost: it took effect, and there is no answer · refused: a right is missing, which no
other try mends · killed: the computer is off before the call had an effect, or after."""


class Scenario(NamedTuple):
    """One call and what happens to it."""

    phase: Phase
    number: int
    call: str
    fault: Fault


class Result(NamedTuple):
    """What came of it."""

    scenario: Scenario
    outcome: str


def recorded(account: Account, phase: Phase) -> list[str]:
    """The calls of one phase, in order, when nothing happens to them."""
    if phase == "lab":
        account.computer()  # its key is made beforehand, as in a scenario
        with account.noting() as calls:
            account.lab()
    else:
        account.lab()
        other = account.computer()
        with account.noting() as calls:
            other.get("one").down(discard=True)
    return [named(call) for call in calls]


def scenarios(phase: Phase, calls: list[str]) -> Iterator[Scenario]:
    """All of a phase."""
    for number, call in enumerate(calls, 1):
        for fault in FAULTS:
            yield Scenario(phase, number, call, fault)


def named(call: Call) -> str:
    """`s3:PutObject task.json`: an object by the first part of its place in the task."""
    key = str(call.params.get("Key") or "")
    place = key.split("/")[2 if key.startswith("tasks/") else 0] if key else ""
    return f"{call.name} {place}".strip()


def played(account: Account, scenario: Scenario, *, again: bool = True) -> Result:
    """Play it; AssertionError where something is left. `again`: use the name again before the account is swept."""
    account.cloud.reset()
    hurry(account.cloud)
    first = account.computer()
    if scenario.phase == "lab":
        _strike(account, scenario)
        outcome = _tried(lambda: account.lab(first))
    else:
        account.lab(first)
        second = account.computer()
        _strike(account, scenario)
        outcome = _tried(lambda: second.get("one").down(discard=True))
    account.cloud.calm()
    killed = scenario.fault.startswith("killed")
    undone = outcome != "done" and scenario.phase == "lab" and not killed
    if undone:
        outcome = "undone" if not account.leftovers() else f"undone but for {len(account.leftovers())} things"
    elif outcome == "done" and scenario.phase == "down" and account.leftovers():
        raise AssertionError(f"{scenario}: down says it is done, and left {account.leftovers()}")
    by = _cleared(account)
    if killed or (scenario.phase == "down" and outcome != "done"):
        outcome = f"{'' if killed else f'{outcome}, '}{by}"
    if again:
        account.lab()
        _cleared(account)
    account.computer().sweep()
    left = account.cloud.leftovers()
    assert left == [], f"{scenario}: left after sweep: {left}"
    return Result(scenario, outcome)


def _strike(account: Account, scenario: Scenario) -> None:
    cloud, number = account.cloud, scenario.number
    match scenario.fault:
        case "fails":
            cloud.fail(number)
        case "lost":
            cloud.lose(number)
        case "refused":
            cloud.fail(number, code="AccessDenied", message="no", status=403)
        case "killed" | "killed after":
            account.kill(number, after=scenario.fault == "killed after")


def _tried(what: object) -> str:
    try:
        assert callable(what)
        what()
    except LoftyError:
        return "an error"
    return "done"


def _cleared(account: Account) -> str:
    """`down` on a computer that knows nothing, and `sweep` only where that leaves something; what it took."""
    other = account.computer()
    if not account.leftovers():
        assert other.tasks() == []
        return "nothing was there"
    for task in other.tasks():
        task.down(discard=True)
    left = account.leftovers()
    if left:
        other.sweep()
        assert account.leftovers() == [], f"left: {account.leftovers()}"
        return "down, then sweep"
    return "down"
