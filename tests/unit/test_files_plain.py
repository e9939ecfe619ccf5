"""One object per file, in a container of a person's: what is there already counts, nothing else is touched."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from lofty.errors import StoreError
from lofty.store import files
from lofty.store.base import Store
from lofty.store.files.tree import PIECE

_numbers = itertools.count()


@pytest.fixture(params=["memory", "file"])
def container(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A container of a person's, with things of theirs around the sub-path."""
    if request.param == "memory":
        whole = Store(f"memory://plain-{next(_numbers)}")
        url = f"{whole.url}/sub"
    else:
        whole = Store((tmp_path / "container").as_uri())
        url = f"{whole.url}/sub"
    for key in ("top.txt", "sub2/x", "other/y", "subtle"):
        whole.put(key, b"of the person")
    return Store(url)


def around(container: Store) -> dict[str, bytes]:
    whole = Store(container.url.rsplit("/", 1)[0])
    return {e.key: whole.get(e.key) for e in whole.entries() if not e.key.startswith("sub/")}


def objects(container: Store) -> dict[str, bytes]:
    return {entry.key: container.get(entry.key) for entry in container.entries()}


def side(tmp_path: Path, name: str, container: Store) -> files.Folder:
    (tmp_path / name).mkdir(exist_ok=True)
    return files.folder(tmp_path / name, container, tmp_path / f"{name}.db", side=name, plain=True)


def test_a_new_file_has_the_time_of_its_object(container: Store, tmp_path: Path) -> None:
    container.put("x", b"1")
    (entry,) = container.entries()
    here = side(tmp_path, "a", container)
    here.sync()
    assert abs((here.root / "x").stat().st_mtime - entry.modified) < 1e-3
    assert not here.sync().changed


def test_files_go_there_one_by_one_and_come_back(container: Store, tmp_path: Path) -> None:
    before = around(container)
    here, there = side(tmp_path, "a", container), side(tmp_path, "b", container)
    (here.root / "d").mkdir()
    (here.root / "d/x.txt").write_text("x")
    (here.root / "none").touch()
    (here.root / "big").write_bytes(big := os.urandom(2 * PIECE + 5))
    (here.root / "run.sh").write_text("#!/bin/sh\n")
    (here.root / "run.sh").chmod(0o755)
    (here.root / "link").symlink_to("run.sh")
    report = here.sync()
    assert report.sent == 4
    assert "link" in report.skipped
    assert objects(container) == {"d/x.txt": b"x", "none": b"", "big": big, "run.sh": b"#!/bin/sh\n"}
    assert there.sync().brought == 4
    assert (there.root / "big").read_bytes() == big
    assert not here.sync().changed
    assert not there.sync().changed
    (there.root / "d/x.txt").write_text("from b")
    (there.root / "none").unlink()
    there.sync()
    assert here.sync().brought == 1
    assert (here.root / "d/x.txt").read_text() == "from b"
    assert not (here.root / "none").exists()
    (there.root / "run.sh").write_text("changed\n")
    there.sync()
    here.sync()
    assert (here.root / "run.sh").read_text() == "changed\n"
    assert (here.root / "run.sh").stat().st_mode & 0o111, "what cannot be kept there is kept here"
    assert around(container) == before


def test_what_is_there_already_is_taken(container: Store, tmp_path: Path) -> None:
    container.put("data/in.csv", b"1,2")
    container.put("same.txt", b"same")
    container.put("differs.txt", b"theirs")
    folder = side(tmp_path, "a", container)
    (folder.root / "same.txt").write_text("same")
    (folder.root / "differs.txt").write_text("mine")
    report = folder.sync()
    assert (folder.root / "data/in.csv").read_text() == "1,2"
    (kept,) = report.kept
    assert {(folder.root / kept.beside).read_text(), (folder.root / "differs.txt").read_text()} == {"mine", "theirs"}
    assert not folder.sync().changed
    assert set(objects(container)) == {"data/in.csv", "same.txt", "differs.txt", kept.beside}


def test_any_other_tool_may_change_objects(container: Store, tmp_path: Path) -> None:
    folder = side(tmp_path, "a", container)
    for name in ("a", "b", "c"):
        (folder.root / name).write_text(name)
    folder.sync()
    container.put("a", b"changed elsewhere")
    container.delete(["b"])
    container.put("new", b"new")
    report = folder.sync()
    assert (report.brought, report.deleted_here) == (2, 1)
    assert {p.name: p.read_text() for p in folder.root.iterdir()} == {"a": "changed elsewhere", "c": "c", "new": "new"}


def test_an_object_that_changes_under_our_hands_is_not_written_over(
    container: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = side(tmp_path, "a", container)
    (folder.root / "a").write_text("first")
    folder.sync()
    (folder.root / "a").write_text("mine")
    entries, once = Store.entries, [True]

    def and_then_somebody_writes(self: Store, prefix: str = "") -> object:
        found = list(entries(self, prefix))
        if once and prefix == "":
            once.clear()
            container.put("a", b"somebody else's")
        return iter(found)

    monkeypatch.setattr(Store, "entries", and_then_somebody_writes)
    folder.sync()
    contents = {path.read_bytes() for path in folder.root.iterdir()}
    assert contents == {b"mine", b"somebody else's"}
    assert set(objects(container).values()) == contents


def test_names_that_are_no_files_are_left_alone(container: Store, tmp_path: Path) -> None:
    for key in (".git/config", "x/.git/hooks/y", ".lofty/z"):
        container.put(key, b"theirs")
    before = objects(container)
    folder = side(tmp_path, "a", container)
    (folder.root / "a").write_text("1")
    folder.sync()
    assert [path.name for path in folder.root.iterdir()] == ["a"]
    assert objects(container) == {**before, "a": b"1"}


def test_a_container_of_somebodys_is_not_used_for_packs(container: Store, tmp_path: Path) -> None:
    container.put("theirs.txt", b"1")
    packed = files.folder(tmp_path, container, tmp_path / "m.db", side="a")
    (tmp_path / "mine.txt").write_text("1")
    with pytest.raises(StoreError, match=r"holds other things, such as theirs\.txt") as caught:
        packed.sync()
    assert "--plain" in (caught.value.hint or "")
    assert objects(container) == {"theirs.txt": b"1"} or all(
        key.startswith(("packs/", "theirs")) for key in objects(container)
    )


def test_what_was_only_touched_is_not_written_again(container: Store, tmp_path: Path) -> None:
    folder = side(tmp_path, "a", container)
    for name, size in (("small", 10), ("large", PIECE + 1)):
        (folder.root / name).write_bytes(os.urandom(size))
    folder.sync()
    before = {entry.key: entry.version for entry in container.entries()}
    for name in ("small", "large"):
        os.utime(folder.root / name)
    assert not folder.sync().changed
    assert {entry.key: entry.version for entry in container.entries()} == before
