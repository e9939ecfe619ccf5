"""A store that somebody else may write to, and who can compute every hash: whatever it names, nothing outside the
directory is touched, nothing of git's, nothing that is here is lost, and a good version afterwards arrives."""

from __future__ import annotations

import math
import os
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as some

from lofty.errors import LoftyError
from lofty.store.base import Store
from lofty.store.files.merge import Mode, beside
from lofty.store.files.pack import digest, expand, key_of
from lofty.store.files.tree import PIECE, File, Place, Row, check_row, encode, is_own, stays
from lofty.store.files.version import Manifest, Past, Shard, Stretch, pack, shard_key

from .sides import Side, World, tree

BATCHES, BATCH = 260, 20

CONTENTS = (b"one", b"two, a little longer", b"\0" * 100)
PACK = b"".join(CONTENTS)
STARTS = [sum(map(len, CONTENTS[:i])) for i in range(len(CONTENTS))]


def good(path: str, which: int = 0) -> Row:
    """A row that is what it says."""
    content = CONTENTS[which]
    place = Place(digest(PACK), STARTS[which], len(content))
    return Row(encode(path), File((digest(content),), len(content)), (place,))


def publish(
    store: Store,
    rows: Sequence[Row] = (),
    *,
    number: int = 1,
    by: str = "them",
    time: Any = 1.7e9,
    shards: Sequence[tuple[bytes, Sequence[Row]]] = (),
    raw: bytes | None = None,
    head: Any = None,
) -> None:
    """A version as a hostile machine may write it, every hash right."""
    store.put(key_of(digest(PACK)), PACK)
    made = []
    for first, stretch in shards:
        content = pack(Stretch(tuple(stretch)))
        store.put(shard_key(digest(content)), content)
        made.append(Shard(first, digest(content), len(stretch)))
    past = Past("", time, by, len(rows), 0)
    raw = raw if raw is not None else pack(Manifest(1, b"n", past, tuple(made), tuple(rows)))
    name = f"{number:010}-{digest(raw).hex()[:32]}"
    store.put(f"versions/{name}", raw)
    value = {"format": 1, "store": "theirs", "version": name, "garbage": ""} | (head or {})
    store.put("HEAD", msgspec.json.encode(value))


class Scene:
    """A directory with things around it and in it that nobody may touch."""

    def __init__(self) -> None:
        self.world = World("")
        place = self.world.place
        for path in ("secret", "beside/file", "victim-2/x"):
            there = place / "around" / path
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(b"SECRET " + path.encode())
        self.side = Side(place / "around", self.world.url, "victim", [])
        self.side.state = place / "state.db"
        self.side.restart()
        root = self.side.root
        (root / ".git/hooks").mkdir(parents=True)
        (root / ".git/config").write_text("git's")
        (root / "mine").write_text("mine")
        (root / "out").symlink_to("../beside")  # a person's own, to a place outside
        self.around = self._others()

    def _others(self) -> dict[str, Any]:
        found = tree(self.world.place / "around")
        inside = ("victim/.git", "victim/out", "victim/mine")
        return {path: item for path, item in found.items() if not path.startswith("victim/") or path.startswith(inside)}

    def pull(self, mode: Mode = "both") -> str:
        """Whatever comes of it, nothing else is touched."""
        try:
            self.side.folder.sync(mode)
        except LoftyError as error:
            return str(error)
        return ""

    def check(self) -> None:
        """All is as it was around it."""
        after = self._others()
        assert {path: after.get(path) for path in self.around} == self.around
        assert {path for path in after if not path.startswith("victim/mine")} <= {*self.around}
        for folder, _, files in os.walk(self.world.place):
            assert not any(name.startswith(".lofty-part-") for name in files), folder
        for entry in self.world.store.entries("packs/"):
            assert b"SECRET" not in self.world.store.get(entry.key)

    def recover(self) -> None:
        """A good version afterwards arrives."""
        publish(self.world.store, [good("fine/x", 1)], number=10**9)
        report = self.side.folder.sync("pull", force=True)
        assert (self.side.root / "fine/x").read_bytes() == CONTENTS[1], report
        self.check()


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    made.world.close()


# --- rows of every kind ---

parts = some.sampled_from(
    ("a", "b", "c.txt", "..", ".", "", ".git", ".GIT", ".gIt", ".g\u200cit", "hooks", "config", ".lofty", ".lofty-part-1-1",
     ".LOFTY-PART-9-9", "out", "mine", "n\nl", "\udcff\udcfe", "x" * 255, "x" * 256, "\0", "con", "~", "-rf", "ü", "secret", "/")
)  # fmt: skip
paths = some.one_of(
    some.lists(parts, min_size=1, max_size=4).map("/".join),
    some.sampled_from(
        ("/etc/lofty-test", "../secret", "a/../../secret", "a/", "a//b", "./a", "out/file", "mine/x", "mine/")
    ),
    some.sampled_from(("a", "a/b", "a/b/c", "b", "d/x")),
    some.integers(1, 2100).map(lambda deep: "/".join("d" * deep)),
)
targets = some.sampled_from(
    (b"..", b"../secret", b"/etc/passwd", b"a", b"b/../..", b"a/..", b"./..", b"../a", b"../../secret", b"", b".", b"out", b"\0",
     b"mine", b"out/file", b"b/c", b"x" * 5000)
)  # fmt: skip
numbers = some.sampled_from((0, 1, 2, 3, 100, -1, PIECE, PIECE + 1, 2**31, 2**40, 2**50, 2**63 - 1, 2**64 - 1))
names = some.sampled_from((*map(digest, CONTENTS), b"", b"short", b"\0" * 32, digest(b"other")))
places = some.builds(
    Place,
    some.sampled_from((digest(PACK), b"", b"../../x", b"\xff" * 32)),
    numbers,
    numbers,
    numbers,
    some.booleans(),
)
files = some.builds(File, some.lists(names, max_size=2).map(tuple), numbers, some.booleans(), some.just(b"") | targets)
honest = some.builds(
    good, some.sampled_from(("a", "b", "a/b", "d/e/f", "mine", "out/file", "c.txt/x")), some.integers(0, 2)
)
links = some.builds(lambda path, link: Row(encode(path), File(link=link)), paths, targets)
gone = some.builds(lambda path: Row(encode(path)), paths)
wrong = some.builds(
    lambda path, file, there: Row(encode(path), file, tuple(there)), paths, files, some.lists(places, max_size=2)
)
misplaced = some.builds(lambda row, place: msgspec.structs.replace(row, places=(place,)), honest, places)
moved = some.builds(lambda row, path: msgspec.structs.replace(row, path=encode(path)), honest, paths)
inner = some.builds(
    lambda path, link: Row(encode(path), File(link=link)),
    some.sampled_from(("a", "b", "a/b", "d")),
    some.sampled_from((b"b", b"../b", b"a", b"d", b"mine", b"d/e", b".git")),
)
rows = some.one_of(honest, honest, inner, inner, links, gone, wrong, misplaced, moved)


class Version(msgspec.Struct):
    """What is published once."""

    rows: list[Row]
    stretches: list[tuple[bytes, list[Row]]]
    by: str
    mode: Mode


versions = some.builds(
    Version,
    some.lists(rows, min_size=1, max_size=3) | some.lists(honest | inner, min_size=1, max_size=5),
    some.just([])
    | some.lists(
        some.tuples(some.sampled_from((b"", b"a", b"b", b"\xff", b"../x")), some.lists(rows, max_size=2)), max_size=3
    ),
    some.sampled_from(("them", "victim", "../../x", "/../../../x", "\0", "", "\x1b[2J", "a\nb", "x" * 5000, "\u202e")),
    some.sampled_from(("both", "pull", "pull", "bring")),
)


@settings(
    max_examples=BATCHES,
    derandomize=True,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
@given(some.lists(versions, min_size=BATCH, max_size=BATCH))
@pytest.mark.timeout(600)
def test_manifests_of_a_hostile_machine(batch: list[Version]) -> None:
    scene = Scene()
    try:
        for number, version in enumerate(batch, 1):
            publish(scene.world.store, version.rows, number=number, by=version.by, shards=version.stretches)
            scene.pull(version.mode)
        scene.check()
        scene.recover()
    finally:
        scene.world.close()


# --- one by one ---


@pytest.mark.parametrize(
    "path",
    ["../x", "/x", "a/../../x", "a/..", ".", "", "/", "a//b", "a//", ".git/x", ".git", "a/.GIT/hooks/x", ".Git/", ".lofty/x",
     ".lofty-part-1-1", "a/.Lofty-Part-2-2", "a\0b", ".g\u200cit/config", "x/" * 2049 + "x"],
)  # fmt: skip
def test_a_path_is_refused(path: str, scene: Scene) -> None:
    with pytest.raises(LoftyError):
        check_row(msgspec.structs.replace(good("a"), path=encode(path)))
    with pytest.raises(LoftyError):
        check_row(Row(encode(path)))
    publish(scene.world.store, [msgspec.structs.replace(good("a"), path=encode(path))])
    assert "refused" in scene.pull()
    scene.check()
    scene.recover()


@pytest.mark.parametrize("path", ["con", "a/NUL.txt", "a:b", "a\\b", "a.", "a ", "lpt1", "a/..b?", "a\x01"])
def test_a_path_that_windows_takes_for_something_else(path: str) -> None:
    with pytest.raises(LoftyError):
        check_row(good(path), windows=True)
    check_row(good(path), windows=False)


@given(
    some.text(some.characters(exclude_characters="/\0"), min_size=1, max_size=20).map(os.fsencode)
    | some.binary(min_size=1, max_size=20)
)
def test_what_one_side_sends_another_accepts(name: bytes) -> None:
    text = os.fsdecode(name.replace(b"/", b"_").replace(b"\0", b"_"))
    if text not in (".", "..") and not is_own(text):
        for path in (text, f"d/{text}", f"{text}/x", f"{text}/"):
            check_row(
                msgspec.structs.replace(good("a"), path=encode(path)) if path[-1] != "/" else Row(encode(path), File())
            )


@pytest.mark.parametrize(
    ("path", "link", "inside"),
    [
        ("a", "b", True),
        ("a", "b/c", True),
        ("d/a", "../b", True),
        ("d/e/a", "../../b", True),
        ("a", "./b", True),
        ("a", "..", False),
        ("d/a", "../..", False),
        ("a", "b/..", False),
        ("d/a", ".././..", False),
        ("a", "/etc", False),
        ("a", "", False),
        ("d/a", "../l/../..", False),
        ("a", "b\0c", False),
    ],
)
def test_a_link_stays(path: str, link: str, inside: bool) -> None:
    assert stays(path, link) is inside


@pytest.mark.parametrize(
    "change",
    [
        {"file": File((digest(b"one"),), 4)},
        {"file": File((digest(b"one"),), 2)},
        {"file": File((digest(b"one"),), -3)},
        {"file": File((), 3)},
        {"file": File((digest(b"one"),), 2**60)},
        {"file": File((digest(b"one"), digest(b"two")), 3)},
        {"file": File((b"x",), 3)},
        {"file": File((digest(b"two"),), 3)},
        {"places": ()},
        {"places": (Place(digest(PACK), 1, 3),)},
        {"places": (Place(digest(PACK), 0, 2**64 - 1),)},
        {"places": (Place(digest(PACK), 2**64 - 1, 3),)},
        {"places": (Place(digest(PACK), 2**63 - 1, 2),)},
        {"places": (Place(digest(PACK), 0, 3, 2**63),)},
        {"places": (Place(digest(PACK), 0, 3, -1),)},
        {"places": (Place(digest(PACK), -1, 3),)},
        {"places": (Place(b"../../../x", 0, 3),)},
        {"places": (Place(b"", 0, 3),)},
        {"places": (Place(digest(PACK), 0, 3, 0, True),)},
    ],
    ids=repr,
)
def test_an_entry_that_cannot_be_true(change: dict[str, Any], scene: Scene) -> None:
    publish(scene.world.store, [msgspec.structs.replace(good("a"), **change), good("b", 1)])
    scene.pull()
    assert not (scene.side.root / "a").exists()
    scene.check()
    scene.recover()


@pytest.mark.parametrize("by", ["../../../x", "/../../../x", "\0", "\x1b[31m", "", "y" * 3000, "a/b", "é"])
@pytest.mark.parametrize("mode", ["pull", "both"])
def test_the_name_of_a_side_is_no_path(by: str, mode: Mode, scene: Scene) -> None:
    """It becomes part of a file's name where both have changed the same."""
    (scene.side.root / "f.txt").write_text("here")
    publish(scene.world.store, [good("f.txt"), good("g/f", 1)], by=by)
    scene.side.folder.sync(mode)
    scene.check()
    found = sorted(path.relative_to(scene.side.root) for path in scene.side.root.rglob("f*"))
    assert {path.parent for path in found} == {Path(), Path("g")} or mode == "both"
    assert (scene.side.root / "f.txt").read_bytes() in (b"here", CONTENTS[0])
    assert len([path for path in found if path.parent == Path()]) == 2
    name = beside("d/f.txt", by, 1.7e9, lambda _: False)
    assert name.startswith("d/f.") and name.count("/") == 1 and name.isprintable()


@pytest.mark.parametrize("name", ["x." + "y" * 250, "x" * 255, "é" * 120, "." + "z" * 250, "\udcff" * 250])
def test_the_name_of_what_lost_is_not_too_long(name: str) -> None:
    found = beside(name, "a-side" * 20, 1.7e9, lambda _: False)
    assert len(encode(found)) <= 250


@pytest.mark.parametrize(
    "head",
    [
        {"version": 3},
        {"version": "versions/../../x"},
        {"version": "../../../../etc/passwd"},
        {"version": ""},
        {"version": "0000000001-" + "g" * 32},
        {"version": "0000000009-" + "a" * 32},
        {"version": "0000000001-" + "a" * 32 + "\n"},
        {"format": 2},
        {"format": "1"},
        {"format": 10**30},
        {"garbage": "../../x"},
        {"garbage": "missing"},
        {"garbage": 1},
        {"store": None},
    ],
    ids=repr,
)
def test_a_head_of_wrong_types(head: dict[str, Any], scene: Scene) -> None:
    publish(scene.world.store, [good("a")], head=head)
    (scene.side.root / "new").write_text("n")
    for _ in range(2):
        said = scene.pull()
        assert said or "garbage" not in head
    scene.check()
    scene.recover()


@pytest.mark.parametrize(
    "raw", [b"", b"\xff", b"[]", b"{}", b"null", b'"x"', b"[" * 100_000, b"{" * 9, b"1" * 10_000, b"\0" * 10**6]
)
def test_a_head_of_odd_bytes(raw: bytes, scene: Scene) -> None:
    scene.world.store.put("HEAD", raw)
    assert scene.pull()
    scene.check()
    scene.recover()


_P = ["0" * 0, 1.0, "x", 0, 0]


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        [1],
        [1, b"n", ["", math.nan, "x"]],
        [1, b"n", ["", math.inf, "x"]],
        [1, b"n", ["", -1.0, "x"]],
        [1, b"n", ["x", 1.0, "x"]],
        [1, b"n", ["", "1", "x"]],
        [1, b"n", _P, [], [], [["../../x", 1.0, "x"]]],
        [1, b"n", _P, [[b"", b"short", 1]]],
        [1, b"n", _P, [[b"", digest(b"no"), 1]]],
        [1, b"n", _P, [[1, 2, 3]]],
        [1, b"n", _P, [], [["text"]]],
        [1, b"n", _P, [], [[b"a", [[1], 3]]]],
        [1, b"n", _P, [], [[b"a", [[], -1.5]]]],
        [1, b"n", _P, [], [[b"a", [[], 10**19]]]],
    ],
    ids=repr,
)
def test_a_manifest_of_wrong_types(value: Any, scene: Scene) -> None:
    raw = zstandard.ZstdCompressor().compress(msgspec.msgpack.encode(value))
    publish(scene.world.store, raw=raw)
    assert scene.pull() or value[3:5] == []
    scene.check()
    scene.recover()


def test_a_manifest_that_is_nested_without_end(scene: Scene) -> None:
    raw = zstandard.ZstdCompressor().compress(b"\x91" * 1_000_000)
    publish(scene.world.store, raw=raw)
    assert scene.pull()
    scene.recover()


def test_a_folder_through_a_link_of_the_same_version(scene: Scene) -> None:
    """A link to a place inside, and a file that would lie behind it."""
    (scene.side.root / "real").mkdir()
    (scene.side.root / "real/x").write_text("here")
    scene.side.folder.sync()
    publish(
        scene.world.store,
        [Row(b"l", File(link=b"real")), good("l/x"), good("l/y"), Row(b"l/x/"), good("real/x/z")],
        number=9,
    )
    scene.pull()
    assert sorted(os.listdir(scene.side.root / "real")) in ([], ["x"])
    scene.recover()


@pytest.mark.parametrize("link", ["out", "alias"])
def test_nothing_is_written_or_deleted_behind_a_link_of_a_person(link: str, scene: Scene) -> None:
    if link == "alias":
        (scene.side.root / "folder").mkdir()
        (scene.side.root / "folder/file").write_text("kept")
        (scene.side.root / "alias").symlink_to("folder")
    publish(scene.world.store, [good(f"{link}/file"), good(f"{link}/new"), good(f"{link}/deep/er")])
    scene.pull()
    publish(scene.world.store, [Row(f"{link}/file".encode()), Row(f"{link}/".encode())], number=2)
    scene.pull("pull")
    scene.check()
    if link == "alias":
        assert os.listdir(scene.side.root / "folder") == ["file"]
        assert (scene.side.root / "alias").is_symlink()


def test_shards_out_of_order_and_overlapping(scene: Scene) -> None:
    shards = [
        (b"m", [good("a"), good("n", 1)]),
        (b"", [good("z", 1), good("b", 2)]),
        (b"m", [good("m", 1)]),
        (b"\xff", [good("a", 2)]),
    ]
    publish(scene.world.store, [good("q")], shards=shards)
    for mode in ("pull", "both", "both"):
        scene.pull(mode)
        scene.check()
    scene.recover()


# --- bombs ---

MEBI = 1024 * 1024


def bomb(size: int, begin: bytes = b"") -> bytes:
    """A frame that becomes that large, and says so."""
    made = zstandard.ZstdCompressor(level=1, write_content_size=True).compressobj(size=size)
    chunk = bytes(MEBI)
    out = [made.compress(begin)]
    left = size - len(begin)
    while left:
        out.append(made.compress(chunk[: min(left, MEBI)]))
        left -= min(left, MEBI)
    return b"".join([*out, made.flush()])


@pytest.fixture
def memory() -> Iterator[None]:
    """What is held at any moment stays small."""
    tracemalloc.start()
    yield
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 150 * MEBI, peak


def test_a_pack_that_is_a_bomb(scene: Scene, memory: None) -> None:
    frame = bomb(1024 * MEBI)
    assert len(frame) < 200_000
    scene.world.store.put(key_of(digest(frame)), frame)
    place = Place(digest(frame), 0, len(frame), 0, True)
    publish(scene.world.store, [Row(b"a", File((digest(b"one"),), 3), (place,)), good("b", 1)])
    report = scene.side.folder.sync()
    assert report.damaged == ["a"] and (scene.side.root / "b").exists()
    scene.check()


@pytest.mark.parametrize("claim", [True, False])
def test_a_frame_that_lies_about_its_size(claim: bool) -> None:
    small = zstandard.ZstdCompressor(write_content_size=claim).compress(bytes(MEBI))
    if claim:
        lie = bytearray(zstandard.ZstdCompressor(write_content_size=True).compress(bytes(MEBI)))
        lie[lie.index((MEBI).to_bytes(4, "little"))] = 1  # one byte more than there is
        small = bytes(lie)
    else:
        small = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(MEBI))
    with pytest.raises(LoftyError):
        expand(small, 4 * MEBI)


@pytest.mark.parametrize("what", ["manifest", "shard", "garbage"])
@pytest.mark.parametrize("many", [False, True])
def test_a_record_that_is_a_bomb(what: str, many: bool, scene: Scene, memory: None) -> None:
    row = msgspec.msgpack.encode(Row(b""))
    if many:  # many small entries, each of which costs far more than its bytes
        count = 20_000_000
        begin = b"\xdd" + count.to_bytes(4, "big")
        body = begin + row * count if what != "garbage" else begin + b"\xa0" * count
        if what == "manifest":
            body = b"\x95\x01\xc4\x01n" + msgspec.msgpack.encode(Past("", 1.0, "x")) + b"\x90" + body
        elif what == "shard":
            body = b"\x91" + body
        raw = zstandard.ZstdCompressor(level=1).compress(body)
        del body
    else:
        raw = bomb(1024 * MEBI, b"\xdd\x3f\xff\xff\xff")
    tracemalloc.reset_peak()
    store = scene.world.store
    if what == "manifest":
        publish(store, raw=raw)
    elif what == "shard":
        store.put(shard_key(digest(raw)), raw)
        publish(store, raw=pack(Manifest(1, b"n", Past("", 1.0, "x"), (Shard(b"", digest(raw), 1),))))
    else:
        store.put("garbage/bomb", raw)
        publish(store, [good("a")], head={"garbage": "bomb"})
        (scene.side.root / "new").write_text("n")
    assert scene.pull()
    scene.check()


def test_places_that_ask_for_everything_many_times(scene: Scene, memory: None) -> None:
    """The same large frame for many small files, each from another place in it."""
    raw = os.urandom(1024) * 1024 * 12
    frame = zstandard.ZstdCompressor(write_content_size=True).compress(raw)
    scene.world.store.put(key_of(digest(frame)), frame)
    where = digest(frame)
    many = [
        Row(b"f%d" % i, File((digest(raw[i : i + 8]),), 8), (Place(where, 0, len(frame), i, True),)) for i in range(400)
    ]
    many += [Row(b"g%d" % i, File((digest(b"x"),), 1), (Place(where, i, 2 * PIECE, 0),)) for i in range(100)]
    publish(scene.world.store, many)
    scene.pull()
    assert (scene.side.root / "f3").read_bytes() == raw[3:11]
    scene.check()


def test_more_than_the_disk_holds_is_refused_before_it_is_begun(scene: Scene) -> None:
    size = 2**50
    piece = digest(bytes(PIECE))
    names = (piece,) * 1000
    row = Row(b"a", File(names, 1000 * PIECE), (Place(digest(PACK), 0, 3),) * 1000)
    publish(scene.world.store, [msgspec.structs.replace(row, path=b"f%d" % i) for i in range(500)])
    assert size and "has room for" in scene.pull()
    scene.check()
