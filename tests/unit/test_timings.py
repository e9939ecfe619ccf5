"""What `--timings` says: every stage once, and what is the cloud's and what is lofty's."""

from __future__ import annotations

import time

import pytest

from lofty.cli.output import Progress, tell_timings
from lofty.model.state import Machine, Observation, Stage
from lofty.progress import Reporter, Step


def seen(*stages: Stage, booted: float | None = None) -> Observation:
    return Observation(state="starting", machines=(Machine(id="0001.0", booted=booted, stages=list(stages)),))


def told(asked: float | None, *observations: Observation) -> list[tuple[str, float | None]]:
    steps: list[Step] = []
    reporter = Reporter(steps.append, asked)
    for one in observations:
        reporter.look(one)
    return [(step.name, step.seconds) for step in steps]


def test_the_clouds_time_ends_where_the_machine_comes_to_our_first_line() -> None:
    begun, over = Stage(name="files", started=15.5), Stage(name="files", started=15.5, ended=16.0)
    assert told(10.0, Observation(state="starting"), seen(booted=14.0), *[seen(begun, booted=14.0)] * 2) == [
        ("machine", None),
        ("machine", 4.0),
        ("agent", 1.5),
        ("files", None),
    ]
    assert told(10.0, seen(over, booted=14.0))[-1] == ("files", 0.5)


def test_a_machine_that_says_nothing_of_its_boot_has_no_such_steps() -> None:
    assert told(None, seen(Stage(name="jupyter", started=1.0, ended=2.0))) == [("jupyter", None), ("jupyter", 1.0)]


def test_a_clock_that_is_behind_gives_no_negative_time() -> None:
    assert ("machine", 0.0) in told(10.0, seen(Stage(name="files", started=9.5), booted=9.0))


def test_ours_is_all_but_the_clouds() -> None:
    progress = Progress(quiet=True)
    for name, seconds in (("create", 1.5), ("machine", 20.0), ("agent", 1.0)):
        progress(Step(name, seconds=seconds))
    timings = progress.timings(time.time() - 30)
    assert list(timings) == ["create", "machine", "agent", "other", "total", "own"]
    assert sum(list(timings.values())[:4]) == pytest.approx(timings["total"], abs=0.01)
    assert timings["own"] == pytest.approx(timings["total"] - 20.0, abs=0.002)
    assert timings["total"] == pytest.approx(30.0, abs=5)
    assert "own" not in Progress(quiet=True).timings(time.time())


def test_the_table_says_in_words_what_is_what(capsys: pytest.CaptureFixture[str]) -> None:
    tell_timings({"create": 1.5, "machine": 20.0, "jupyter": 1.25, "total": 24.0, "own": 4.0})
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert lines[1].startswith("the cloud's time") and lines[1].endswith("20.00 s")
    assert lines[-1].startswith("lofty's own") and lines[-1].endswith("4.00 s")
