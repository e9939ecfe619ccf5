"""When a file was written goes along where a file is new, so that programs that compare times go on where they were."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import time
from pathlib import Path

import msgspec
import pytest

from lofty.errors import StoreError
from lofty.store import files
from lofty.store.base import Store
from lofty.store.files.packed import Packed
from lofty.store.files.state import State
from lofty.store.files.tree import MOST_TIME, PIECE, File, Place, Row, check_row
from lofty.store.files.version import DELTA

_numbers = itertools.count()
LONG_AGO = 1_500_000_000_123_456_789


class Ways:
    """Directories and a store."""

    def __init__(self, place: Path) -> None:
        self.place, self.url = place, f"memory://times-{next(_numbers)}/x"

    def side(self, name: str) -> Path:
        (self.place / name).mkdir(exist_ok=True)
        return self.place / name

    def sync(self, name: str) -> files.Report:
        folder = files.folder(self.side(name), Store(self.url), self.place / f"{name}.db", side=name)
        return folder.sync()


@pytest.fixture
def ways(tmp_path: Path) -> Ways:
    return Ways(tmp_path)


def write(path: Path, content: bytes = b"1", written: int = LONG_AGO) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(written, written))
    return path


@pytest.mark.parametrize("size", [0, 1, 300_000, PIECE + 1])
@pytest.mark.parametrize("where", ["x", "below/x"])
def test_a_new_file_comes_with_its_time(ways: Ways, size: int, where: str) -> None:
    write(ways.side("a") / where, os.urandom(size))
    ways.sync("a")
    ways.sync("b")
    assert (ways.side("b") / where).stat().st_mtime_ns == LONG_AGO
    for side in "ab":
        report = ways.sync(side)
        assert not report.changed and report.complete


@pytest.mark.parametrize("written", [-(10**18), 2**62 + 5 * 10**9])
def test_odd_times_are_no_reason_to_refuse_a_file(ways: Ways, written: int) -> None:
    """Neither before 1970 nor in the future is anything taken over: it is now."""
    write(ways.side("a") / "x", written=written)
    before = time.time_ns()
    ways.sync("a")
    ways.sync("b")
    assert before <= (ways.side("b") / "x").stat().st_mtime_ns <= time.time_ns()


def test_what_replaces_a_file_is_new(ways: Ways) -> None:
    """An editor that has it open has to see that it is newer than what it read."""
    write(ways.side("a") / "x", b"1")
    ways.sync("a")
    ways.sync("b")
    write(ways.side("a") / "x", b"22", LONG_AGO + 1)
    before = time.time_ns()
    ways.sync("a")
    ways.sync("b")
    assert (ways.side("b") / "x").read_bytes() == b"22"
    assert (ways.side("b") / "x").stat().st_mtime_ns >= before


def test_a_touch_is_no_change(ways: Ways) -> None:
    write(ways.side("a") / "x")
    assert ways.sync("a").version == 1
    os.utime(ways.side("a") / "x")
    assert ways.sync("a").version == 1
    ways.sync("b")
    assert (ways.side("b") / "x").stat().st_mtime_ns == LONG_AGO


def test_an_edit_right_after_it_came_is_seen(ways: Ways) -> None:
    """Its time is an old one: whatever clock tick it is written in, it looks other than it came."""
    for number in range(20):
        write(ways.side("a") / f"d/{number}", b"1")
    ways.sync("a")
    ways.sync("b")
    for number in range(20):
        (ways.side("b") / f"d/{number}").write_bytes(b"2")
    assert ways.sync("b").sent == 20


@pytest.mark.skipif(not shutil.which("make"), reason="no make here")
def test_make_has_nothing_to_do_on_a_new_machine(ways: Ways) -> None:
    here = ways.side("a")
    steps = [f"s{number}" for number in range(30)]
    rules = "".join(f"{new}: {old}\n\tcp {old} {new}\n" for old, new in itertools.pairwise(steps))
    (here / "Makefile").write_text(f"{steps[-1]}: \n{rules}")
    (here / "s0").write_text("begin")
    subprocess.run(["make", "-s", steps[-1]], cwd=here, check=True)
    ways.sync("a")
    ways.sync("b")
    again = subprocess.run(["make", "-q", steps[-1]], cwd=ways.side("b"), check=False)
    assert again.returncode == 0, "make would run something again"
    (ways.side("b") / "s0").write_text("other")
    assert subprocess.run(["make", "-q", steps[-1]], cwd=ways.side("b"), check=False).returncode == 1


def test_what_did_not_change_beside_a_change_is_not_news(ways: Ways) -> None:
    """What is remembered of a path has no time in it: that alone must not make a row another one."""
    for number in range(2 * DELTA):
        write(ways.side("a") / f"{number:04}", b"%d" % number)
    ways.sync("a")
    ways.sync("b")
    for number in range(DELTA + 1):
        write(ways.side("a") / f"{number:04}", b"other %d" % number)
    ways.sync("a")
    with State(ways.place / "b.db") as state:
        assert len(Packed(Store(ways.url)).look(state).changes) == DELTA + 1


@pytest.mark.parametrize("written", [-1, MOST_TIME + 1, 1 << 100])
def test_a_time_that_cannot_be_is_refused(written: int) -> None:
    row = Row(b"x", File((b"h" * 32,), 1), (Place(b"p" * 32),), 5)
    check_row(row)
    with pytest.raises(StoreError, match="cannot be true"):
        check_row(msgspec.structs.replace(row, written=written))
