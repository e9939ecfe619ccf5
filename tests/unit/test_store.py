"""The store: the same promises on a disk and in memory."""

from __future__ import annotations

import itertools
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofty.errors import SpecError, Stale, StoreError
from lofty.store.base import Store

_numbers = itertools.count()


@pytest.fixture(params=["file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return (tmp_path / "store").as_uri() if request.param == "file" else f"memory://test-{next(_numbers)}/task"


@pytest.fixture
def store(url: str) -> Store:
    return Store(url)


def test_what_was_put_is_there(store: Store, url: str) -> None:
    store.put("a/b", b"one")
    store.put("a/b", b"two")
    assert Store(url).get("a/b") == b"two"
    store.put("empty", b"")
    assert store.get("empty") == b""


@pytest.mark.parametrize("call", ["get", "read"])
def test_what_is_not_there_is_a_key_error(store: Store, call: str) -> None:
    with pytest.raises(KeyError, match="none"):
        getattr(store, call)("none")
    with pytest.raises(KeyError):
        store.read_changed("none", "0")


def test_only_one_creates(store: Store) -> None:
    store.create("a", b"1")
    with pytest.raises(Stale):
        store.create("a", b"2")
    assert store.get("a") == b"1"


def test_compare_and_set(store: Store) -> None:
    store.put("head", b"1")
    _, version = store.read("head")
    newer = store.swap("head", b"2", version)
    assert store.read("head") == (b"2", newer)
    with pytest.raises(Stale):
        store.swap("head", b"3", version)
    store.swap("head", b"3", newer)
    assert store.get("head") == b"3"


def test_compare_and_set_of_what_is_gone(store: Store) -> None:
    store.put("head", b"1")
    _, version = store.read("head")
    store.delete(["head"])
    with pytest.raises((KeyError, Stale)):
        store.swap("head", b"2", version)
    assert list(store.entries()) == []


def test_reading_only_what_has_changed(store: Store) -> None:
    store.put("a", b"1")
    _, version = store.read("a")
    assert store.read_changed("a", version) is None
    store.put("a", b"22")
    changed = store.read_changed("a", version)
    assert changed is not None
    assert changed[0] == b"22"
    assert store.read_changed("a", changed[1]) is None


def test_listing(store: Store) -> None:
    for key in ("a", "machines/1/x", "machines/1/y/z", "machines/2/x", "machinesque/3"):
        store.put(key, b"123")
    assert sorted(entry.key for entry in store.entries()) == [
        "a", "machines/1/x", "machines/1/y/z", "machines/2/x", "machinesque/3",
    ]  # fmt: skip
    assert sorted(entry.key for entry in store.entries("machines")) == [
        "machines/1/x",
        "machines/1/y/z",
        "machines/2/x",
    ]
    assert store.folders("machines") == ["1", "2"]
    assert store.folders() == ["machines", "machinesque"]
    assert store.folders("none") == []
    assert list(store.entries("none")) == []
    assert all(entry.size == 3 and entry.modified > 1e9 for entry in store.entries())


def test_deleting_what_is_gone_is_no_error(store: Store) -> None:
    store.put("a", b"1")
    store.put("b", b"1")
    store.delete(["a", "never", "b"])
    store.delete(["a"])
    store.delete([])
    assert list(store.entries()) == []


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


def test_of_many_threads_one_creates_and_every_swap_counts(store: Store) -> None:
    def create(number: int) -> bool:
        try:
            store.create("one", str(number).encode())
        except Stale:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(32))) == 1
    store.put("count", b"0")
    start = threading.Barrier(4)

    def add() -> None:
        start.wait()
        for _ in range(10):
            while True:
                raw, version = store.read("count")
                try:
                    store.swap("count", str(int(raw) + 1).encode(), version)
                except Stale:
                    continue
                break

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.get("count") == b"40"


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


def test_an_unknown_kind_of_address_is_refused() -> None:
    with pytest.raises(SpecError) as caught:
        Store("ftp://x/y")
    assert caught.value.hint


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
