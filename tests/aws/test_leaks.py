"""Nothing leaks, whatever call of making or unmaking a task is struck, and however."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.aws import campaign
from tests.aws.account import Account
from tests.aws.campaign import FAULTS, Phase

WHOLE = os.environ.get("LOFTY_CAMPAIGN") == "1"


@pytest.mark.campaign
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", range(3))
@pytest.mark.parametrize("phase", ["lab", "down"])
def test_every_call_can_be_struck(account: Account, phase: Phase, part: int) -> None:
    """In `make test` every call has one of the faults, in turn."""
    calls = campaign.recorded(account, phase)
    assert len(calls) > 20
    played = 0
    for scenario in campaign.scenarios(phase, calls):
        if scenario.number % 3 == part and (WHOLE or scenario.fault == FAULTS[scenario.number % len(FAULTS)]):
            result = campaign.played(account, scenario, again=WHOLE or scenario.number % 7 == 0)
            print(*result.scenario, "->", result.outcome)
            played += 1
    assert played >= len(calls) // 3


@pytest.mark.parametrize("phase", ["lab", "down"])
def test_the_page_names_the_calls_that_are_made(account: Account, phase: Phase) -> None:
    text = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text()
    section = text.partition(f"## lofty {phase}\n")[2].partition("## ")[0]
    told = {line.split(" | ")[0].removeprefix("| ") for line in section.splitlines() if line.startswith("| ")}
    assert told - {"call"} == set(campaign.recorded(account, phase)), "python docs/reliability.py"
