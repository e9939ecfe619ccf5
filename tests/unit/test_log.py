"""Output on its way through the store: whatever is fed comes back byte for byte, from any place on."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lofty.agent import log
from lofty.agent.log import BUFFER_BYTES, LINE_CHARACTERS, Log
from lofty.errors import Stale, StoreError
from lofty.model.spec import Process, TaskSpec
from lofty.model.state import Cursor, Event, LogLine, Machine
from lofty.store.base import Data, Store
from lofty.store.records import SEGMENT_BYTES, Records, segment_key

from .support import memory

SPEC = TaskSpec(
    id="lofty-a-1", name="a", owner="me", kind="job", created=1.0, on="fake", processes=(Process(name="job"),)
)  # fmt: skip


def text(lines: Iterable[LogLine], stream: str = "out") -> str:
    return "".join(line.text + line.end for line in lines if line.stream == stream)


def read(store: Store, cursor: Cursor | None = None) -> list[LogLine]:
    return [line for line, _ in Records(store).log(cursor or Cursor())]


PIECES = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from(
            [b"\r", b"\n", b"\r\n", b"\xe2\x82", b"\xac", b"\xff", b"100%\r", "né\n".encode(), b"\xf0\x9f"]
        ),
    ),
    max_size=20,
)


@given(PIECES, st.lists(st.sampled_from(["flush", "settle", ""]), min_size=20, max_size=20))
@example([b"\xed\xa0"], ["flush"])
def test_any_bytes_in_any_pieces_come_back(pieces: list[bytes], between: list[str]) -> None:
    store = memory()
    one = Log(store, "0001.0")
    for piece, then in zip(pieces, between, strict=False):
        one.feed("out", piece)
        if then:
            getattr(one, then)()
    one.settle()
    one.flush()
    # Bytes that may yet become a character are held back until the process ends.
    whole = b"".join(pieces).decode(errors="replace")
    seen = text(read(store))
    assert whole.startswith(seen)
    assert set(whole[len(seen) :]) <= {"\ufffd"}
    assert len(whole) - len(seen) <= 3  # one for each byte of the longest that is not whole yet


@given(PIECES, PIECES)
def test_streams_do_not_mix(out: list[bytes], err: list[bytes]) -> None:
    store = memory()
    one = Log(store, "0001.0")
    for first, second in itertools.zip_longest(out, err, fillvalue=b""):
        one.feed("out", first + b"\n")
        one.feed("err", second + b"\n")
    one.settle()
    one.flush()
    lines = read(store)
    for stream, pieces in (("out", out), ("err", err)):
        longest = max(len(out), len(err))
        fed = b"".join(piece + b"\n" for piece in pieces) + b"\n" * (longest - len(pieces))
        assert text(lines, stream) == fed.decode(errors="replace")


@given(PIECES)
def test_any_cursor_resumes(pieces: list[bytes]) -> None:
    store = memory()
    for machine in ("0001.0", "0001.1"):
        one = Log(store, machine)
        for piece in pieces:
            one.feed("out", piece)
        one.settle()
        one.flush()
    whole = list(Records(store).log(Cursor()))
    for number, (_, cursor) in enumerate(whole):
        again = msgspec.json.decode(msgspec.json.encode(cursor), type=Cursor)
        assert read(store, again) == [line for line, _ in whole[number + 1 :]]


def test_a_reader_who_follows_misses_and_repeats_nothing() -> None:
    store = memory()
    one, cursor, seen = Log(store, "0001.0"), Cursor(), ""
    fed = "".join(f"{number} {'x' * (number * 37 % 2000)}\n" for number in range(900))
    for start in range(0, len(fed), 5000):
        one.feed("out", fed[start : start + 5000].encode())
        one.flush()
        for line, after in Records(store).log(cursor):
            seen, cursor = seen + line.text + line.end, after
    assert seen == fed
    assert cursor.places["0001.0"][0] > 2, "over several segments"


def test_segments_roll_over_and_stay_small() -> None:
    store = memory()
    one = Log(store, "0001.0")
    for number in range(3000):
        one.feed("out", f"{number} {'y' * 300}\n".encode())
        if number % 100 == 0:
            one.flush()
    one.flush()
    sizes = [entry.size for entry in sorted(store.entries("machines/0001.0/log"))]
    assert len(sizes) > 3
    assert all(SEGMENT_BYTES <= size < SEGMENT_BYTES + 1000 for size in sizes[:-1])
    assert [int(line.text.split()[0]) for line in read(store)] == list(range(3000))


def test_a_long_line_is_cut_into_pieces_that_make_it_whole() -> None:
    store = memory()
    one = Log(store, "0001.0")
    for _ in range(4):
        one.feed("out", b"z" * 5_000)
    one.feed("out", b"\nnext\n")
    one.flush()
    lines = read(store)
    assert text(lines) == "z" * 20_000 + "\nnext\n"
    assert max(len(line.text) for line in lines) <= LINE_CHARACTERS
    assert lines[-1].text == "next"


def test_output_without_line_ends_costs_the_agent_no_time() -> None:
    one = Log(memory(), "0001.0")
    began = time.process_time()
    one.feed("out", b"z" * 16_000)
    assert time.process_time() - began < 0.2, "every sign is looked at once, not once for each sign before it"


class Stubborn(Store):
    """Takes nothing for a while."""

    refusing = False

    def put(self, key: str, data: Data, *, durable: bool = False) -> None:
        if self.refusing:
            raise StoreError("no space left")
        super().put(key, data)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=15))
@settings(max_examples=50)
def test_a_store_that_fails_for_a_while_loses_nothing(turns: list[tuple[bool, int]]) -> None:
    store = Stubborn(memory().url)
    one, fed = Log(store, "0001.0"), 0
    for refusing, count in turns:
        store.refusing = refusing
        for _ in range(count):
            one.feed("out", f"{fed}\n".encode())
            fed += 1
        assert one.flush() is (not refusing or not one.dirty)
    store.refusing = False
    assert one.flush()
    assert not one.dirty
    assert text(read(store)) == "".join(f"{number}\n" for number in range(fed))


@pytest.mark.parametrize("width", range(100, 120))
def test_what_did_not_fit_is_said(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "BUFFER_BYTES", 100_000)
    store = Stubborn(memory().url)
    store.refusing = True
    one = Log(store, "0001.0")
    for number in range(2000):
        one.feed("out", f"{number} {'x' * width}\n".encode())
        if number % 500 == 0:
            assert not one.flush()
    store.refusing = False
    assert one.flush()
    lines = read(store)
    assert [line.stream for line in lines].index("sys") == 0, "said where the lines are missing"
    said = " ".join(line.text for line in lines if line.stream == "sys")
    kept = [int(line.text.split()[0]) for line in lines if line.stream == "out"]
    lost = sum(int(number) for number in re.findall(r"(\d+) lines", said))
    assert kept == list(range(2000 - len(kept), 2000)), "the newest are kept"
    assert lost == 2000 - len(kept) > 0


def test_the_bound_is_generous() -> None:
    assert BUFFER_BYTES >= 2**20 * 8


# --- records --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[1,2]", b'[1,"out","\\n"]', b'["x","out","\\n","t"]', b'[1,"evil","\\n","t"]', b"\xff\xfe", b"null"],
)
def test_a_damaged_line_is_said_and_the_others_are_read(raw: bytes) -> None:
    store = memory()
    one = Log(store, "0001.0")
    one.feed("out", b"before\nafter\n")
    one.flush()
    first, second = store.get(segment_key("0001.0", 0)).splitlines(keepends=True)
    store.put(segment_key("0001.0", 0), first + raw + b"\n" + second)
    lines = read(store)
    assert [line.text for line in lines] == ["before", "(a damaged line of the log)", "after"]
    assert lines[1].stream == "sys"


def test_half_a_line_waits_for_the_rest() -> None:
    store = memory()
    one = Log(store, "0001.0")
    one.feed("out", b"whole\nother\n")
    one.flush()
    raw = store.get(segment_key("0001.0", 0))
    store.put(segment_key("0001.0", 0), raw[:-5])
    (pair,) = Records(store).log(Cursor())
    store.put(segment_key("0001.0", 0), raw)
    assert [line.text for line in read(store, pair[1])] == ["other"]


def test_a_name_is_claimed_once_and_told_back() -> None:
    records = Records(memory())
    assert records.spec() is None
    records.create_spec(SPEC)
    records.create_spec(SPEC)  # by another process that had the same idea
    assert records.spec() == SPEC
    with pytest.raises(Stale):
        records.create_spec(msgspec.structs.replace(SPEC, created=2.0))
    assert records.spec() == SPEC


def test_machines_in_order_and_one_claim_each() -> None:
    records = Records(memory())
    for name in ("0002.0", "0001.1", "0001.0"):
        records.claim_machine(Machine(id=name, state="starting"))
    with pytest.raises(Stale):
        records.claim_machine(Machine(id="0001.0"))
    records.put_machine(Machine(id="0001.0", state="running", pid=5))
    assert [(one.id, one.state) for one in records.machines()] == [
        ("0001.0", "running"), ("0001.1", "starting"), ("0002.0", "starting"),
    ]  # fmt: skip
    assert records.machine("0009.0") is None


def test_deadline_events_and_secrets() -> None:
    records = Records(memory())
    assert (records.deadline(), records.events(), records.secret("token")) == (None, (), None)
    records.put_deadline(5.5)
    assert records.deadline() == 5.5
    records.put_deadline(None)
    assert records.deadline() is None
    events = [Event(time=time, code="x", text=str(time)) for time in (1e9, 1.5, 1e9 + 0.25)]
    for event in events:
        records.add_event(event)
    assert [event.time for event in records.events()] == [1.5, 1e9, 1e9 + 0.25]
    records.put_secret("token", "sésame")
    assert records.secret("token") == "sésame"


def test_a_secret_on_a_disk_is_readable_by_nobody_else(tmp_path: Path) -> None:
    """Its folder is private already; the file is so too, for the day when somebody opens that up."""
    records = Records(Store((tmp_path / "task").as_uri()))
    for value in ("first", "second"):
        records.put_secret("token", value)
        assert records.secret("token") == value
        assert (tmp_path / "task" / "private" / "token").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"id": 3}', b"\xff"])
def test_what_cannot_be_read_is_a_store_error_and_not_guessed_at(raw: bytes) -> None:
    store = memory()
    store.put("task.json", raw)
    with pytest.raises(StoreError, match=r"task\.json"):
        Records(store).spec()
