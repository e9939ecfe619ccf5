"""Values: units, names, hardware, money, states."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofty.errors import SpecError
from lofty.model import ids, units
from lofty.model.hardware import GPUS, SIZES, WORDS, check_machine
from lofty.model.money import FREE, Price
from lofty.model.state import (
    ENDED,
    Event,
    Machine,
    State,
    combined,
    extra_cost,
    last_market,
    latest_start,
    machine_seconds,
)

# --- units ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90), ("45s", 45), ("30m", 1800), ("24h", 86400), ("1h30m", 5400), ("2d", 172800), ("1w", 604800),
        ("1.5h", 5400), (" 2H ", 7200), ("0.5", 0.5), ("1d2h3m4s", 93784),
    ],
)  # fmt: skip
def test_a_length_of_time(text: str, seconds: float) -> None:
    assert units.duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "0", "0s", "-5m", "5 m", "m", "5x", "1h30", "h1", "1e3", "ten", "5mm", "nan", "inf"]
)
def test_what_is_no_length_of_time_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(SpecError, match="length of time") as caught:
        units.duration(text)
    assert caught.value.hint


@given(st.integers(1, 10**9), st.sampled_from("smhdw"))
def test_a_length_of_time_is_its_number_times_its_unit(number: int, unit: str) -> None:
    assert units.duration(f"{number}{unit}") == number * {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}[unit]


@pytest.mark.parametrize(
    ("text", "meant"),
    [("8", (8, False)), ("8+", (8, True)), ("16GB+", (16, True)), ("16 GiB", (16, False)), ("0.5", (0.5, False))],
)
def test_an_amount(text: str, meant: tuple[float, bool]) -> None:
    assert units.amount(text) == meant


@pytest.mark.parametrize("text", ["", "0", "-1", "+", "8++", "8 cores", "8-16", "many"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="not an amount"):
        units.amount(text)


@pytest.mark.parametrize(("text", "meant"), [("T4", ("T4", 1)), ("t4:2", ("T4", 2)), ("a100:8", ("A100", 8))])
def test_a_gpu(text: str, meant: tuple[str, int]) -> None:
    assert units.gpu(text) == meant


@pytest.mark.parametrize("text", ["", ":", "T4:0", "T4:x", "T4:-1", "T 4", ":2", "T4:1:1"])
def test_what_is_no_gpu_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="not a GPU"):
        units.gpu(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-3, "0s"),
        (59, "59s"),
        (60, "1m"),
        (3599, "1h00m"),
        (3600, "1h00m"),
        (11100, "3h05m"),
        (86400, "1d0h"),
    ],
)
def test_seconds_as_a_person_reads_them(seconds: float, text: str) -> None:
    assert units.clock(seconds) == text


# --- names ----------------------------------------------------------------------------------------------------


@given(st.text())
def test_any_text_has_a_name_near_it(text: str) -> None:
    assert ids.check_name(ids.slug(text)) == ids.slug(text)
    assert ids.slug(ids.slug(text)) == ids.slug(text)


@pytest.mark.parametrize(
    ("text", "name"), [("My Notebook (2)", "my-notebook-2"), ("train", "train"), ("été", "t"), ("---", "task")]
)
def test_names_stay_readable(text: str, name: str) -> None:
    assert ids.slug(text) == name


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a_b", "a b", "a/b", "a.b", "a" * 41, "ü", "a\n", "../a"])
def test_a_name_that_cannot_serve_everywhere_is_refused(name: str) -> None:
    with pytest.raises(SpecError) as caught:
        ids.check_name(name)
    suggested = (caught.value.hint or "").removeprefix("--name ")
    assert ids.check_name(suggested) == suggested


NAMES = st.from_regex(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)


@given(st.text(), NAMES)
def test_identifiers_can_name_resources_on_every_cloud(owner: str, name: str) -> None:
    made = ids.identifier(owner, ids.check_name(name))
    assert len(made) <= 55
    assert re.fullmatch(r"[a-z][a-z0-9-]*[a-z0-9]", made)
    assert made == ids.identifier(owner, name)


@given(st.lists(st.tuples(st.text(), NAMES), unique=True, min_size=2, max_size=30))
def test_identifiers_of_different_tasks_differ(tasks: list[tuple[str, str]]) -> None:
    assert len({ids.identifier(*task) for task in tasks}) == len(tasks)


def test_owner_and_name_are_not_run_together() -> None:
    assert ids.identifier("ab", "c") != ids.identifier("a", "bc")
    assert ids.identifier("a/b", "c") != ids.identifier("a", "b-c")


@given(st.text(max_size=60), st.lists(st.integers(1, 10**5)))
def test_a_numbered_name_is_new_and_legal(stem: str, taken: list[int]) -> None:
    first = ids.numbered(stem, ())
    names = [f"{first.rpartition('-')[0]}-{number}" for number in taken]
    made = ids.numbered(stem, names)
    assert ids.check_name(made) not in names
    assert int(made.rpartition("-")[2]) == max(taken, default=0) + 1


def test_numbers_count_only_names_of_the_same_stem() -> None:
    assert ids.numbered("train", ["train-9x", "train-big-7", "retrain-5", "train-2", "train"]) == "train-3"


# --- hardware and money ---------------------------------------------------------------------------------------


def test_the_generic_words() -> None:
    assert len(WORDS) == len(set(WORDS)) == len(SIZES) * (1 + len(GPUS))
    assert all(check_machine(word) == word for word in WORDS)


@pytest.mark.parametrize(
    "native", ["", "g4dn.xlarge", "n1-standard-4", "Standard_NC6s_v3", "4-8000", "4-8000+nvidia-tesla-t4*1", "M+T4"]
)
def test_native_types_pass(native: str) -> None:
    assert check_machine(native) == native


@pytest.mark.parametrize(("word", "near"), [("mm", "m"), ("m+t5", "m+t4"), ("xxl", "xl"), ("m+a1000", "m+a100")])
def test_a_mistyped_size_is_named_with_the_nearest(word: str, near: str) -> None:
    with pytest.raises(SpecError, match=re.escape(f"did you mean '{near}'")):
        check_machine(word)


@pytest.mark.parametrize("word", ["m t4", "$(reboot)", "m;ls", "a" * 300, "m\n"])
def test_what_could_be_no_machine_is_refused(word: str) -> None:
    with pytest.raises(SpecError) as caught:
        check_machine(word)
    assert caught.value.hint


def test_prices() -> None:
    assert Price(usd_per_hour=1.2, source="list").cost(1800) == pytest.approx(0.6)
    assert FREE.cost(1e9) == 0
    assert FREE.source


# --- states ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "state"),
    [
        ([], "pending"),
        (["starting", "running"], "running"),
        (["succeeded", "running", "failed"], "running"),
        (["succeeded", "failed"], "failed"),
        (["failed", "lost"], "lost"),
        (["stopping", "succeeded"], "stopping"),
        (["stopped", "succeeded"], "stopped"),
        (["succeeded", "succeeded"], "succeeded"),
    ],
)
def test_a_task_is_alive_while_a_machine_is_and_then_as_the_worst_of_them(states: list[State], state: State) -> None:
    machines = tuple(Machine(id=f"0001.{rank}", state=one) for rank, one in enumerate(states))
    assert combined(machines) == combined(tuple(reversed(machines))) == state


def test_only_the_latest_start_counts() -> None:
    machines = [Machine(id=name) for name in ("0001.0", "0001.1", "0002.0", "0002.1", "0010.0")]
    assert [one.id for one in latest_start(machines)] == ["0010.0"]
    assert latest_start([]) == ()


def test_machine_time_counts_every_start_and_ends_with_the_last_word() -> None:
    machines = [
        Machine(id="0001.0", state="stopped", started=0, ended=10),
        Machine(id="0002.0", state="lost", started=100, heartbeat=130),
        Machine(id="0003.0", state="running", started=200, heartbeat=201),
        Machine(id="0004.0", state="lost", started=300),
        Machine(id="0005.0", state="pending"),
    ]
    assert machine_seconds(machines, now=250) == 10 + 30 + 50


def test_no_state_is_both_alive_and_ended() -> None:
    from lofty.model.state import ALIVE

    assert not ALIVE & ENDED
    assert all(first != second for first, second in pairwise(sorted(ALIVE | ENDED)))


def test_what_a_machine_costs_that_was_had_at_another_price() -> None:
    machines = [
        Machine(id="0001.0", state="interrupted", started=0.0, ended=3600.0),
        Machine(id="0002.0", state="running", started=7200.0, extra_per_hour=0.3),
    ]
    assert machine_seconds(machines, 9000.0) == 5400.0
    assert extra_cost(machines, 9000.0) == pytest.approx(0.15)
    kept = Machine(id="0003.0", state="failed", started=0.0, ended=10.0, kept=True)
    assert machine_seconds([kept], 100.0) == 100.0, "a machine that is kept is paid for"


def test_where_machines_come_from_by_the_last_word() -> None:
    events = [Event(time=float(at), code=code, text="") for at, code in enumerate(["interrupted", "on-demand", "x"])]
    assert (last_market([]), last_market(events)) == ("spot", "on-demand")
    assert last_market([*events, Event(time=9.0, code="spot", text="")]) == "spot"
