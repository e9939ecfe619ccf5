"""The store on a disk and in memory: what is theirs alone. The rest is in `tests/contract/test_store.py`."""

from __future__ import annotations

import itertools
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofty.errors import StoreError
from lofty.store import disk
from lofty.store.base import Store

_numbers = itertools.count()


def test_clearing_leaves_nothing_and_nothing_else_is_touched(tmp_path: Path) -> None:
    name = next(_numbers)
    for one, other in (
        (f"memory://test-{name}/a", f"memory://test-{name}/ab"),
        ((tmp_path / "s" / "a").as_uri(), (tmp_path / "s" / "ab").as_uri()),
    ):
        Store(one).put("head", b"1")
        Store(one).swap("head", b"2", Store(one).read("head")[1])
        Store(other).put("head", b"1")
        Store(one).clear()
        Store(one).clear()
        assert Store(other).get("head") == b"1"
    assert sorted(path.name for path in (tmp_path / "s").iterdir()) == ["ab"]


WORDS = st.from_regex(r"[a-z0-9_-][a-z0-9._-]{0,8}", fullmatch=True)


@given(st.dictionaries(st.lists(WORDS, min_size=1, max_size=3).map("/".join), st.binary(max_size=50)))
def test_memory_holds_any_bytes(content: dict[str, bytes]) -> None:
    store = Store(f"memory://test-{next(_numbers)}/x")
    for key, data in content.items():
        store.put(key, data)
    assert {entry.key: store.get(entry.key) for entry in store.entries()} == content


ADD = """
import sys
from lofty.errors import Stale
from lofty.store.base import Store
store = Store(sys.argv[1])
for _ in range(15):
    while True:
        raw, version = store.read("count")
        try:
            store.swap("count", str(int(raw) + 1).encode(), version)
            break
        except Stale:
            continue
try:
    store.create("one", sys.argv[2].encode())
    print("won")
except Stale:
    print("lost")
"""


def test_of_many_processes_too(tmp_path: Path) -> None:
    url = (tmp_path / "store").as_uri()
    Store(url).put("count", b"0")
    processes = [
        subprocess.Popen([sys.executable, "-c", ADD, url, str(number)], stdout=subprocess.PIPE, text=True)
        for number in range(4)
    ]
    said = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert sorted(said) == ["lost", "lost", "lost", "won"]
    assert Store(url).get("count") == b"60"
    assert Store(url).get("one").decode() == str(said.index("won"))


def test_a_reader_never_sees_half(tmp_path: Path) -> None:
    store = Store((tmp_path / "store").as_uri())
    full = [bytes([letter]) * 300_000 for letter in b"ab"]
    store.put("x", full[0])
    over = threading.Event()

    def write() -> None:
        for turn in range(60):
            store.put("x", full[turn % 2])
        over.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not over.is_set():
        assert store.get("x") in full
    writer.join()


def test_a_place_with_odd_signs_in_its_name(tmp_path: Path) -> None:
    place = tmp_path / "my store #1 50% ünï?"
    Store(place.as_uri()).put("a", b"1")
    assert (place / "a").read_bytes() == b"1"


@pytest.fixture
def small_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    import signal

    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, ignored)


@pytest.mark.usefixtures("small_files")
def test_a_disk_that_takes_no_more_is_a_store_error_and_the_old_bytes_stay(tmp_path: Path) -> None:
    store = Store((tmp_path / "store").as_uri())
    store.put("a", b"old")
    with pytest.raises(StoreError) as caught:
        store.put("a", bytes(5000))
    assert caught.value.hint
    assert len(str(caught.value).splitlines()) == 1
    assert store.get("a") == b"old"


def test_a_store_that_is_a_file_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("I am in the way")
    with pytest.raises(StoreError) as caught:
        Store((tmp_path / "store").as_uri()).put("a", b"1")
    assert "\n" not in str(caught.value)


def test_looking_makes_no_folder(tmp_path: Path) -> None:
    store = Store((tmp_path / "store").as_uri())
    assert list(store.entries()) == []
    assert store.folders() == []
    for call in (store.get, store.version):
        with pytest.raises(KeyError):
            call("a")
    store.delete(["a"])
    assert list(tmp_path.iterdir()) == []
    store.clear()


def test_what_a_killed_write_left_is_not_listed(tmp_path: Path) -> None:
    store = Store((tmp_path / "store").as_uri())
    store.put("a/b", b"1", durable=True)
    (tmp_path / "store" / "a" / f"{disk.PART}1-2").write_bytes(b"half")
    assert [entry.key for entry in store.entries()] == ["a/b"]
    assert {path.name for path in (tmp_path / "store" / "a").iterdir()} == {"b", f"{disk.PART}1-2"}
