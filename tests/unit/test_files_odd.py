"""Files as they come: odd names, odd kinds, odd moments, full disks, disks that know no case."""

from __future__ import annotations

import errno
import itertools
import os
import socket
import threading
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from lofty.errors import LoftyError, StoreError
from lofty.store import files
from lofty.store.base import Store
from lofty.store.files import merge, read, scan
from lofty.store.files.merge import Do, decide, is_mass
from lofty.store.files.state import State
from lofty.store.files.tree import PIECE, File, clashes, shown, stays
from lofty.store.files.write import Writer

from .sides import newest

_numbers = itertools.count()


class Pair:
    """Two directories and a store."""

    def __init__(self, place: Path) -> None:
        self.place, self.url = place, f"memory://odd-{next(_numbers)}/x"
        self.a, self.b = place / "a", place / "b"
        self.a.mkdir()
        self.b.mkdir()

    def sync(
        self, name: str, mode: merge.Mode = "both", *, force: bool = False, only: list[str] | None = None
    ) -> files.Report:
        folder = files.folder(self.place / name, Store(self.url), self.place / f"{name}.db", side=name)
        return folder.sync(mode, force=force, only=only)

    def across(self) -> files.Report:
        self.sync("a")
        return self.sync("b")


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


NAMES = ["a\nb", b"raw\xff\xfe".decode("utf-8", "surrogateescape"), "x" * 255, "ü", "e\u0301", "-rf", " lead", "trail ",
         "a\\b", "*", "?", "'\"", "#x", "%2e", "\u202egnp.exe", "日本", "😀", "a:b", "con"]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_name_travels(pair: Pair, name: str) -> None:
    (pair.a / name).write_text("1")
    (pair.a / "d").mkdir()
    (pair.a / "d" / name).mkdir()
    (pair.a / "d" / name / name).write_text("2")
    assert pair.across().brought == 2
    assert (pair.b / name).read_text() == "1"
    assert (pair.b / "d" / name / name).read_text() == "2"
    (pair.b / name).unlink()
    pair.sync("b")
    pair.sync("a", only=[])
    assert not (pair.a / name).exists()
    assert shown(name).isprintable()


def test_kinds_of_files(pair: Pair) -> None:
    (pair.a / "empty").touch()
    (pair.a / "folder").mkdir()
    (pair.a / "run").write_text("#!/bin/sh\n")
    (pair.a / "run").chmod(0o755)
    (pair.a / "link").symlink_to("run")
    (pair.a / "dangling").symlink_to("nowhere/yet")
    (pair.a / "folder/up").symlink_to("../run")
    (pair.a / "out").symlink_to("/etc/passwd")
    (pair.a / "far").symlink_to("../../x")
    os.mkfifo(pair.a / "pipe")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(os.path.relpath(pair.a / "sock"))
        report = pair.sync("a")
    assert set(report.skipped) == {"out", "far", "pipe", "sock"}
    pair.sync("b")
    assert (pair.b / "empty").stat().st_size == 0
    assert (pair.b / "run").stat().st_mode & 0o111
    assert not (pair.b / "empty").stat().st_mode & 0o111
    assert {p.name: str(p.readlink()) for p in pair.b.rglob("*") if p.is_symlink()} == {
        "link": "run",
        "dangling": "nowhere/yet",
        "up": "../run",
    }
    (pair.b / "run").chmod(0o644)
    (pair.b / "link").unlink()
    (pair.b / "link").symlink_to("empty")
    pair.sync("b")
    pair.sync("a")
    assert not (pair.a / "run").stat().st_mode & 0o111
    assert str((pair.a / "link").readlink()) == "empty"


def test_a_sparse_file_stays_sparse(pair: Pair) -> None:
    with (pair.a / "sparse").open("wb") as file:
        file.seek(5 * PIECE)
        file.write(b"end")
    pair.across()
    seen = (pair.b / "sparse").stat()
    assert seen.st_size == 5 * PIECE + 3
    assert seen.st_blocks * 512 < PIECE
    assert (pair.b / "sparse").read_bytes() == (pair.a / "sparse").read_bytes()


def test_a_persons_modes_stay(pair: Pair) -> None:
    (pair.a / "private").write_text("1")
    pair.across()
    (pair.b / "private").chmod(0o600)
    pair.sync("b")
    (pair.a / "private").write_text("2")
    pair.across()
    assert (pair.b / "private").read_text() == "2"
    assert (pair.b / "private").stat().st_mode & 0o777 == 0o600


def test_a_folder_far_above_is_no_longer_empty(pair: Pair) -> None:
    """Nobody need have told of the folder between."""
    (pair.a / "d").mkdir()
    pair.across()
    assert list(newest(Store(pair.url))) == ["d/"]
    (pair.a / "d/e/f").mkdir(parents=True)
    (pair.a / "d/e/f/x").write_text("1")
    pair.sync("a", only=["d/e/f/x"])
    assert list(newest(Store(pair.url))) == ["d/e/f/x"]
    (pair.a / "d/e/f/x").unlink()
    (pair.a / "d/e/f").rmdir()
    pair.sync("a", only=["d/e/f/x"])
    assert list(newest(Store(pair.url))) == ["d/e/"]


def test_a_file_that_is_being_written_waits(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    (pair.a / "log").write_text("begun")
    (pair.a / "other").write_text("as it is")
    real = read._read

    def and_it_grows(fd: int, size: int) -> bytes:
        if size == 5 and (content := real(fd, size)) == b"begun":
            with (pair.a / "log").open("a") as file:
                file.write(" and more")
            return content
        return real(fd, size)

    monkeypatch.setattr(read, "_read", and_it_grows)
    report = pair.sync("a")
    assert report.changing == ["log"] and not report.complete
    assert report.told() == ["log: was being written"]
    pair.sync("b")
    assert [path.name for path in pair.b.iterdir()] == ["other"]
    monkeypatch.undo()
    pair.across()
    assert (pair.b / "log").read_text() == "begun and more"


def test_an_edit_of_the_same_size_in_the_same_moment_is_seen(pair: Pair) -> None:
    for number in range(20):
        (pair.a / "x").write_text(f"{number:04}")
        pair.sync("a")
    (pair.a / "x").write_text("last")
    pair.across()
    assert (pair.b / "x").read_text() == "last"
    (pair.b / "x").write_text("LAST")
    pair.sync("b")
    pair.sync("a")
    assert (pair.a / "x").read_text() == "LAST"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_cannot_be_read_is_neither_sent_nor_deleted(pair: Pair) -> None:
    (pair.a / "closed").mkdir()
    (pair.a / "closed/x").write_text("1")
    (pair.a / "y").write_text("2")
    pair.across()
    (pair.a / "closed").chmod(0)
    (pair.a / "y").chmod(0)
    report = pair.sync("a")
    (pair.a / "closed").chmod(0o755)
    (pair.a / "y").chmod(0o644)
    assert "closed/" in report.skipped
    assert report.deleted_there == 0
    assert not pair.sync("b").deleted_here


def test_a_disk_that_fills_up_loses_nothing(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        (pair.a / f"f{number}").write_bytes(os.urandom(100))
    pair.sync("a")
    (pair.b / "mine").write_text("mine")
    real, left = os.pwrite, [10]

    def full(fd: int, data: bytes, offset: int) -> int:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data, offset)

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(LoftyError, match="No space left") as caught:
        pair.sync("b")
    assert "free some space" in (caught.value.hint or "")
    monkeypatch.undo()
    assert not list(pair.b.rglob(".lofty-part-*"))
    pair.sync("b")
    assert len(list(pair.b.iterdir())) == 31
    pair.sync("a")
    assert (pair.a / "mine").read_text() == "mine"


def test_what_cannot_fit_is_not_begun(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    (pair.a / "big").write_bytes(os.urandom(5000))
    pair.sync("a")
    seen = os.statvfs(pair.b)
    monkeypatch.setattr(
        os, "statvfs", lambda _: type("Full", (), {"f_bavail": 1, "f_frsize": 4096, "f_bsize": seen.f_bsize})
    )
    with pytest.raises(LoftyError, match="has room for 4096 bytes, and 5000 are to come"):
        pair.sync("b")
    assert list(pair.b.iterdir()) == []


def test_on_a_disk_that_knows_no_case_nothing_is_written_over(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("Read.me", "1"), ("read.me", "2"), ("e\u0301", "3"), ("\u00e9", "4"), ("fine", "5")):
        (pair.a / name).write_text(text)
    report = pair.sync("a")
    assert len(report.clashes) == 2, "said where it begins"
    monkeypatch.setattr(Writer, "_folds", lambda self: True)
    report = pair.sync("b")
    assert len(report.skipped) == 2
    assert report.brought == 3
    assert sorted(report.waiting) == sorted(report.skipped)
    pair.sync("b")
    monkeypatch.undo()
    assert not pair.sync("a").deleted_here
    assert len(list(pair.a.iterdir())) == 5
    assert clashes(["a", "A", "b", unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")]) == [
        ("a", "A"),
        (unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")),
    ]


def test_a_renamed_folder_is_no_mass_deletion(pair: Pair) -> None:
    (pair.a / "data").mkdir()
    for number in range(40):
        (pair.a / f"data/f{number}").write_text(str(number))
    pair.across()
    (pair.a / "data").rename(pair.a / "moved")
    report = pair.sync("a")
    assert (report.withheld, report.deleted_there) == (0, 40)
    pair.sync("b")
    assert not (pair.b / "data").exists()
    assert len(list((pair.b / "moved").iterdir())) == 40


def test_an_emptied_directory_is_withheld_in_both_directions(pair: Pair) -> None:
    for number in range(30):
        (pair.a / f"f{number}").write_text(str(number))
    pair.across()
    for path in pair.a.iterdir():
        path.unlink()
    assert pair.sync("a").withheld == 30
    assert not pair.sync("b").changed
    assert pair.sync("a", force=True).deleted_there == 30
    assert pair.sync("b").withheld == 30
    assert len(list(pair.b.iterdir())) == 30
    assert pair.sync("b", force=True).deleted_here == 30
    assert [is_mass(*numbers) for numbers in ((2, 2), (3, 3), (24, 30), (25, 49), (25, 51))] == [
        False,
        True,
        False,
        True,
        False,
    ]


def test_two_at_once_on_the_same_directory_wait_for_each_other(pair: Pair) -> None:
    for number in range(200):
        (pair.a / f"f{number}").write_text(str(number))
    troubles: list[BaseException] = []

    def go(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            troubles.append(error)

    threads = [threading.Thread(target=go, args=(lambda name=name: pair.sync(name),)) for name in "abababab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert troubles == []
    pair.across()
    assert len(list(pair.b.iterdir())) == 200


def test_a_damaged_memory_is_begun_anew(pair: Pair) -> None:
    (pair.a / "x").write_text("1")
    pair.across()
    (pair.place / "a.db").write_bytes(b"this is no database" * 1000)
    (pair.b / "y").write_text("2")
    pair.sync("b")
    report = pair.sync("a")
    assert (report.brought, report.kept, report.deleted_there) == (1, [], 0)
    assert (pair.a / "y").read_text() == "2"


def test_a_look_at_some_paths_sees_what_a_look_at_all_sees(pair: Pair) -> None:
    (pair.a / "d/e").mkdir(parents=True)
    (pair.a / "d/e/x").write_text("1")
    (pair.a / "keep").write_text("1")
    pair.across()
    (pair.a / "d/e/x").unlink()
    assert pair.sync("a", only=["d/e/x"]).deleted_there == 1
    pair.sync("b")
    assert (pair.b / "d/e").is_dir(), "an empty folder is something"
    (pair.a / "d/e").rmdir()
    (pair.a / "d/new").mkdir()
    (pair.a / "d/new/y").write_text("2")
    assert pair.sync("a", only=["d/e", "d/new"]).sent == 1
    pair.sync("b")
    assert not (pair.b / "d/e").exists()
    assert (pair.b / "d/new/y").read_text() == "2"
    time.sleep(0.1)  # what was written just now is read once more
    assert not pair.sync("a").changed
    with State(pair.place / "a.db") as state:
        found = scan.scan(pair.a, state, files.folder(pair.a, Store(pair.url), pair.place / "z.db", side="a").rules())
    assert (found.changed, found.missing) == ({}, [])


def test_the_table_of_decisions() -> None:
    old, new, other = (File((bytes([n]) * 32,), 1) for n in range(3))
    table = {
        (old, old, new): (Do.TAKE, Do.NOTHING, Do.TAKE, Do.TAKE),
        (old, new, old): (Do.GIVE, Do.GIVE, Do.NOTHING, Do.NOTHING),
        (old, None, old): (Do.GIVE, Do.GIVE, Do.TAKE, Do.NOTHING),
        (old, old, None): (Do.TAKE, Do.GIVE, Do.TAKE, Do.TAKE),
        (old, new, new): (Do.AGREE,) * 4,
        (old, None, None): (Do.AGREE,) * 4,
        (old, new, None): (Do.GIVE, Do.GIVE, Do.NOTHING, Do.NOTHING),
        (old, None, new): (Do.TAKE, Do.NOTHING, Do.TAKE, Do.TAKE),
        (old, new, other): (Do.BOTH,) * 4,
        (None, new, other): (Do.BOTH,) * 4,
        (None, new, None): (Do.GIVE, Do.GIVE, Do.NOTHING, Do.NOTHING),
        (None, None, new): (Do.TAKE, Do.NOTHING, Do.TAKE, Do.TAKE),
    }
    modes: tuple[merge.Mode, ...] = ("both", "push", "pull", "bring")
    for states, expected in table.items():
        assert tuple(decide(*states, mode) for mode in modes) == expected, states


def test_names_of_what_lost_are_the_same_each_time() -> None:
    def free(_: str) -> bool:
        return False

    assert merge.beside("d/train.py", "laptop", 0.0, free) == "d/train.laptop-19700101T000000Z.py"
    assert merge.beside("Makefile", "b", 1e9, free) == "Makefile.b-20010909T014640Z"
    assert merge.beside(".env", "b", 1e9, free) == ".env.b-20010909T014640Z"
    taken = {"a.b-20010909T014640Z.txt"}
    assert merge.beside("a.txt", "b", 1e9, taken.__contains__) == "a.b-20010909T014640Z-2.txt"
    assert len(merge.beside("ü" * 127 + ".ipynb", "laptop", 1e9, free).encode()) <= 255


@pytest.mark.parametrize(
    ("path", "link", "inside"),
    [("a", "b", True), ("a", "..", False), ("d/a", "../b", True), ("d/a", "../../b", False), ("a", "/b", False),
     ("a", "b/../../c", False), ("a", "b/..", False), ("a", "", False), ("d/e/a", "../..", True), ("a", ".", True)],
)  # fmt: skip
def test_links_that_stay(path: str, link: str, inside: bool) -> None:
    assert stays(path, link) is inside


def test_a_store_that_is_emptied_deletes_nothing_here(pair: Pair) -> None:
    for number in range(5):
        (pair.a / f"f{number}").write_text(str(number))
    pair.across()
    Store(pair.url).clear()
    report = pair.sync("a")
    assert (report.sent, report.deleted_here) == (5, 0)
    assert pair.sync("b").deleted_here == 0
    assert len(list(pair.b.iterdir())) == 5


def test_another_format_is_refused(pair: Pair) -> None:
    Store(pair.url).put("HEAD", b'{"format":2,"store":"x","version":""}')
    with pytest.raises(StoreError, match="another release") as caught:
        pair.sync("a")
    assert "upgrade" in (caught.value.hint or "")
