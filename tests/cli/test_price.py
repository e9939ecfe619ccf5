"""Prices as they are shown: those that are known with their source, the others as a dash."""

from __future__ import annotations

import json

import pytest

from lofty.api import Client
from lofty.cli.main import run
from lofty.cli.plans import show
from lofty.engine.plan import Plan
from lofty.model.money import Price
from lofty.model.spec import Process, TaskSpec
from lofty.model.state import Offer

KNOWN = Offer(
    driver="aws",
    region="us-east-1",
    machine="g4dn.xlarge",
    cpus=4.0,
    memory=16.0,
    gpu="T4",
    gpus=1,
    price=Price(usd_per_hour=0.526, source="price list of us-east-1", date="2026-11-26"),
    notes=("said once",),
)
UNKNOWN = Offer(driver="aws", region="us-east-1", machine="t3a.small", cpus=2.0, memory=2.0, price=None)
SPEC = TaskSpec(id="lofty-x", name="x", owner="me", kind="job", created=1.0, on="aws", processes=(Process(name="job"),))


@pytest.fixture(autouse=True)
def _offers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "offers", lambda self, options: [KNOWN, UNKNOWN])


def test_what_is_not_known_is_a_dash(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["price"]) == 0
    shown = capsys.readouterr()
    first, second = shown.out.splitlines()[1:]
    assert first.split()[:7] == ["aws", "us-east-1", "g4dn.xlarge", "4", "16", "T4:1", "0.53"]
    assert first.endswith("price list of us-east-1")
    assert second.split() == ["aws", "us-east-1", "t3a.small", "2", "2", "-", "-", "not", "known"]
    assert shown.err == "note: said once\n"


def test_and_null_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["price", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [one["price"] and one["price"]["usd_per_hour"] for one in told] == [0.526, None]


@pytest.mark.parametrize(("offer", "usd", "text"), [(KNOWN, 0.526, "0.53 USD/h"), (UNKNOWN, None, "- USD/h")])
def test_a_plan_too(offer: Offer, usd: float | None, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    show(Plan(SPEC, offer, ()), as_json=True)
    assert json.loads(capsys.readouterr().out)["price_per_hour"] == usd
    show(Plan(SPEC, offer, ()), as_json=False)
    assert text in capsys.readouterr().out


def test_what_is_not_known_counts_as_dearest() -> None:
    assert sorted([UNKNOWN, KNOWN], key=lambda offer: offer.usd_per_hour) == [KNOWN, UNKNOWN]
