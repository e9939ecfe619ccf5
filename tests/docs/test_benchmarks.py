"""The benchmarks run, and know how to write their page; how fast things are is not tested here."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("benchmarks.__main__")


def test_every_benchmark_says_what_it_measures(benchmarks: ModuleType) -> None:
    assert list(benchmarks.BENCHMARKS) == [
        *("ready", "cli", "logs", "rest", "first", "aws", "terraform"),
        *(f"sync_{letter}" for letter in "abcdef"),
    ]
    for one in benchmarks.BENCHMARKS.values():
        assert one.TITLE
        assert one.ABOUT
        assert callable(one.run)


def test_the_cheapest_one_runs(benchmarks: ModuleType) -> None:
    figures = benchmarks.BENCHMARKS["cli"].run(1)
    assert [figure.target for figure in figures if figure.target] == ["at most 8", "at most 8"]
    assert all(figure.n == 1 for figure in figures)


def test_a_section_takes_the_place_of_its_older_self(
    benchmarks: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, measure = sys.modules["benchmarks.page"], sys.modules["benchmarks.measure"]
    monkeypatch.setattr(page, "PAGE", tmp_path / "benchmarks.md")
    order = ["a", "b"]
    for name, value in (("b", 1.0), ("a", 2.0), ("b", 3.0)):
        figure = measure.below(measure.Series("delay", [value], "s"), 2.5)
        page.write(name, page.section(name, f"Title {name}", "About.", [figure], (0.0, 0.0)), order)
    text = page.PAGE.read_text()
    assert text.startswith("# Benchmarks")
    assert text.index("## Title a") < text.index("## Title b")
    assert "1.00 s" not in text
    assert "| delay | 2.00 s | 1 | median below 2.5 s | met |" in text
    assert "| delay | 3.00 s | 1 | median below 2.5 s | **missed** |" in text


def test_figures_are_medians_and_ratios_go_round_by_round(benchmarks: ModuleType) -> None:
    measure = sys.modules["benchmarks.measure"]
    ours, theirs = measure.Series("ours", [1.0, 4.0, 3.0], "s"), measure.Series("theirs", [2.0, 5.0, 30.0], "s")
    assert ours.text() == "3.00 s (1.00-4.00)"
    figure = measure.ratio("ours ÷ theirs", ours, theirs, 0.5)
    assert figure.value == "0.50 times (0.10-0.80)"
    assert figure.met
    assert measure.quantile([5.0, 1.0, 2.0, 3.0, 4.0], 0.95) == 5.0
