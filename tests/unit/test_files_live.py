"""Two directories kept alike while somebody works; what it costs at rest; what happens when the store is away."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import watchfiles

from lofty.errors import LoftyError, StoreError
from lofty.store import files
from lofty.store.base import Store
from lofty.store.files import live, read
from lofty.store.files.live import HERE, Live, Pace

from ..conftest import eventually

_numbers = itertools.count()


@contextmanager
def running(
    folder: files.Folder, pace: Pace = HERE, failed: Callable[[LoftyError], None] = lambda _: None
) -> Iterator[list[files.Report]]:
    told: list[files.Report] = []
    one = Live(folder, pace, told=told.append, failed=failed)
    thread = threading.Thread(target=one.run)
    thread.start()
    try:
        yield told
    finally:
        one.stop()
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def sides(tmp_path: Path) -> tuple[files.Folder, files.Folder]:
    url = f"memory://live-{next(_numbers)}/x"
    found = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        found.append(files.folder(tmp_path / name, Store(url), tmp_path / f"{name}.db", side=name))
    return found[0], found[1]


def test_what_is_saved_here_appears_there(sides: tuple[files.Folder, files.Folder]) -> None:
    here, there = sides
    with running(here), running(there) as told:
        (here.root / "a.txt").write_text("1")
        eventually(lambda: (there.root / "a.txt").exists(), 5)
        (there.root / "d").mkdir()
        (there.root / "d/b.txt").write_text("2")
        eventually(lambda: (here.root / "d/b.txt").exists(), 5)
        (here.root / "a.txt").rename(here.root / "d/a.txt")
        eventually(lambda: (there.root / "d/a.txt").exists() and not (there.root / "a.txt").exists(), 5)
        (there.root / "d/a.txt").write_text("3")
        eventually(lambda: (here.root / "d/a.txt").read_text() == "3", 5)
    assert sum(report.brought for report in told) >= 2


def test_what_the_system_did_not_tell_is_found_by_looking(
    sides: tuple[files.Folder, files.Folder], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, _ = sides
    monkeypatch.setattr(Live, "_watch", lambda self: None)
    monkeypatch.setattr(live, "SCAN_SHARE", 1.0)
    with running(here, Pace(working=0.05, resting=0.05, full=0.3, publish=0.0)) as told:
        time.sleep(0.2)
        (here.root / "a.txt").write_text("1")
        eventually(lambda: sum(report.sent for report in told) == 1, 5)


def test_what_is_saved_before_the_system_listens_is_found(
    sides: tuple[files.Folder, files.Folder], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, _ = sides
    watch, looked = watchfiles.watch, threading.Event()

    def late(*args: Any, **options: Any) -> Iterator[set[tuple[watchfiles.Change, str]]]:
        assert looked.wait(10)
        (here.root / "a.txt").write_text("1")
        yield from watch(*args, **options)

    monkeypatch.setattr(watchfiles, "watch", late)
    sync = here.sync

    def looking(*args: Any, **options: Any) -> files.Report:
        report = sync(*args, **options)
        looked.set()
        return report

    monkeypatch.setattr(here, "sync", looking)
    with running(here) as told:
        eventually(lambda: sum(report.sent for report in told) == 1, 10)


def test_at_rest_it_asks_seldom(sides: tuple[files.Folder, files.Folder], monkeypatch: pytest.MonkeyPatch) -> None:
    here, _ = sides
    (here.root / "a").write_text("1")
    here.sync()
    asked: list[float] = []
    read_changed = Store.read_changed

    def counted(self: Store, key: str, version: str) -> tuple[bytes, str] | None:
        asked.append(time.monotonic())
        return read_changed(self, key, version)

    monkeypatch.setattr(Store, "read_changed", counted)
    monkeypatch.setattr(live, "ACTIVE", 0.5)
    with running(here, Pace(working=0.05, resting=0.5, full=60, publish=0)):
        time.sleep(2.5)
    early = [moment for moment in asked if moment < asked[0] + 0.5]
    late = [moment for moment in asked if moment > asked[0] + 0.8]
    assert len(early) >= 4
    assert len(late) <= 5


def test_a_day_at_rest_costs_less_than_two_cents() -> None:
    from lofty.agent import claim, pace

    day = 86_400
    for price_of_put, price_of_get in ((0.005, 0.0004), (0.005, 0.0004), (0.0065, 0.0005)):  # S3, GCS, Azure, per 1,000
        puts = day / claim.RENEW_SECONDS
        gets = 2 * day / live.CLOUD.resting + day / pace.CLOUD.deadline  # the machine's look and an attached laptop's
        looks = day / live.TIDY * 3
        assert (puts * price_of_put + (gets + looks) * price_of_get + looks * price_of_put) / 1000 < 0.02


def test_a_file_that_is_written_all_the_time_is_not_published_all_the_time(
    sides: tuple[files.Folder, files.Folder], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, _ = sides
    monkeypatch.setattr(live, "BURST", 2)
    with running(here, Pace(working=0.05, resting=0.05, full=60, publish=1.0)) as told:
        end = time.monotonic() + 3
        while time.monotonic() < end:
            (here.root / "log").write_text(str(time.monotonic()))
            time.sleep(0.05)
    assert 2 <= sum(report.sent for report in told) <= 6


def test_a_file_that_is_written_whenever_it_is_read_is_spoken_of_only_when_that_lasts(
    sides: tuple[files.Folder, files.Folder], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = sides
    real, reads = read._read, []

    def and_it_grows(fd: int, size: int) -> bytes:
        content = real(fd, size)
        if content.startswith(b"log"):
            reads.append(time.monotonic())
            with (here.root / "log").open("ab") as file:
                file.write(b"+")
        return content

    monkeypatch.setattr(read, "_read", and_it_grows)
    monkeypatch.setattr(live, "PATIENCE", 1.0)
    with running(here) as told:
        (here.root / "log").write_bytes(b"log")
        (here.root / "other").write_bytes(b"quiet")
        eventually(lambda: any(report.changing for report in told), 20)
        assert reads[-1] - reads[0] > 1.0
        assert len(reads) > 2
        monkeypatch.undo()
        (here.root / "log").write_bytes(b"done")
        with running(there):
            eventually(lambda: (there.root / "log").exists(), 10)
    assert (there.root / "log").read_bytes() == b"done"


def test_a_machine_that_vanishes_takes_three_seconds_with_it() -> None:
    settling = 2 * live.SETTLE_MS / 1000  # what is saved meanwhile waits for a second round
    assert live.CLOUD.publish + settling < 3


def test_trouble_is_said_once_and_nothing_is_lost(
    sides: tuple[files.Folder, files.Folder], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = sides
    troubles: list[LoftyError] = []
    away = threading.Event()
    swap, create = Store.swap, Store.create

    def refuse(real: Callable[..., str]) -> Callable[..., str]:
        def call(self: Store, *words: object) -> str:
            if away.is_set():
                raise StoreError("the store is away")
            return real(self, *words)

        return call

    monkeypatch.setattr(Store, "swap", refuse(swap))
    monkeypatch.setattr(Store, "create", refuse(create))
    with running(here, failed=troubles.append):
        (here.root / "a").write_text("1")
        eventually(lambda: there.sync().brought or (there.root / "a").exists(), 5)
        away.set()
        (here.root / "b").write_text("2")
        eventually(lambda: troubles, 5)
        time.sleep(1.5)
        assert len(troubles) == 1
        away.clear()
        eventually(lambda: there.sync().brought or (there.root / "b").exists(), 15)
