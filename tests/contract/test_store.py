"""What a store promises, wherever it lies: a folder, memory, S3 (ours, which is strict, and moto), Google's, Azure's.

Faults are put to the S3 of ours; the others would need the same code in obstore to go another way.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lofty.errors import AccessError, Damaged, Forbidden, LoftyError, NotLoggedIn, SpecError, Stale, StoreError
from lofty.store.base import Store

from ..conftest import CACHE, GUARD, required
from ..stores import azurite as emulator
from ..stores.azurite import Azurite
from ..stores.gcs import GCS
from ..stores.moto import Moto
from ..stores.s3 import KEY, S3, SECRET

_numbers = itertools.count()
ODD = ("a b", "ü/ñ", "per%20cent %", "plus+plus", "num#ber", "q?a=b&c", "'single' \"double\"", "[x]{y}^~`|<>", "日本")


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with S3() as server:
        yield server


@pytest.fixture(scope="module")
def gcs() -> Iterator[GCS]:
    with GCS() as server:
        yield server


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    with Moto() as server:
        yield server


@pytest.fixture(scope="module")
def azurite() -> Iterator[Azurite]:
    reason = emulator.missing(CACHE)
    if reason:
        (pytest.fail if required("azurite") else pytest.skip)(reason)
    with Azurite(CACHE) as server:
        yield server


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A person without credentials, on a machine without a cloud."""
    for name in os.environ:
        if name.startswith(("AWS_", "GOOGLE_", "GCE_", "AZURE_", "STORAGE_", "MSI_", "IDENTITY_")):
            monkeypatch.delenv(name)
    nowhere = "http://127.0.0.1:1"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", nowhere)
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", nowhere)
    monkeypatch.setenv("GCE_METADATA_IP", "127.0.0.1:1")
    monkeypatch.setenv("AZURE_MSI_ENDPOINT", nowhere)


Server = S3 | GCS | Moto | Azurite


def logged_in(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    for name, value in server.environ.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(params=["file", "memory", "s3", "gcs", "moto", "azurite"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    number = next(_numbers)
    if kind == "file":
        return (tmp_path / "store").as_uri()
    if kind == "memory":
        return f"memory://contract-{number}/task"
    server = request.getfixturevalue(kind)
    logged_in(monkeypatch, server)
    return f"{server.url}/{number}/my%20task"


@pytest.fixture
def store(url: str) -> Store:
    return Store(url, patience=30)


# --- what is written and read ---


def test_what_was_put_is_there(store: Store, url: str) -> None:
    store.put("a/b", b"one")
    store.put("a/b", bytearray(b"two"))
    assert Store(url).get("a/b") == b"two"
    store.put("a/b", memoryview(b"three"), durable=True)
    assert Store(url).get("a/b") == b"three"
    store.put("empty", b"")
    assert store.get("empty") == b""
    large = os.urandom(600_000)
    store.put("large", memoryview(large))
    assert store.get("large") == large


def test_what_is_not_there_is_a_key_error(store: Store) -> None:
    calls: list[Callable[[], object]] = [
        lambda: store.get("none"),
        lambda: store.read("none"),
        lambda: store.version("none"),
        lambda: store.read_changed("none", "0"),
        lambda: store.ranges("none", [(0, 1)]),
    ]
    for call in calls:
        with pytest.raises(KeyError, match="none"):
            call()
    assert list(store.entries()) == []
    assert store.folders() == []


def test_only_one_creates(store: Store) -> None:
    version = store.create("a", b"1")
    assert store.read("a") == (b"1", version)
    with pytest.raises(Stale):
        store.create("a", b"2")
    assert store.get("a") == b"1"


def test_compare_and_set(store: Store) -> None:
    first = store.create("head", b"1")
    second = store.swap("head", b"2", first)
    assert store.read("head") == (b"2", second)
    with pytest.raises(Stale):
        store.swap("head", b"3", first)
    assert store.get("head") == b"2"
    third = store.swap("head", b"3", second)
    assert len({first, second, third}) == 3
    store.delete(["head"])
    with pytest.raises(Stale):
        store.swap("head", b"4", third)
    assert list(store.entries()) == []


def test_every_way_to_a_version_gives_the_same(store: Store) -> None:
    version = store.create("a", b"1")
    entry = next(store.entries())
    assert {version, store.version("a"), store.read("a")[1], entry.version} == {version}
    assert store.swap("a", b"2", entry.version) == next(store.entries()).version
    assert version.isprintable() and '"' not in version


def test_reading_only_what_has_changed(store: Store) -> None:
    version = store.create("a", b"1")
    assert store.read_changed("a", version) is None
    store.put("a", b"22")
    changed = store.read_changed("a", version)
    assert changed is not None and changed[0] == b"22"
    assert store.read_changed("a", changed[1]) is None
    assert store.read_changed("a", next(store.entries()).version) is None


def test_replacing_in_pieces(store: Store) -> None:
    pieces = [os.urandom(3_000_000), os.urandom(3_000_000), os.urandom(5)]
    first = store.replace("a", iter(pieces[2:]), None)
    assert store.read("a") == (pieces[2], first)
    with pytest.raises(Stale):
        store.replace("a", iter(pieces), None)
    second = store.replace("a", iter(pieces), first)
    assert store.read("a") == (b"".join(pieces), second)
    with pytest.raises(Stale):
        store.replace("a", iter(pieces), first)
    assert store.replace("none", iter(()), None) == store.version("none")


def test_ranges(store: Store) -> None:
    data = os.urandom(3_000_000)
    store.put("a", data)
    spans = [(2_999_990, 10), (0, 5), (5, 0), (7, 100), (1_500_000, 1)]
    assert store.ranges("a", spans) == [data[start : start + length] for start, length in spans]
    assert store.ranges("a", []) == []
    for short in ([(2_999_999, 2)], [(0, 1), (3_000_000, 1)], [(9_000_000, 5)]):
        with pytest.raises(Damaged):
            store.ranges("a", short)


def test_listing(store: Store) -> None:
    for key in ("a", "machines/1/x", "machines/1/y/z", "machines/2/x", "machinesque/3"):
        store.put(key, b"123")
    assert sorted(entry.key for entry in store.entries()) == [
        "a", "machines/1/x", "machines/1/y/z", "machines/2/x", "machinesque/3",
    ]  # fmt: skip
    assert len(list(store.entries("machines"))) == 3
    assert store.folders("machines") == ["1", "2"]
    assert store.folders() == ["machines", "machinesque"]
    assert store.folders("none") == []
    assert list(store.entries("none")) == []
    assert all(entry.size == 3 and abs(entry.modified - time.time()) < 100 for entry in store.entries())


@pytest.mark.parametrize("kind", ["file", "memory", "s3", "gcs"], indirect=True)
def test_more_than_one_page(store: Store) -> None:
    keys = [f"x/{number:04d}" for number in range(2100)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: store.put(key, b"1"), keys))
    assert sorted(entry.key for entry in store.entries("x")) == keys
    store.delete(keys[1:])
    assert [entry.key for entry in store.entries()] == keys[:1]


def test_odd_names(store: Store) -> None:
    keys = [f"{name}/{name}" for name in ODD]
    for key in keys:
        store.put(key, key.encode())
    assert {entry.key: store.get(entry.key) for entry in store.entries()} == {key: key.encode() for key in keys}
    store.delete(keys)
    assert list(store.entries()) == []


@pytest.mark.parametrize("key", ["..", "a/../b", "a//b"])
def test_names_that_lead_elsewhere_are_refused(store: Store, key: str) -> None:
    with pytest.raises(StoreError):
        store.put(key, b"1")


def test_deleting_what_is_gone_is_no_error(store: Store) -> None:
    store.put("a", b"1")
    store.put("b", b"1")
    store.delete(["a", "never", "b"])
    store.delete(["a"])
    store.delete([])
    assert list(store.entries()) == []


def test_clearing_leaves_the_neighbours(url: str) -> None:
    one, near, inside = Store(url), Store(f"{url}2"), Store(f"{url}/deeper")
    for store in (one, near, inside):
        store.put("x", b"1")
    one.swap("x", b"2", one.version("x"))
    one.clear()
    one.clear()
    assert list(one.entries()) == list(inside.entries()) == []
    assert near.get("x") == b"1"
    near.clear()


# --- several at once ---


def test_of_many_threads_one_creates_and_every_swap_counts(store: Store, kind: str) -> None:
    turns = 2 if kind in ("moto", "azurite") else 10

    def create(number: int) -> bool:
        try:
            store.create("one", str(number).encode())
        except Stale:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(create, range(32))) == 1
    store.put("count", b"0")
    start = threading.Barrier(16)

    def add(_: int) -> None:
        start.wait()
        for _ in range(turns):
            while True:
                raw, version = store.read("count")
                try:
                    store.swap("count", str(int(raw) + 1).encode(), version)
                except Stale:
                    continue
                break

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(add, range(16)))
    assert store.get("count") == str(16 * turns).encode()


SHORT = """
import sys
from concurrent.futures import ThreadPoolExecutor
from lofty.store.base import Store
store = Store(sys.argv[1])
with ThreadPoolExecutor(8) as pool:
    list(pool.map(lambda n: store.put(f"{sys.argv[2]}/{n}", b"x" * 5000), range(24)))
print("ok")
"""


@pytest.mark.timeout(180)
def test_short_processes_end_well(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    """obstore's asynchronous calls abort some of them at exit, after they have said `ok`."""
    logged_in(monkeypatch, s3)
    environ = {**os.environ, "PYTHONPATH": str(GUARD)}

    def run(number: int) -> tuple[int, str, str]:
        words = [sys.executable, "-c", SHORT, f"{s3.url}/short", str(number)]
        done = subprocess.run(words, env=environ, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    with ThreadPoolExecutor(4) as pool:
        assert [result for result in pool.map(run, range(200)) if result != (0, "ok\n", "")] == []
    assert len(s3.keys("short/")) == 200 * 24


# --- requests: what a store is paid for ---


@pytest.fixture
def own(s3: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[S3, Store]]:
    """Our S3 and a store on it with little patience."""
    logged_in(monkeypatch, s3)
    store = Store(f"{s3.url}/own-{next(_numbers)}", patience=2)
    s3.requests.clear()
    s3.struck.clear()
    yield s3, store
    s3.heal()
    s3.renew()
    s3.room()


def test_how_many_requests(own: tuple[S3, Store]) -> None:
    s3, store = own

    def counted(call: Callable[[], object]) -> dict[tuple[str, str], int]:
        s3.requests.clear()
        call()
        return dict(s3.requests)

    version = store.create("a", bytes(4_000_000))
    assert counted(lambda: store.read_changed("a", version)) == {("GET", "get"): 1}
    assert counted(lambda: store.ranges("a", [(0, 5), (900_000, 5), (3_000_000, 5)])) == {("GET", "get"): 2}
    assert counted(lambda: store.swap("a", b"2", version)) == {("PUT", "swap"): 1}
    assert counted(lambda: store.delete([str(number) for number in range(1500)])) == {("POST", "delete-many"): 2}
    assert counted(lambda: list(store.entries())) == {("GET", "list"): 1}


def test_on_google_generations_are_compared(gcs: GCS, monkeypatch: pytest.MonkeyPatch) -> None:
    logged_in(monkeypatch, gcs)
    store = Store(f"{gcs.url}/generations")
    version = store.create("a", b"1")
    gcs.requests.clear()
    store.swap("a", b"2", version)
    assert dict(gcs.requests) == {("HEAD", "head"): 1, ("PUT", "swap"): 1}


# --- faults ---


@pytest.mark.parametrize(("status", "code"), [(500, "InternalError"), (503, "SlowDown")])
def test_a_store_that_stumbles_is_asked_again(own: tuple[S3, Store], status: int, code: str) -> None:
    s3, store = own
    for match in ("^PUT", "^GET", r"\?list", r"\?delete"):
        s3.fail(status, code, 2, match)
    store.put("a", b"1")
    assert store.get("a") == b"1"
    assert [entry.key for entry in store.entries()] == ["a"]
    store.delete(["a"])
    assert s3.struck == ["fail"] * 8


def one_line(error: LoftyError) -> str:
    """What a person sees: short, with advice, without secrets."""
    text = f"{error} {error.hint}"
    assert "\n" not in text and len(text) < 400 and "Debug" not in text
    assert error.hint
    assert SECRET not in text + repr(error.__cause__) and "Signature=" not in text
    return text


def test_patience_has_an_end(own: tuple[S3, Store]) -> None:
    s3, store = own
    s3.fail(503, "SlowDown", 10**6)
    began = time.monotonic()
    with pytest.raises(StoreError) as caught:
        store.put("a", b"1")
    assert 1 < time.monotonic() - began < 8
    assert "SlowDown" in one_line(caught.value)


@pytest.mark.parametrize("size", [1, 400_000])
def test_a_stalled_request_is_given_up(own: tuple[S3, Store], size: int) -> None:
    s3, store = own
    s3.stall(10**6)
    calls: list[Callable[[], object]] = [lambda: store.put("a", bytes(size)), lambda: store.get("a")]
    for call in calls:
        began = time.monotonic()
        with pytest.raises(StoreError) as caught:
            call()
        assert time.monotonic() - began < 8
        assert "no answer from 127.0.0.1" in one_line(caught.value)


def test_one_stalled_request_is_sent_again(own: tuple[S3, Store]) -> None:
    s3, store = own
    s3.stall(1)
    store.put("a", b"1")
    s3.stall(1)
    assert store.get("a") == b"1"
    assert s3.struck == ["stall"] * 2


def test_a_slow_upload_is_no_stalled_one(s3: S3, own: tuple[S3, Store]) -> None:
    store = Store(own[1].url, patience=8)
    s3.delay = 4  # longer than a small request may be silent
    store.put("a", bytes(300_000))
    assert s3.requests["PUT", "put"] == 1


def test_broken_connections_are_survived(own: tuple[S3, Store]) -> None:
    s3, store = own
    data = os.urandom(2_000_000)
    s3.cut(2, "^PUT")
    store.put("a", data)
    s3.cut(2, "^GET")
    assert store.get("a") == data
    s3.cut(2, "^GET")
    assert store.ranges("a", [(5, 1_000_000)]) == [data[5:1_000_005]]
    assert s3.struck == ["cut"] * 6


def test_a_listing_goes_on_where_it_broke(own: tuple[S3, Store]) -> None:
    s3, store = own
    keys = [f"{number:04d}" for number in range(1500)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: store.put(key, b"1"), keys))
    s3.cut(1, "continuation-token")
    assert [entry.key for entry in store.entries()] == keys
    assert s3.struck == ["cut"]


def test_a_connection_that_always_breaks_is_told(own: tuple[S3, Store]) -> None:
    s3, store = own
    store.put("a", bytes(1000))
    s3.cut(10**6)
    for call in (lambda: store.put("a", bytes(1000)), lambda: store.get("a"), lambda: list(store.entries())):
        with pytest.raises(StoreError) as caught:
            call()
        assert "broke again and again" in one_line(caught.value)


def test_a_conflict_between_writers_is_stale(own: tuple[S3, Store]) -> None:
    s3, store = own
    version = store.create("a", b"1")
    s3.fail(409, "ConditionalRequestConflict", 2)  # obstore asks again itself: nothing was written
    version = store.swap("a", b"2", version)
    s3.fail(409, "ConditionalRequestConflict", 10**6)
    with pytest.raises(Stale):
        store.swap("a", b"3", version)
    with pytest.raises(Stale):
        store.create("b", b"3")
    s3.heal()
    assert store.get("a") == b"2"


def test_a_lost_answer_looks_like_a_lost_race(own: tuple[S3, Store]) -> None:
    """Promised in `Store`: who needs to know whether the write was its own looks."""
    s3, store = own
    version = store.create("a", b"1")
    s3.lose_answer(1)
    with pytest.raises(Stale):
        store.swap("a", b"2", version)
    assert store.get("a") == b"2"
    s3.lose_answer(1)
    with pytest.raises(Stale):
        store.create("b", b"2")
    assert store.get("b") == b"2"
    s3.lose_answer(1)
    store.put("c", b"3")
    assert store.get("c") == b"3"


def test_damage_is_seen_where_it_shows(own: tuple[S3, Store]) -> None:
    s3, store = own
    store.put("a", bytes(1000))
    key = s3.keys(store.url.removeprefix(f"{s3.url}/"))[0]
    s3.flip(key)
    assert store.get("a") != bytes(1000)
    s3.truncate(key)
    with pytest.raises(Damaged):
        store.ranges("a", [(400, 200)])


def test_a_clock_that_is_wrong_is_told_by_the_listing(own: tuple[S3, Store]) -> None:
    s3, store = own
    s3.skew = 600
    store.put("a", b"1")
    assert 500 < next(store.entries()).modified - time.time() < 700


@pytest.mark.parametrize(("status", "code"), [(507, "InsufficientStorage"), (403, "QuotaExceeded")])
def test_a_full_store(own: tuple[S3, Store], status: int, code: str) -> None:
    s3, store = own
    s3.full(status, code)
    with pytest.raises(StoreError) as caught:
        store.put("a", b"1")
    assert "free some space" in one_line(caught.value)


def test_a_store_that_is_down(own: tuple[S3, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StoreError) as caught:
        Store(own[1].url, patience=1).get("a")
    assert "nothing answers at 127.0.0.1:1" in one_line(caught.value)


# --- credentials and addresses ---


def test_expired_credentials(own: tuple[S3, Store]) -> None:
    s3, store = own
    store.put("a", b"1")
    s3.expire()
    for call in (lambda: store.get("a"), lambda: store.put("a", b""), lambda: list(store.entries())):
        with pytest.raises(NotLoggedIn) as caught:
            call()
        text = one_line(caught.value)
        assert "expired" in text and "aws sso login" in text and "lofty check" in text
    s3.renew()
    assert store.get("a") == b"1"


@pytest.mark.parametrize(
    ("status", "code", "expected", "words"),
    [
        (403, "SignatureDoesNotMatch", NotLoggedIn, "aws sso login"),
        (403, "InvalidAccessKeyId", NotLoggedIn, "aws sso login"),
        (403, "RequestTimeTooSkewed", NotLoggedIn, "clock"),
        (403, "AccessDenied", Forbidden, "lofty check"),
        (401, "Unauthorized", AccessError, "lofty check"),
    ],
)
def test_refusals(own: tuple[S3, Store], status: int, code: str, expected: type[AccessError], words: str) -> None:
    s3, store = own
    s3.fail(status, code)
    with pytest.raises(expected) as caught:
        store.put("a", b"1")
    assert words in one_line(caught.value)


def test_an_unknown_key_is_refused(own: tuple[S3, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "SOMEBODYELSE")
    with pytest.raises(NotLoggedIn) as caught:
        Store(own[1].url).put("a", b"1")
    assert "InvalidAccessKeyId" in one_line(caught.value)


def test_a_bucket_in_another_region(monkeypatch: pytest.MonkeyPatch) -> None:
    with S3(region="eu-central-1") as server:
        logged_in(monkeypatch, server)
        Store(server.url).put("a", b"1")
        monkeypatch.setenv("AWS_REGION", "us-west-2")
        with pytest.raises(StoreError) as caught:
            Store(server.url).put("a", b"1")
        assert "?region=eu-central-1" in one_line(caught.value)
        assert Store(f"{server.url}?region=eu-central-1").get("a") == b"1"


@pytest.mark.parametrize("end", ["?region=", "?region=x", "?version=3", "#part", "?region=eu-west-1#x"])
def test_what_is_behind_a_question_mark_is_no_part_of_a_name(end: str) -> None:
    with pytest.raises(SpecError, match="is not understood"):
        Store(f"s3://bucket/prefix{end}")
    with pytest.raises(SpecError, match="is not understood"):
        Store("gs://bucket/prefix?region=eu-west-1")


@pytest.mark.parametrize("kind", ["s3", "gcs", "moto", "azurite"], indirect=True)
def test_a_bucket_that_does_not_exist(url: str) -> None:
    store = Store(url.replace("://bucket", "://nobody").replace("://container", "://nobody"))
    for call in (lambda: store.get("a"), lambda: store.put("a", b""), lambda: list(store.entries())):
        with pytest.raises(StoreError) as caught:
            call()
        assert "'nobody'" in one_line(caught.value)


@pytest.mark.parametrize(
    ("url", "words"),
    [("s3://bucket/x", "aws sso login"), ("gs://bucket/x", "gcloud auth"), ("az://container/x", "az login")],
)
def test_nobody_is_told_how_to_log_in_at_once(url: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "some")
    began = time.monotonic()
    with pytest.raises(NotLoggedIn) as caught:
        Store(url).get("a")
    assert time.monotonic() - began < 5
    assert words in one_line(caught.value)


def test_a_profile_is_read_by_boto3(own: tuple[S3, Store], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text(f"[work]\naws_access_key_id={KEY}\naws_secret_access_key={SECRET}\n")
    (tmp_path / ".aws" / "config").write_text(
        "[profile sso]\nsso_start_url=http://127.0.0.1:1/\nsso_region=eu-west-1\nsso_account_id=1\nsso_role_name=x\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "work")
    store = Store(own[1].url)
    store.put("a", b"1")
    assert store.get("a") == b"1"
    for profile in ("sso", "none"):
        monkeypatch.setenv("AWS_PROFILE", profile)
        with pytest.raises(NotLoggedIn) as caught:
            Store(own[1].url)
        assert "aws sso login" in one_line(caught.value)


@pytest.mark.parametrize("url", ["ftp://x/y", "s3:///x", "az://container/x", "x"])
def test_addresses_that_name_nothing(url: str) -> None:
    with pytest.raises(SpecError) as caught:
        Store(url)
    assert caught.value.hint
