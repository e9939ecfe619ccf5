"""A directory through the store and back, and what a hostile store may not do."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lofty.errors import LoftyError, StoreError
from lofty.store import files
from lofty.store.base import Store
from lofty.store.files import File, Head, Manifest

from .support import memory, snapshot


@pytest.fixture
def store() -> Store:
    return memory()


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


@pytest.fixture
def there(tmp_path: Path) -> Path:
    return tmp_path / "there"


# --- round trips ----------------------------------------------------------------------------------------------


def test_what_goes_comes_back_the_same(store: Store, here: Path, there: Path) -> None:
    (here / "sub" / "deep").mkdir(parents=True)
    (here / "plain.txt").write_text("hello")
    (here / "empty").touch()
    (here / "run.sh").write_text("#!/bin/sh\n")
    (here / "run.sh").chmod(0o755)
    (here / "sub" / "line\nbreak").write_text("1")
    (here / "sub" / "ünï 日本 🎉.bin").write_bytes(bytes(range(256)))
    (here / "sub" / 'a:b\\c*?"<>|').write_text("2")
    (here / "link").symlink_to("plain.txt")
    (here / "sub" / "deep" / "up").symlink_to("../../plain.txt")
    (here / "sub" / "folder").symlink_to("deep")
    (here / "dangling").symlink_to("not/there")
    before = snapshot(here)
    report = files.push(here, store)
    assert report.skipped == []
    files.pull(store, there, None)
    assert snapshot(there) == snapshot(here) == before
    assert os.access(there / "run.sh", os.X_OK)
    assert not os.access(there / "plain.txt", os.X_OK)


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=30).filter(
    lambda name: name not in (".", "..") and len(name.encode()) < 200
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(NAMES, st.binary(max_size=200), max_size=8))
def test_any_names_and_any_bytes_come_back(content: dict[str, bytes]) -> None:
    store = memory()
    with tempfile.TemporaryDirectory() as scratch:
        here, there = Path(scratch, "here"), Path(scratch, "there")
        here.mkdir()
        for name, data in content.items():
            (here / name).write_bytes(data)
        files.push(here, store)
        files.pull(store, there, None)
        found = {path.name: path.read_bytes() for path in there.iterdir()}
        sent = {path.name: path.read_bytes() for path in here.iterdir()}
    left_out = {name for name in sent if any(fnmatch(name, glob) for glob in files.ALWAYS_LEFT_OUT)}
    assert found == {name: data for name, data in sent.items() if name not in left_out}


def test_what_can_be_made_again_and_what_looks_like_a_secret_stays_here(store: Store, here: Path) -> None:
    for name in (".git/config", ".venv/x", "sub/__pycache__/y.pyc", ".env", "key.pem", "id_rsa", "keep/.env.local"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).touch()
    (here / "keep" / "data.csv").touch()
    (here / "keep" / "big.bin").touch()
    files.push(here, store, exclude=("*.bin",))
    found = files.manifest(store)
    assert found is not None
    assert list(found.files) == ["keep/data.csv"]


def test_links_that_lead_out_stay_here(store: Store, here: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("secret")
    (here / "sub").mkdir()
    for number, target in enumerate(("../outside", str(tmp_path / "outside"), "sub/../../outside", "/etc/passwd")):
        (here / f"link{number}").symlink_to(target)
    (here / "loop").symlink_to("loop")
    (here / "inside").symlink_to("sub")
    report = files.push(here, store)
    found = files.manifest(store)
    assert found is not None
    assert set(found.files) == {"loop", "inside"}
    assert report.bytes == 0


def test_a_name_that_is_no_text_and_what_cannot_be_read_is_said(store: Store, here: Path) -> None:
    (here / "good").write_text("1")
    (here / os.fsdecode(b"bad\xff")).touch()
    report = files.push(here, store)
    assert report.skipped == ["bad\\udcff"]
    found = files.manifest(store)
    assert found is not None
    assert list(found.files) == ["good"]


def test_a_file_that_cannot_be_read_is_said(store: Store, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "sub").mkdir()
    (here / "closed").mkdir()
    (here / "sub" / "secret").touch()
    real_read, real_scan = Path.read_bytes, os.scandir

    def read(path: Path) -> bytes:
        if path.name == "secret":
            raise PermissionError(13, "Permission denied")
        return real_read(path)

    def scan(path: Path) -> object:
        if path.name == "closed":
            raise PermissionError(13, "Permission denied")
        return real_scan(path)

    monkeypatch.setattr(Path, "read_bytes", read)  # root may read everything, so permissions would not show it
    monkeypatch.setattr(os, "scandir", scan)
    assert sorted(files.push(here, store).skipped) == ["closed/", "sub/secret"]


def test_the_same_content_goes_once(store: Store, here: Path) -> None:
    (here / "a").write_text("same")
    (here / "b").write_text("same")
    assert files.push(here, store).written == 1
    assert files.push(here, store).written == 0
    assert files.newest(store) == 2


def test_every_version_can_be_had(store: Store, here: Path) -> None:
    for number in (1, 2, 3):
        (here / "a").write_text(str(number))
        files.push(here, store)
    hashes = []
    for number in (1, 2, 3):
        version = files.manifest(store, number)
        assert version is not None
        hashes.append(store.get(f"files/objects/{version.files['a'].hash}"))
    assert hashes == [b"1", b"2", b"3"]
    assert files.manifest(store, 9) is None


# --- both sides -----------------------------------------------------------------------------------------------


@pytest.fixture
def both(store: Store, here: Path, there: Path) -> Callable[[], files.Report]:
    """Pushed from here, changed there by the test, and brought back by the call."""
    for name in ("mine", "theirs", "both", "untouched"):
        (here / name).write_text("before")
    files.push(here, store)
    base = files.manifest(store)
    files.pull(store, there, None)

    def bring() -> files.Report:
        files.push(there, store)
        return files.pull(store, here, base, suffix="job-1")

    return bring


def test_what_both_sides_changed_is_kept_both(here: Path, there: Path, both: Callable[[], files.Report]) -> None:
    (here / "mine").write_text("mine")
    (there / "theirs").write_text("theirs")
    (here / "both").write_text("mine")
    (there / "both").write_text("theirs")
    (there / "new").write_text("new")
    report = both()
    content = {path.name: path.read_text() for path in here.iterdir()}
    assert content == {
        "mine": "mine", "theirs": "theirs", "both": "mine", "both.job-1": "theirs", "untouched": "before", "new": "new",
    }  # fmt: skip
    assert report.kept == ["both.job-1"]
    assert report.written == 3


def test_a_kept_file_never_lands_on_another_of_mine(here: Path, there: Path, both: Callable[[], files.Report]) -> None:
    (here / "both").write_text("mine")
    (here / "both.job-1").write_text("mine as well")
    (there / "both").write_text("theirs")
    assert both().kept == ["both.job-1-2"]
    assert (here / "both.job-1").read_text() == "mine as well"
    assert (here / "both.job-1-2").read_text() == "theirs"
    again = both()
    assert again.kept == ["both.job-1-2"], "the same outcome again makes no third"


def test_nothing_is_deleted_here(here: Path, there: Path, both: Callable[[], files.Report]) -> None:
    (there / "untouched").unlink()
    both()
    assert (here / "untouched").read_text() == "before"


def test_what_i_deleted_and_they_changed_comes_back(here: Path, there: Path, both: Callable[[], files.Report]) -> None:
    (here / "theirs").unlink()
    (here / "untouched").unlink()
    (there / "theirs").write_text("theirs")
    both()
    assert (here / "theirs").read_text() == "theirs"
    assert not (here / "untouched").exists()


def test_both_made_the_same_is_no_conflict(here: Path, there: Path, both: Callable[[], files.Report]) -> None:
    for side in (here, there):
        (side / "both").write_text("after")
    assert both().kept == []


def test_a_folder_of_mine_where_they_have_a_file(here: Path, there: Path, both: Callable[[], files.Report]) -> None:
    (here / "out").mkdir()
    (here / "out" / "x").write_text("mine")
    (there / "out").write_text("theirs")
    assert both().kept == ["out.job-1"]
    assert (here / "out" / "x").read_text() == "mine"


def test_a_file_of_mine_where_they_have_a_folder(here: Path, there: Path, both: Callable[[], files.Report]) -> None:
    (here / "out").write_text("mine")
    (there / "out").mkdir()
    (there / "out" / "x").write_text("theirs")
    with pytest.raises(StoreError, match="is a file here") as caught:
        both()
    assert caught.value.hint == "move it away"
    assert (here / "out").read_text() == "mine"


def test_a_transfer_that_was_killed_does_not_stand_in_the_way(store: Store, here: Path, there: Path) -> None:
    (here / "a").write_text("1")
    (here / "l").symlink_to("a")
    files.push(here, store)
    there.mkdir()
    (there / ".a.lofty-part").write_text("half")
    (there / ".l.lofty-part").symlink_to("somewhere")
    files.pull(store, there, None)
    assert snapshot(there) == snapshot(here)


# --- a store that means harm ----------------------------------------------------------------------------------


def planted(entries: dict[str, File], data: bytes = b"evil") -> Store:
    store = memory()
    store.put(f"files/objects/{digest(data)}", data)
    store.put("files/manifests/00000001", msgspec.json.encode(Manifest(entries)))
    store.put("files/HEAD", msgspec.json.encode(Head(1)))
    return store


def digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=20).hexdigest()


EVIL = File(digest(b"evil"), 4)


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "/", "/etc/x", "../x", "a/../../x", "a/..", "./x", "a//b", "a/", "a/./b", "x\0y", "//x",
        ".git/hooks/post-checkout", "sub/.git/config", ".venv/bin/python", ".env", "a/.terraform/x", "id_rsa",
    ],
)  # fmt: skip
def test_a_path_that_leads_out_or_brings_programs_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "root").mkdir()
    with pytest.raises(StoreError, match="refused"):
        files.pull(planted({"good": EVIL, name: EVIL}), tmp_path / "root", None)
    assert [path.name for path in tmp_path.rglob("*")] == ["root"], "not even the good one: the store is not trusted"


@pytest.mark.parametrize(
    "link", ["/etc", "..", "../x", "a/../../x", "good/../x", "/", "../root2", "x\0y", "."], ids=lambda link: repr(link)
)
def test_a_link_that_may_lead_out_is_refused(tmp_path: Path, link: str) -> None:
    store = planted({"l": File(link=link), "l/evil": EVIL})
    with pytest.raises((StoreError, OSError, ValueError)):
        files.pull(store, tmp_path / "root", None)
    assert not [path for path in tmp_path.rglob("*") if path.name == "evil"]


def test_a_chain_of_links_does_not_lead_out(tmp_path: Path) -> None:
    # `a` looks harmless while `b` is not there; once `b` is the root itself, `a` would be outside.
    store = planted({"a": File(link="b/../x"), "b": File(link="sub"), "sub/y": EVIL, "a/evil": EVIL})
    with pytest.raises(StoreError):
        files.pull(store, tmp_path / "root", None)
    store = planted({"l": File(link="sub"), "l/up": File(link="../../x"), "sub/deep/y": EVIL, "l/up/evil": EVIL})
    with pytest.raises(StoreError):
        files.pull(store, tmp_path / "root", None)
    assert not (tmp_path / "x").exists()


def test_a_link_of_my_own_that_leads_out_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="outside"):
        files.pull(planted({"data/x": EVIL}), tmp_path / "root", Manifest({}))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    store = planted({"a": File(link="b"), "b": File(link="a"), "a/x": EVIL})
    with pytest.raises((LoftyError, OSError)):
        files.pull(store, tmp_path / "root", None)


@pytest.mark.parametrize("name", ["files/HEAD", "files/manifests/00000001"])
@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"files": {"a": 3}}', b'{"version": "x"}', b"\xff"])
def test_a_damaged_record_is_a_store_error(tmp_path: Path, name: str, raw: bytes) -> None:
    store = planted({"a": EVIL})
    store.put(name, raw)
    with pytest.raises(StoreError):
        files.pull(store, tmp_path / "root", None)


def test_damaged_or_missing_content_is_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    for file in (File("0" * 40, 4), File("../../private/token", 4)):
        with pytest.raises(StoreError):
            files.pull(planted({"a": file}), tmp_path, None)
    store = planted({"a": EVIL})
    store.put(f"files/objects/{EVIL.hash}", b"else")
    with pytest.raises(StoreError, match="damaged"):
        files.pull(store, tmp_path, None)
    assert (tmp_path / "a").read_text() == "mine"


PIECES = st.sampled_from(["a", "b", "..", ".", "", "sub", "/", "\0", "~", ".git", "x" * 300])
PATHS = st.lists(PIECES, max_size=5).map("/".join)
ENTRIES = st.dictionaries(PATHS, st.one_of(st.just(EVIL), PATHS.map(lambda link: File(link=link or "a"))), max_size=6)


@settings(max_examples=150)
@given(ENTRIES)
def test_whatever_a_store_names_nothing_is_written_outside(entries: dict[str, File]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        outer = Path(scratch, "outer")
        (outer / "root").mkdir(parents=True)
        (outer / "beside").write_text("mine")
        with suppress(LoftyError, OSError, ValueError):
            files.pull(planted(entries), outer / "root", None)
        assert sorted(path.name for path in outer.iterdir()) == ["beside", "root"]
        assert (outer / "beside").read_text() == "mine"
        top = os.path.realpath(outer / "root")
        for folder, folders, names in os.walk(outer / "root"):
            for name in (*folders, *names):
                path = Path(folder, name)
                assert not path.is_symlink() or Path(os.path.realpath(path)).is_relative_to(top)
