"""When a workspace is at rest, as it was measured on a real server."""

from __future__ import annotations

from typing import NamedTuple

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofty.agent.idle import BUSY_STATES, CPU_SHARE, Activity, Kernel, Terminal, Worked, last_active

NOW = 10_000.0


@pytest.mark.parametrize(
    ("situation", "seen", "worked", "expected"),
    [
        ("nothing there", Activity(), False, 9_000),
        ("idle kernel, no tab", Activity(kernels=[Kernel("idle", 9_916)]), False, 9_916),
        ("idle kernel older than the last look", Activity(kernels=[Kernel("idle", 8_000)]), False, 9_000),
        ("tab open, nobody there", Activity(kernels=[Kernel("idle", 9_966)]), False, 9_966),
        ("silent long cell, tab open", Activity(kernels=[Kernel("busy", 9_000)]), False, NOW),
        ("silent long cell, tab closed", Activity(kernels=[Kernel("busy", 9_972)]), False, NOW),
        ("one of several is busy", Activity(kernels=[Kernel("idle", 1), Kernel("busy", 1)]), False, NOW),
        ("kernel coming up", Activity(kernels=[Kernel("starting", 1)]), False, NOW),
        ("kernel coming back", Activity(kernels=[Kernel("restarting", 1)]), False, NOW),
        ("dead kernel", Activity(kernels=[Kernel("dead", 9_500)]), False, 9_500),
        ("only TensorBoard's tab", Activity(kernels=[Kernel("idle", 9_957)]), False, 9_957),
        ("terminal, quiet", Activity(terminals=[Terminal(9_700)]), False, 9_700),
        ("work from a terminal", Activity(terminals=[Terminal(1)]), True, NOW),
        ("work left by nohup", Activity(), True, NOW),
        ("a notebook was saved", Activity(last_save=9_800), False, 9_800),
        ("keep it running, said the person", Activity(keep=9_990), False, 9_990),
        ("the newest sign counts", Activity([Kernel("idle", 9_100)], [Terminal(9_300)], 9_200, 9_050), False, 9_300),
        ("a clock that runs ahead", Activity(kernels=[Kernel("idle", NOW + 500)]), False, NOW),
    ],
)
def test_the_table(situation: str, seen: Activity, worked: bool, expected: float) -> None:
    assert last_active(seen, worked=worked, before=9_000, now=NOW) == expected, situation


MOMENTS = st.floats(0, NOW)


@given(
    st.lists(st.builds(Kernel, st.sampled_from([*BUSY_STATES, "idle", "dead", "unknown"]), MOMENTS), max_size=4),
    st.lists(st.builds(Terminal, MOMENTS), max_size=3),
    st.one_of(st.none(), MOMENTS),
    st.booleans(),
    MOMENTS,
)
def test_it_never_goes_back_and_never_ahead_of_the_clock(
    kernels: list[Kernel], terminals: list[Terminal], save: float | None, worked: bool, before: float
) -> None:
    answer = last_active(Activity(kernels, terminals, save), worked=worked, before=before, now=NOW)
    assert before <= answer <= NOW
    busy = worked or any(one.execution_state in BUSY_STATES for one in kernels)
    assert answer == NOW or not busy


class Times(NamedTuple):
    """As psutil gives them."""

    user: float
    system: float


class Fake(psutil.Process):
    """A process whose use of the processor a test decides."""

    def __init__(self, pid: int, used: float, born: float = 0.0) -> None:
        self._pid, self.used, self.born, self.gone = pid, used, born, False

    def cpu_times(self) -> Times:  # type: ignore[override]
        if self.gone:
            raise psutil.NoSuchProcess(self._pid)
        return Times(self.used, 0.0)

    def create_time(self) -> float:
        return self.born


def test_work_is_use_of_the_processor_between_two_looks() -> None:
    worked, shell, training = Worked(), Fake(1, 100.0), Fake(2, 5_000.0)
    assert not worked.look([shell, training], 0.0), "what was used before the first look says nothing"
    training.used += 10 * CPU_SHARE * 0.9
    assert not worked.look([shell, training], 10.0)
    training.used += 10 * CPU_SHARE * 1.1
    assert worked.look([shell, training], 20.0)
    assert not worked.look([shell, training], 30.0)


def test_a_new_process_counts_with_all_it_used() -> None:
    worked = Worked()
    assert not worked.look([], 100.0)
    assert worked.look([Fake(3, 2.0)], 110.0)


def test_an_identifier_that_another_process_got_is_another_process() -> None:
    worked = Worked()
    worked.look([Fake(3, 1_000.0, born=1.0)], 100.0)
    assert worked.look([Fake(3, 5.0, born=2.0)], 110.0)


def test_a_process_that_is_gone_is_passed_over() -> None:
    worked, one = Worked(), Fake(3, 1.0)
    worked.look([one], 0.0)
    one.gone = True
    assert not worked.look([one], 10.0)
