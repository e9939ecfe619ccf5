"""A directory and a bucket, over HTTP: what each thing costs in requests, and what happens when the store fails."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lofty.errors import AccessError, StoreError
from lofty.store import files
from lofty.store.base import Store
from lofty.store.files.tree import PIECE

from ..stores.s3 import S3

PATIENCE = 2.0


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    with S3() as server:
        for name, value in server.environ.items():
            monkeypatch.setenv(name, value)
        yield server


class Side:
    """A directory on one computer."""

    def __init__(self, place: Path, name: str, server: S3, **more: bool) -> None:
        self.root, self.server, self.name, self.place, self.more = place / name, server, name, place, more
        self.root.mkdir()

    def folder(self) -> files.Folder:
        store = Store(f"{self.server.url}/team/project", patience=PATIENCE)
        return files.folder(self.root, store, self.place / f"{self.name}.db", side=self.name, **self.more)  # type: ignore[arg-type]

    def sync(self, **how: object) -> files.Report:
        """As one command does: nothing is remembered but on disk."""
        return self.folder().sync(**how)  # type: ignore[arg-type]

    def counted(self) -> tuple[files.Report, int]:
        before = sum(self.server.requests.values())
        report = self.sync()
        return report, sum(self.server.requests.values()) - before

    def fill(self, count: int = 300) -> None:
        for number in range(count):
            path = self.root / f"d{number % 7}" / f"f{number}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{number}\n" * 200)

    def content(self) -> dict[str, bytes]:
        return {str(p.relative_to(self.root)): p.read_bytes() for p in self.root.rglob("*") if p.is_file()}


@pytest.fixture
def here(tmp_path: Path, s3: S3) -> Side:
    return Side(tmp_path, "here", s3)


@pytest.fixture
def there(tmp_path: Path, s3: S3) -> Side:
    return Side(tmp_path, "there", s3)


def test_what_each_thing_costs(here: Side, there: Side) -> None:
    here.fill(3000)
    report, requests = here.counted()
    assert report.sent == 3000
    assert requests <= 8, "HEAD asked, room looked at, a pack, a shard, a version, HEAD"
    assert here.counted() == (files.Report(version=1), 1)
    report, requests = there.counted()
    assert (report.brought, there.content()) == (3000, here.content())
    assert requests <= 6
    assert there.counted()[1] == 1
    (here.root / "d1/f1.txt").write_text("changed")
    assert here.counted()[1] == 4, "HEAD asked; a pack, a version, HEAD written"
    report, requests = there.counted()
    assert (report.brought, requests) == (1, 3)
    (here.root / "d1/f1.txt").rename(here.root / "moved.txt")
    assert here.counted()[1] == 3, "a renamed file is not sent again"


def test_who_keeps_watching_publishes_without_a_question(here: Side, there: Side) -> None:
    here.fill(20)
    folder = here.folder()
    folder.sync()
    there.sync()
    (here.root / "d1/f1.txt").write_text("one")
    before = sum(here.server.requests.values())
    assert folder.sync(only=["d1/f1.txt"], ahead=True).sent == 1
    assert sum(here.server.requests.values()) - before == 3, "a pack, a version, HEAD"
    # Somebody else was quicker: it is found out, and both are kept.
    there.sync()
    (there.root / "d1/f1.txt").write_text("two")
    there.sync()
    (here.root / "d1/f1.txt").write_text("three")
    report = folder.sync(only=["d1/f1.txt"], ahead=True)
    there.sync()
    assert [kept.path for kept in report.kept] == ["d1/f1.txt"]
    assert (here.root / "d1/f1.txt").read_text() != (here.root / report.kept[0].beside).read_text()
    assert here.content() == there.content()


def test_one_change_in_many_files_writes_little(here: Side, s3: S3) -> None:
    here.fill(3000)
    here.sync()
    for number in range(3):
        before = s3.received
        (here.root / "d1/f1.txt").write_text(f"changed {number}")
        here.sync()
        assert s3.received - before < 4000


def test_a_large_file_sends_only_the_pieces_that_changed(here: Side, there: Side, s3: S3) -> None:
    content = bytearray(os.urandom(3 * PIECE + 1000))
    (here.root / "model.bin").write_bytes(content)
    here.sync()
    content[PIECE + 5] ^= 1
    (here.root / "model.bin").write_bytes(content)
    before = s3.received
    here.sync()
    assert PIECE <= s3.received - before < PIECE + 20_000
    before = s3.received
    (here.root / "model.bin").write_bytes(content + b"more")
    here.sync()
    assert s3.received - before < 30_000
    there.sync()
    assert (there.root / "model.bin").read_bytes() == content + b"more"


FAULTS: dict[str, Callable[[S3], None]] = {
    "500": lambda s3: s3.fail(500, "InternalError", 3),
    "503": lambda s3: s3.fail(503, "SlowDown", 3),
    "409": lambda s3: s3.fail(409, "ConditionalRequestConflict", 1, "PUT .*HEAD"),
    "a cut body": lambda s3: s3.cut(2),
    "a lost answer to HEAD": lambda s3: s3.lose_answer(1, "PUT .*HEAD"),
    "a lost answer to a pack": lambda s3: s3.lose_answer(1, "PUT .*packs"),
    "a stall": lambda s3: s3.stall(1),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_store_that_stumbles_is_asked_again(here: Side, there: Side, s3: S3, fault: str) -> None:
    here.fill(20)
    here.sync()
    (here.root / "new.txt").write_text("new")
    FAULTS[fault](s3)
    report = here.sync()
    assert (report.sent, report.version) == (1, 2)
    assert s3.struck
    s3.heal()
    FAULTS[fault](s3)
    there.sync()
    s3.heal()
    assert there.content() == here.content()
    assert not here.sync().changed


def test_a_store_that_stays_away_is_given_up_with_nothing_lost(here: Side, there: Side, s3: S3) -> None:
    here.fill(20)
    here.sync()
    (here.root / "new.txt").write_text("new")
    (here.root / "d1/f1.txt").unlink()
    s3.fail(500, "InternalError", 10_000)
    with pytest.raises(StoreError) as caught:
        here.sync()
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.hint
    s3.heal()
    assert here.sync().sent == 1
    there.sync()
    assert there.content() == here.content()


@pytest.mark.parametrize("moment", ["pack", "version", "HEAD"])
def test_credentials_that_end_in_the_middle(here: Side, there: Side, s3: S3, moment: str) -> None:
    here.fill(20)
    here.sync()
    there.sync()
    (here.root / "new.txt").write_text("new")
    put, place = Store.put, {"pack": "packs/", "version": "versions/", "HEAD": "HEAD"}[moment]

    def and_then_they_end(self: Store, key: str, data: bytes, **more: bool) -> None:
        if moment == "HEAD" and key.startswith("versions/"):
            put(self, key, data, **more)
            s3.expire()
            return
        if key.startswith(place):
            s3.expire()
        put(self, key, data, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "put", and_then_they_end)
        with pytest.raises(AccessError) as caught:
            here.sync()
    assert "login" in (caught.value.hint or "")
    assert s3.environ["AWS_SECRET_ACCESS_KEY"] not in str(caught.value)
    s3.renew()
    assert not there.sync().changed, "the old view is whole"
    assert here.sync().sent == 1
    there.sync()
    assert there.content() == here.content()


def test_a_full_store_keeps_the_old_view(here: Side, there: Side, s3: S3) -> None:
    here.fill(20)
    here.sync()
    (here.root / "new.txt").write_text("new")
    s3.full()
    with pytest.raises(StoreError):
        here.sync()
    there.sync()
    assert "new.txt" not in there.content()
    s3.room()
    assert here.sync().sent == 1


def test_a_store_that_sends_the_whole_for_a_part_serves_as_well(here: Side, there: Side, s3: S3) -> None:
    s3.ranges = False
    here.fill(20)
    (here.root / "big.bin").write_bytes(os.urandom(PIECE + 300_000))
    here.sync()
    there.sync()
    assert there.content() == here.content()


@pytest.mark.parametrize("how", ["flip", "truncate"])
def test_a_damaged_pack_is_named_and_the_rest_comes(here: Side, there: Side, s3: S3, how: str) -> None:
    here.fill(20)
    (here.root / "big.bin").write_bytes(os.urandom(300_000))
    here.sync()
    largest = max(s3.keys("team/project/packs/"), key=lambda key: len(s3.data(key)))
    getattr(s3, how)(largest)
    report = there.sync()
    assert report.damaged == ["big.bin"]
    assert "pack" in report.skipped["big.bin"]
    assert report.waiting == ["big.bin"]
    expected = here.content()
    del expected["big.bin"]
    assert there.content() == expected
    assert not there.sync().deleted_there, "what could not come was not deleted"
    (here.root / "big.bin").write_bytes(os.urandom(300_000))
    here.sync()
    there.sync()
    assert there.content() == here.content()


def test_two_hours_between_the_clocks_matter_to_nobody(here: Side, there: Side, s3: S3) -> None:
    s3.skew = 7200
    here.fill(5)
    here.sync()
    there.sync()
    s3.skew = -7200
    (there.root / "d1/f1.txt").write_text("later")
    there.sync()
    here.sync()
    assert here.content() == there.content()
    (here.root / "d1/f1.txt").write_text("one")
    (there.root / "d1/f1.txt").write_text("other")
    here.sync()
    there.sync()
    here.sync()
    assert here.content() == there.content()
    assert {b"one", b"other"} <= set(here.content().values())


def test_the_last_push_takes_the_newest_first_and_says_what_is_left(here: Side, there: Side, s3: S3) -> None:
    here.fill(3)
    here.sync()
    for number in range(12):
        path = here.root / f"big{number:02}.bin"
        path.write_bytes(os.urandom(PIECE))
        os.utime(path, (1_700_000_000 + number, 1_700_000_000 + number))
    (here.root / "small.txt").write_text("just saved")
    s3.delay = 0.2
    report = here.sync(mode="push", seconds=0.7)
    s3.delay = 0
    assert "small.txt" not in report.left
    assert 0 < len(report.left) < 13
    there.sync()
    assert (there.root / "small.txt").read_text() == "just saved"
    came = {path.name for path in there.root.glob("big*")}
    # The newest are begun first; of two that are under way at the end, the younger may be the one that arrives.
    assert came <= {f"big{number:02}.bin" for number in range(12 - len(came) - 1, 12)}
    assert here.sync().sent == len(report.left)


def test_a_plain_container_over_http(tmp_path: Path, s3: S3) -> None:
    one, two = Side(tmp_path, "one", s3, plain=True), Side(tmp_path, "two", s3, plain=True)
    one.fill(10)
    (one.root / "big.bin").write_bytes(os.urandom(2 * PIECE + 1))
    one.sync()
    assert s3.keys("team/project/") == sorted(f"team/project/{name}" for name in one.content())
    two.sync()
    assert two.content() == one.content()
    (two.root / "big.bin").write_bytes(b"small now")
    two.sync()
    assert one.counted()[1] <= 2, "one listing, one object"
    assert two.content() == one.content()
