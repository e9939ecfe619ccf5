"""`lofty check`: one cloud alone, its policy, and which exit code a failing line gives."""

from __future__ import annotations

import pytest

from lofty.api import Client
from lofty.cli.main import run
from lofty.model.state import Finding

from .conftest import Person


def test_one_cloud_alone(person: Person) -> None:
    told = person.lofty("check", "--on", "local", "--json").json()
    assert {one["on"] for one in told} == {"local"}


def test_the_policy_is_one_document_and_asks_nothing(person: Person) -> None:
    made = person.lofty.ok("check", "--on", "aws", "--policy").json()
    assert made["Version"] == "2012-10-17"
    assert any("ec2:RunInstances" in one["Action"] for one in made["Statement"])


def test_where_there_is_nothing_to_print_or_to_look_at(person: Person) -> None:
    person.refused("check", "--policy", "--on", "local", code=2, says="no policy", tries="--on aws")
    person.refused("check", "--policy", code=2, says="no policy", tries="--on aws")
    person.refused("check", "--on", "loca", code=2, says="did you mean 'local'", tries="lofty check")


@pytest.mark.parametrize(("codes", "exit_code"), [((), 0), ((4,), 4), ((4, 3, 1), 3), ((1, 4), 4)])
def test_access_goes_before_everything_else(
    codes: tuple[int, ...], exit_code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [("aws", Finding(ok=True, what="fine")), *(("aws", _failing(code)) for code in codes)]
    monkeypatch.setattr(Client, "check", lambda self, on: found if on == "aws" else [])
    assert run(["check", "--on", "aws"]) == exit_code
    assert capsys.readouterr().out.count("try: mend it") == len(codes)


def _failing(code: int) -> Finding:
    return Finding(ok=False, what=f"broken {code}", hint="mend it", exit_code=code)
