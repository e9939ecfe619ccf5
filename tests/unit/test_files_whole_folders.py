"""A folder that is new comes whole, or not at all; one that somebody makes meanwhile is not written over."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from lofty.store.files.pack import digest
from lofty.store.files.tree import PIECE, File, Row, encode
from lofty.store.files.write import Take, Writer, clear_parts

from .support import snapshot

NOBODY = 2**22 + 1
"""No process has this number."""


def small(*paths: str) -> dict[str, Take]:
    """Files that hold their own names."""
    return {path: Take(Row(encode(path), File((digest(encode(path)),), len(encode(path)))), None) for path in paths}


def arrive(writer: Writer, takes: Mapping[str, Take], *paths: str) -> None:
    for path in paths or takes:
        writer.whole(path, takes[path], memoryview(encode(path)))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def parts(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.name.startswith(".lofty-part-")]


def test_it_is_seen_when_all_its_files_have_come(tmp_path: Path) -> None:
    takes = small("a/x", "a/y", "a/b/z", "top")
    writer = Writer(tmp_path)
    writer.begin(takes)
    arrive(writer, takes, "top", "a/b/z", "a/x")
    assert [name for name in names(tmp_path) if not name.startswith(".lofty-part-")] == ["top"]
    arrive(writer, takes, "a/y")
    assert not parts(tmp_path), "a/b waited for a"
    writer.end()
    assert {path: Path(tmp_path, path).read_text() for path in takes} == {path: path for path in takes}
    assert writer.done.looks.keys() == takes.keys()
    assert not writer.done.failed


def test_what_has_come_is_kept_when_the_rest_does_not(tmp_path: Path) -> None:
    takes = small("a/x", "a/y", "b/z", "a/b/c/d")
    writer = Writer(tmp_path)
    writer.begin(takes)
    arrive(writer, takes, "a/x", "a/b/c/d")
    writer.end()
    assert names(tmp_path) == ["a"], "no folder of which nothing came"
    assert writer.done.looks.keys() == {"a/x", "a/b/c/d"}
    assert Path(tmp_path, "a/x").read_text() == "a/x"
    assert Path(tmp_path, "a/b/c/d").read_text() == "a/b/c/d"


def test_somebody_makes_the_folder_meanwhile(tmp_path: Path) -> None:
    takes = small("a/x", "a/y")
    writer = Writer(tmp_path)
    writer.begin(takes)
    arrive(writer, takes, "a/x")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_text("mine")
    arrive(writer, takes, "a/y")
    writer.end()
    assert snapshot(tmp_path) == {"a": ("folder", b"", 0), "a/x": ("file", b"mine", 0), "a/y": ("file", b"a/y", 0)}
    assert writer.done.looks.keys() == {"a/y"}
    assert writer.done.failed == {"a/x": "something is in its place"}


@pytest.mark.parametrize("kind", ["file", "link"])
def test_something_else_takes_its_place(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "root"
    (tmp_path / "outside").mkdir()
    root.mkdir()
    takes = small("a/x")
    writer = Writer(root)
    writer.begin(takes)
    if kind == "file":
        (root / "a").write_text("mine")
    else:
        (root / "a").symlink_to(tmp_path / "outside")
    arrive(writer, takes)
    writer.end()
    assert writer.done.failed == {"a/x": "a is no folder here"}
    assert not parts(root)
    assert not list((tmp_path / "outside").iterdir())


def test_behind_a_link_nothing_is_begun(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside").mkdir()
    (root / "link").symlink_to(tmp_path / "outside")
    takes = small("link/new/x")
    writer = Writer(root)
    writer.begin(takes)
    assert not list((tmp_path / "outside").iterdir())
    arrive(writer, takes)
    writer.end()
    assert writer.done.failed == {"link/new/x": "link is no folder here"}


def test_a_folder_with_a_large_file_or_a_link_comes_file_by_file(tmp_path: Path) -> None:
    takes = small("a/x", "b/y")
    takes["a/large"] = Take(Row(b"a/large", File((bytes(32),) * 2, PIECE + 1)), None)
    takes["b/link"] = Take(Row(b"b/link", File(link=b"y")), None)
    writer = Writer(tmp_path)
    writer.begin(takes)
    assert not parts(tmp_path)
    arrive(writer, takes, "a/x", "b/y")
    writer.place("b/link", takes["b/link"])
    writer.end()
    assert writer.done.looks.keys() == {"a/x", "b/y", "b/link"}


def test_what_a_killed_transfer_left_is_cleared(tmp_path: Path) -> None:
    left = tmp_path / f".lofty-part-{NOBODY}-dead-1"
    left.mkdir()
    (left / "x").write_text("half")
    ours = tmp_path / f".lofty-part-{os.getppid()}-other-1"
    ours.mkdir()
    assert clear_parts(tmp_path, [left.name, ours.name])
    assert names(tmp_path) == [ours.name], "what a living process works on stays"


def test_zeros_become_a_hole(tmp_path: Path) -> None:
    content = bytes(1 << 20)
    takes = {"a/zeros": Take(Row(b"a/zeros", File((digest(content),), len(content))), None)}
    writer = Writer(tmp_path)
    writer.begin(takes)
    writer.whole("a/zeros", takes["a/zeros"], memoryview(content))
    writer.end()
    seen = (tmp_path / "a" / "zeros").stat()
    assert (seen.st_size, seen.st_blocks) == (1 << 20, 0)
