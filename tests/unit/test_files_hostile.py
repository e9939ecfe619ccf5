"""A store that somebody hostile writes: whatever it names, nothing outside the directory is read, written or deleted,
nothing of git's or lofty's is touched, and no memory is filled."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from lofty.errors import LoftyError, StoreError
from lofty.store import files
from lofty.store.base import Store
from lofty.store.files.pack import digest, key_of
from lofty.store.files.tree import PIECE, File, Place, Row, check_row
from lofty.store.files.version import Head, Manifest, Past, Shard, Stretch, pack, shard_key

from .support import snapshot

_numbers = itertools.count()
EACH = 100
"""Manifests of one example: 54 examples make 5,400."""

PARTS = (
    *("..", ".", "", "a", "b", ".git", ".GIT", "hooks", ".lofty", ".lofty-part-1-1", ".lofty-lock", "c\0d", "x" * 300),
    *("\n", "\udcff", "é", "e\u0301", "A", "~", "etc", "con", "outside", "out", "out", "out/a", "secret.txt"),
)
LINKS = (
    *(b"..", b"../..", b"/etc", b"a", b"b/../..", b".", b"../outside", b"a/../../outside"),
    *(b"", b"x\0y", b"b", b"out"),
)
CONTENT = b"written by a hostile machine"
SECRET = "what lies outside is nobody's business"
BOMB = zstandard.ZstdCompressor(level=1).compress(bytes(1 << 28))


def objects(store: Store) -> list[Place]:
    """Packs that are there: an honest one, one that claims to be compressed, a bomb."""
    found = []
    for raw, packed in ((CONTENT, False), (zstandard.compress(CONTENT), True), (BOMB, True), (b"short", False)):
        name = digest(raw)
        store.put(key_of(name), raw)
        found.append(Place(name, 0, len(raw), 0, packed))
    return found


def hostile_path(chance: random.Random) -> bytes:
    lead = chance.choice(["", "", "", "", "/", "//", "../", "./", "../../outside/"])
    parts = [chance.choice(PARTS) for _ in range(chance.randrange(5))]
    return (lead + "/".join(parts) + chance.choice(["", "", "", "/", "//"])).encode("utf-8", "surrogateescape")


def hostile_place(chance: random.Random, places: list[Place]) -> Place:
    if chance.random() < 0.6:
        return chance.choice(places)
    at, length, within = (chance.choice([0, 1, 28, -1, -5, 1 << 20, 1 << 40]) for _ in range(3))
    return Place(chance.choice([places[0].pack, b"", bytes(32)]), at, length, within, chance.random() < 0.5)


def hostile_row(chance: random.Random, places: list[Place]) -> Row:
    path, kind = hostile_path(chance), chance.random()
    if kind < 0.35:
        return Row(path, File((digest(CONTENT),), len(CONTENT)), (places[0],))
    if kind < 0.5:
        return Row(path, File(link=chance.choice(LINKS)))
    if kind < 0.6:
        return Row(path, chance.choice([File(), None]))
    names = tuple(chance.choice([digest(CONTENT), b"", b"short", bytes(32)]) for _ in range(chance.randrange(4)))
    size = chance.choice([0, 1, len(CONTENT), PIECE, PIECE + 1, -1, 1 << 45, 1 << 62])
    file = File(names, size, chance.random() < 0.5, chance.choice([b"", b"", *LINKS]))
    return Row(path, file, tuple(hostile_place(chance, places) for _ in range(chance.randrange(4))))


def publish(store: Store, delta: tuple[Row, ...], shards: tuple[Shard, ...] = (), **head: Any) -> None:
    me = Past("", 1.7e9, "machine")
    raw = pack(Manifest(1, os.urandom(8), me, shards, delta))
    name = f"{1:010d}-{digest(raw).hex()[:32]}"
    store.put(f"versions/{name}", raw)
    store.put("HEAD", msgspec.json.encode(msgspec.structs.replace(Head(store="x", version=name), **head)))


class Victim:
    """A person's directory, with things around it that are not the store's business."""

    def __init__(self, place: Path) -> None:
        self.place, self.root = place, place / "home" / "work"
        (self.root / ".git" / "hooks").mkdir(parents=True)
        (self.root / ".git" / "config").write_text("mine")
        (self.root / "mine.txt").write_text("mine")
        (place / "outside" / "a" / "b").mkdir(parents=True)
        for folder in ("outside", "outside/a", "outside/a/b"):
            (place / folder / "secret.txt").write_text(SECRET)
        (self.root / "out").symlink_to(place / "outside")
        self.store = Store(f"memory://hostile-{next(_numbers)}/x")
        self.around = self.seen()

    def seen(self) -> dict[str, tuple[str, bytes, int]]:
        """What must stay as it is."""
        ours = ("home/work/out",)
        whole = snapshot(self.place)
        mine = [name for name in whole if not name.startswith("home/work/") or "/.git" in name or name in ours]
        return {name: whole[name] for name in mine}

    def pull(self, mode: Any, only: Iterable[str] | None = None) -> files.Report | None:
        memory = self.place.parent / f"{self.place.name}-memory" / f"{next(_numbers)}.db"
        folder = files.folder(self.root, self.store, memory, side="home")
        try:
            return folder.sync(mode, only=only)
        except LoftyError as error:
            assert len(str(error).splitlines()) == 1
            return None


@settings(max_examples=54, deadline=None, derandomize=True)
@given(st.integers(0, 1 << 60))
def test_nothing_leaves_the_directory(seed: int) -> None:
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as scratch:
        victim = Victim(Path(scratch) / "v")
        places = objects(victim.store)
        for _ in range(EACH):
            rows = [hostile_row(chance, places) for _ in range(chance.randint(1, 5))]
            publish(victim.store, tuple(rows))
            victim.pull(chance.choice(["pull", "both", "bring"]))
            assert victim.seen() == victim.around, rows
            for path in victim.root.rglob("*"):
                if path.is_symlink() and path.name != "out":
                    assert Path(os.path.normpath(path.parent / path.readlink())).is_relative_to(victim.root), rows
                elif path.is_file() and ".git" not in path.parts and path.name != "mine.txt":
                    assert path.read_bytes() in (CONTENT, b"", b"mine"), rows


@pytest.mark.parametrize("folder", ["out", "out/a", "out/a/b", "out/new", "out/a/new"])
@pytest.mark.parametrize("mode", ["both", "pull", "bring", "push"])
@pytest.mark.parametrize("only", [None, ["out"], ["out/a"], ["out/a/secret.txt"]])
def test_what_lies_behind_a_persons_own_link_is_neither_written_read_nor_deleted(
    tmp_path: Path, folder: str, mode: str, only: list[str] | None
) -> None:
    """A link to a place outside leads into real folders there."""
    victim = Victim(tmp_path / "v")
    (place, *_) = objects(victim.store)
    file = File((digest(CONTENT),), len(CONTENT))
    publish(victim.store, tuple(Row(f"{folder}/{name}".encode(), file, (place,)) for name in ("new.txt", "secret.txt")))
    victim.pull(mode, only)
    publish(victim.store, (Row(f"{folder}/secret.txt".encode()), Row(f"{folder}/empty/".encode(), File())))
    victim.pull(mode, only)
    assert victim.seen() == victim.around
    for entry in victim.store.entries():
        raw = victim.store.get(entry.key)
        assert SECRET.encode() not in raw
        with suppress(zstandard.ZstdError):
            assert SECRET.encode() not in zstandard.decompress(raw, max_output_size=1 << 20)


def test_a_link_and_a_file_behind_it(tmp_path: Path) -> None:
    victim = Victim(tmp_path / "v")
    (place, *_) = objects(victim.store)
    file = File((digest(CONTENT),), len(CONTENT))
    for link in (b"..", b"out", b"b"):
        publish(victim.store, (Row(b"a", File(link=link)), Row(b"a/x", file, (place,)), Row(b"out/x", file, (place,))))
        victim.pull("pull")
        assert victim.seen() == victim.around


@pytest.mark.parametrize(
    "head",
    [b"", b"{}", b"[]", b"\xff", b'{"format":1,"store":"x","version":"../../x"}', b'{"format":1,"store":1,"version":2}',
     b'{"format":99,"store":"x","version":""}', b'{"format":1,"store":"x","version":"0000000001-' + b"0" * 32 + b'"}',
     b"[" * 100_000],
)  # fmt: skip
def test_a_head_that_makes_no_sense(tmp_path: Path, head: bytes) -> None:
    victim = Victim(tmp_path / "v")
    victim.store.put("HEAD", head)
    assert victim.pull("both") is None
    assert victim.seen() == victim.around
    assert victim.store.get("HEAD") == head, "and it is not written over"


def test_records_that_make_no_sense(tmp_path: Path) -> None:
    victim = Victim(tmp_path / "v")
    (place, *_) = objects(victim.store)
    row = Row(b"a", File((digest(CONTENT),), len(CONTENT)), (place,))
    stretch = pack(Stretch((row, row, Row(b"\0"), Row(b"z"))))
    victim.store.put(shard_key(digest(stretch)), stretch)
    shard = Shard(b"m", digest(stretch), 5)
    for shards in (
        (shard, shard),
        (Shard(b"", b"nowhere", 1),),
        (Shard(b"z", digest(stretch), -1), Shard(b"", digest(stretch), 1)),
    ):
        publish(victim.store, (row,), shards)
        victim.pull("both")
        assert victim.seen() == victim.around
    good = msgspec.msgpack.encode(Manifest(1, b"", Past("", 1.7e9, "m"), (), (row,)))
    for raw in (good[:-3], good + b"x", b"\xc1", msgspec.msgpack.encode([1, 2, 3]), good.replace(b"\xcb", b"\xca", 1)):
        packed = zstandard.ZstdCompressor(write_content_size=True).compress(raw)
        name = f"{1:010d}-{digest(packed).hex()[:32]}"
        victim.store.put(f"versions/{name}", packed)
        victim.store.put("HEAD", msgspec.json.encode(Head(store="x", version=name)))
        assert victim.pull("both") is None


def test_a_good_version_after_bad_ones_works(tmp_path: Path) -> None:
    victim = Victim(tmp_path / "v")
    (place, *_) = objects(victim.store)
    file = File((digest(CONTENT),), len(CONTENT))
    publish(victim.store, (Row(b"../x", file, (place,)), Row(b"good.txt", file, (place,))))
    assert victim.pull("pull") is None
    assert not (victim.root / "good.txt").exists(), "a store that names such a path is not believed in anything"
    publish(victim.store, (Row(b"good.txt", file, (place,)),))
    assert victim.pull("pull") is not None
    assert (victim.root / "good.txt").read_bytes() == CONTENT


def test_bombs_fill_no_memory(tmp_path: Path) -> None:
    """In a process that may use 600 MiB more than it starts with: 16 frames and a manifest of 1 GiB each."""
    script = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from pathlib import Path
from tests.unit.test_files_hostile import *
victim = Victim(Path({str(tmp_path)!r}) / "v")
bomb = zstandard.ZstdCompressor(level=1, write_content_size=True).compress(bytes(1 << 30))
nameless = zstandard.ZstdCompressor(level=1, write_content_size=False).compress(bytes(1 << 30))
made = []
for number in range(8):
    for raw in (bomb, nameless):
        raw = raw + bytes([number])
        victim.store.put(key_of(digest(raw)), raw)
        made.append(Place(digest(raw), 0, len(raw) - 1, 0, True))
limit = int(open("/proc/self/statm").read().split()[0]) * 4096 + (600 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for size in (PIECE, 100):
    file = File((bytes(32),), size)
    publish(victim.store, tuple(Row(b"f%d" % i, file, (place,)) for i, place in enumerate(made)))
    report = victim.pull("pull")
    assert report is not None and len(report.damaged) == 16, report
name = "%010d-%s" % (1, digest(bomb).hex()[:32])
victim.store.put("versions/" + name, bomb)
victim.store.put("HEAD", msgspec.json.encode(Head(store="x", version=name)))
assert victim.pull("pull") is None
assert victim.seen() == victim.around
print("held")
"""
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc to know what a process uses")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout == "held\n", done.stderr[-2000:]


@pytest.mark.parametrize("path", ["CON", "nul.txt", "a/LPT1", "x:y", "a\\b", "dir/aux.c", "end.", "end ", "q?", "a<b"])
def test_names_that_windows_takes_for_devices(path: str) -> None:
    row = Row(path.encode(), File((digest(CONTENT),), len(CONTENT)), (Place(b"x", 0, 28),))
    check_row(row, windows=False)
    with pytest.raises(StoreError, match="refused"):
        check_row(row, windows=True)
