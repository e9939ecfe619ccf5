"""Earlier versions: kept, thinned, listed, restored; and what no version needs is deleted, never too early."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import msgspec
import pytest

from lofty.errors import NotFound, UsageError
from lofty.model.units import moment
from lofty.store import files
from lofty.store.base import Store
from lofty.store.files import Packed, garbage, history, version
from lofty.store.files.version import DAY, HOUR, MINUTE, Past, Versions, thin

_numbers = itertools.count()


class Side:
    """A directory and what it remembers."""

    def __init__(self, place: Path, name: str, url: str) -> None:
        self.root, self.memory, self.url = place / name, place / f"{name}.db", url
        self.root.mkdir()
        self.folder = files.folder(self.root, Store(url), self.memory, side=name)

    def write(self, name: str, text: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_text(text)

    def sync(self) -> files.Report:
        return self.folder.sync()

    @property
    def versions(self) -> Versions:
        return Versions(Store(self.url))


@pytest.fixture
def side(tmp_path: Path) -> Side:
    return Side(tmp_path, "a", f"memory://history-{next(_numbers)}/x")


def restore(side: Side, number: int, *paths: str, to: Path | None = None) -> files.Report:
    found = history.find(side.versions, lambda _, n: n <= number)
    assert found.number == number
    layout = Packed(Store(side.url))
    return history.restore(layout, found, side.root, side.memory, paths=paths, side="a", to=to)


def test_versions_are_listed_and_those_of_a_path(side: Side) -> None:
    for text in ("1", "22", "333"):
        side.write("a.txt", text)
        side.write("d/b.txt", "same")
        side.sync()
    assert [one.number for one in history.versions(side.versions)] == [1, 2, 3]
    assert [(one.number, one.size) for one in history.versions(side.versions, "a.txt")] == [(1, 1), (2, 2), (3, 3)]
    assert [one.number for one in history.versions(side.versions, "d")] == [1]
    (side.root / "a.txt").unlink()
    side.sync()
    assert history.versions(side.versions, "a.txt")[-1].size is None
    assert history.versions(side.versions)[-1].removed == 1


def test_a_version_comes_back_and_nothing_unsent_is_lost(side: Side, tmp_path: Path) -> None:
    side.write("a.txt", "old")
    side.write("d/b.txt", "old b")
    side.sync()
    side.write("a.txt", "new")
    (side.root / "d/b.txt").unlink()
    side.write("later.txt", "later")
    side.sync()
    side.write("a.txt", "never sent")
    report = restore(side, 1)
    assert (side.root / "a.txt").read_text() == "old"
    assert (side.root / "d/b.txt").read_text() == "old b"
    assert (side.root / "later.txt").read_text() == "later", "what came later stays"
    assert [(side.root / kept.beside).read_text() for kept in report.kept] == ["never sent"]
    assert side.sync().sent == 3, "a restored file is an edit like any other"
    assert restore(side, 2, "a.txt", to=tmp_path / "aside").brought == 1
    assert (tmp_path / "aside/a.txt").read_text() == "new"
    assert not (tmp_path / "aside/later.txt").exists()


def test_what_was_never_there_is_said(side: Side) -> None:
    with pytest.raises(NotFound, match="no version yet"):
        history.versions(side.versions)
    side.write("a", "1")
    side.sync()
    with pytest.raises(NotFound, match="no version is that old"):
        history.find(side.versions, lambda when, _: when < 5)
    with pytest.raises(NotFound, match="has no nowhere"):
        restore(side, 1, "nowhere")


def test_old_versions_are_thinned_the_youngest_and_the_first_of_each_span_stay() -> None:
    now = 100 * DAY
    line = [
        Past(f"{i:010d}-{i:032x}", now - age, "a") for i, age in enumerate(reversed(range(0, int(40 * DAY), 60)), 1)
    ]
    kept = thin(line, now)
    ages = [now - past.time for past in kept]
    assert sorted(ages, reverse=True) == ages
    assert ages[-1] == 0
    assert all(age in ages for age in range(0, 600, 60)), "all of the last ten minutes"
    for low, high, spacing in ((10 * MINUTE, HOUR, MINUTE), (HOUR, DAY, 15 * MINUTE), (DAY, 30 * DAY, DAY)):
        inside = [age for age in ages if low <= age < high]
        assert len(inside) >= (high - low) / spacing - 2
        assert len(inside) <= (high - low) / spacing + 2
    assert len(kept) < 250
    assert thin(thin(line, now), now) == kept
    assert thin([msgspec.structs.replace(line[0], time=now + 2 * HOUR)], now), (
        "a clock that is ahead is no reason to forget"
    )


def everything(side: Side) -> dict[int, dict[str, bytes]]:
    """Each kept version, whole."""
    layout, found = Packed(Store(side.url)), {}
    for one in history.versions(side.versions):
        rows = layout.versions.rows(layout.versions.manifest(one.name))
        found[one.number] = {row.name: layout.content(row) or b"" for row in rows}
    return found


def age(side: Side, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """The store's clock goes on."""
    monkeypatch.setattr(garbage, "_now", lambda store: max(entry.modified for entry in store.entries()) + seconds)


def test_garbage_goes_in_two_steps_and_versions_stay_whole(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count(1_000_000.0, DAY / 7)
    side.folder.layout = Packed(Store(side.url))
    side.folder.layout.versions._clock = lambda: next(now)
    for number in range(30):
        side.write("a.txt", f"{number}" * 1000)
        side.sync()
    before = everything(side)
    assert len(before) < 15
    keys = {entry.key for entry in side.versions.store.entries()}
    assert garbage.collect(side.versions) == 0, "nothing is old enough to be listed"
    assert {entry.key for entry in side.versions.store.entries()} == {*keys, "garbage/now"}
    age(side, monkeypatch, 2 * HOUR)
    assert garbage.collect(side.versions) == 0, "listed, not deleted"
    view = side.versions.look()
    assert view is not None
    assert view.head.garbage
    monkeypatch.undo()
    assert garbage.collect(side.versions) == 0, "a reader has an hour"
    age(side, monkeypatch, 2 * HOUR)
    assert garbage.collect(side.versions) > 20
    assert everything(side) == before
    view = side.versions.look()
    assert view is not None
    assert view.head.garbage == ""
    assert side.sync().changed is False


def test_what_is_listed_as_garbage_and_needed_again_gets_another_name(
    side: Side, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(version, "MOST_KEPT", 1)
    content = os.urandom(5000).hex()
    for text in (content, "x", "y", "z", "w"):
        side.write("a.txt", text)
        side.sync()
    age(side, monkeypatch, 2 * HOUR)
    garbage.collect(side.versions)
    view = side.versions.look()
    assert view is not None
    listed = side.versions.garbage(view.head)
    old = [key for key in listed if key.startswith("packs/")]
    assert old
    side.write("a.txt", content)
    side.sync()
    assert garbage.collect(side.versions) > 0
    other = Side(tmp_path, "b", side.url)
    other.sync()
    assert (other.root / "a.txt").read_text() == content


def test_a_commit_during_the_deletion_is_not_hurt(side: Side, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "MOST_KEPT", 1)
    for text in ("first", "x", "y", "z"):
        side.write("a.txt", text * 300)
        side.sync()
    age(side, monkeypatch, 2 * HOUR)
    garbage.collect(side.versions)
    kept = side.versions
    delete = kept.store.delete

    called: list[bool] = []

    def and_meanwhile(keys: list[str]) -> None:
        if called:
            return delete(keys)
        called.append(True)
        side.write("a.txt", "first" * 300)
        side.sync()
        return delete(keys)

    monkeypatch.setattr(kept.store, "delete", and_meanwhile)
    garbage.collect(kept)
    monkeypatch.undo()
    assert called
    other = Side(tmp_path, "b", side.url)
    other.sync()
    assert (other.root / "a.txt").read_text() == "first" * 300
    assert everything(side)


def test_points_in_time_as_people_write_them() -> None:
    now = 1_790_000_000.0
    assert moment("12", now)(0, 12)
    assert not moment("#12", now)(0, 13)
    assert moment("2h", now)(now - 7200, 1)
    assert not moment("2h ago", now)(now - 7000, 1)
    assert moment("2026-01-01", now)(1_700_000_000, 1)
    assert not moment("2026-01-01T10:00", now)(now, 1)
    assert moment("00:00", now)(now - 86400, 1)
    assert not moment("00:00", now)(now, 1)
    with pytest.raises(UsageError, match="no point in time"):
        moment("yesterday-ish", now)
