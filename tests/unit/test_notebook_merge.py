"""Notebooks that both sides changed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lofty.store.files.diff3 import merge3
from lofty.store.files.notebook import merge

Cell = dict[str, Any]


def code(name: str, source: str, **more: Any) -> Cell:
    cell: Cell = {"cell_type": "code", "execution_count": None, "id": name, "metadata": {}, "outputs": []}
    return {**cell, "source": source.splitlines(keepends=True), **more}


def book(*cells: Cell, minor: int = 5, **metadata: Any) -> bytes:
    whole = {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": minor}
    return json.dumps(whole, indent=1, ensure_ascii=False).encode() + b"\n"


def sources(raw: bytes | None) -> list[str]:
    assert raw is not None
    return ["".join(cell["source"]) for cell in json.loads(raw)["cells"]]


def out(text: str) -> dict[str, Any]:
    return {"outputs": [{"output_type": "stream", "name": "stdout", "text": [text]}], "execution_count": 1}


BASE = book(code("a", "x = 1\ny = 2\nz = 3"), code("b", "plot()"), code("c", "end"))


def test_changes_in_different_cells_lines_and_places() -> None:
    ours = book(code("a", "x = 1\ny = 2\nz = 30"), code("b", "plot()"), code("o", "ours"), code("c", "end"))
    theirs = book(
        code("a", "x = 10\ny = 2\nz = 3"), code("t", "theirs"), code("b", "plot()", **out("42")), code("c", "end")
    )
    merged = merge(BASE, ours, theirs)
    assert sources(merged) == ["x = 10\ny = 2\nz = 30", "theirs", "plot()", "ours", "end"]
    assert merged is not None
    assert json.loads(merged)["cells"][2]["outputs"][0]["text"] == ["42"]
    assert sorted(sources(merge(BASE, theirs, ours))) == sorted(sources(merged))


def test_the_same_line_changed_differently_is_for_a_person() -> None:
    assert merge(BASE, book(code("a", "ours")), book(code("a", "theirs"))) is None


def test_the_same_cell_run_on_both_sides_with_other_outcomes_is_for_a_person() -> None:
    ours, theirs = (book(code("a", "f()", **out(text))) for text in ("1", "2"))
    assert merge(book(code("a", "f()")), ours, theirs) is None
    counts = [book(code("a", "f()", **{**out("same"), "execution_count": n})) for n in (3, 9)]
    merged = merge(book(code("a", "f()")), *counts)
    assert merged is not None
    assert json.loads(merged)["cells"][0]["execution_count"] == 9


def test_deleted_here_changed_there_stays() -> None:
    kept = merge(BASE, book(code("c", "end")), book(code("a", "changed"), code("b", "plot()"), code("c", "end")))
    assert sources(kept) == ["changed", "end"]


def test_moved_here_changed_there() -> None:
    ours = book(code("c", "end"), code("a", "x = 1\ny = 2\nz = 3"), code("b", "plot()"))
    theirs = book(code("a", "x = 1\ny = 2\nz = 3"), code("b", "plot(2)"), code("c", "end"))
    assert sources(merge(BASE, ours, theirs)) == ["end", "x = 1\ny = 2\nz = 3", "plot(2)"]


def test_old_notebooks_without_ids() -> None:
    def old(*texts: str) -> bytes:
        cells = [{key: value for key, value in code("", text).items() if key != "id"} for text in texts]
        return book(*cells, minor=4)

    assert sources(merge(old("1", "2", "3"), old("1", "2b", "3"), old("1", "2", "3", "4"))) == ["1", "2b", "3", "4"]
    assert merge(old("1"), old("2"), old("3")) is None


def test_settings_of_the_whole() -> None:
    merged = merge(book(kernel="a"), book(kernel="a", mine=1), book(kernel="b", theirs=[2]))
    assert merged is not None
    assert json.loads(merged)["metadata"] == {"kernel": "b", "theirs": [2], "mine": 1}
    assert merge(book(k=1), book(k=2), book(k=3)) is None


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["cells", "id", "source", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=50) | values.map(lambda value: json.dumps(value).encode()), st.sampled_from([0, 1, 2]), values
)
def test_nothing_that_comes_breaks_it(raw: bytes, where: int, cells: object) -> None:
    for odd in (raw, json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5}).encode()):
        books = [BASE, BASE, BASE]
        books[where] = odd
        assert merge(*books) is None or isinstance(merge(*books), bytes)


def test_odd_notebooks_are_left_to_a_person() -> None:
    deep = b'{"cells": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    for odd in (
        b"",
        b"\xff",
        deep,
        book(code("a", "1"), code("a", "2")),
        BASE.replace(b'"nbformat": 4', b'"nbformat": 3'),
    ):
        assert merge(BASE, odd, BASE) is None


lines = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=8)
cells_ = st.lists(st.sampled_from("abcdefg"), max_size=6, unique=True)


@settings(max_examples=300, deadline=None)
@given(lines, lines, lines)
def test_three_way_merges_of_lines(base: list[str], ours: list[str], theirs: list[str]) -> None:
    assert merge3(base, base, theirs) == theirs
    assert merge3(base, ours, base) == ours
    assert merge3(base, ours, ours) == ours
    merged = merge3(base, ours, theirs)
    assert merged == merge3(base, theirs, ours)
    if merged is not None:
        added = [line for side in (ours, theirs) for line in side if line not in base]
        assert all(line in merged for line in added)


@settings(max_examples=200, deadline=None)
@given(cells_, cells_, cells_, st.data())
def test_no_cell_that_somebody_wrote_is_lost(a: list[str], b: list[str], c: list[str], data: st.DataObject) -> None:
    texts = {name: f"{name} = 1" for name in "abcdefg"}
    edited = {name: f"{name} = 2" for name in data.draw(st.sets(st.sampled_from("abcdefg"), max_size=3))}
    base = book(*(code(name, texts[name]) for name in a))
    ours = book(*(code(name, texts[name]) for name in b))
    theirs = book(*(code(name, {**texts, **edited}[name]) for name in c))
    merged = merge(base, ours, theirs)
    if merged is None:
        return
    found = sources(merged)
    for name in c:
        if name in edited or name not in a:
            assert {**texts, **edited}[name] in found
    for name in b:
        if name not in a:
            assert texts[name] in found
    assert len(set(found)) == len(found)


def test_what_comes_out_is_a_notebook(jupyter_python: Path, tmp_path: Path) -> None:
    ours = book(code("a", "x = 1\ny = 2\nz = 30"), code("b", "plot()"), code("o", "ours"), code("c", "end"))
    theirs = book(
        code("a", "x = 10\ny = 2\nz = 3"), code("b", "plot()", **out("42")), code("a2", "new"), code("c", "end")
    )
    for number, (one, other) in enumerate([(ours, theirs), (theirs, ours), (BASE, ours)]):
        merged = merge(BASE, one, other)
        assert merged is not None
        (tmp_path / f"{number}.ipynb").write_bytes(merged)
    check = "import nbformat, sys; [nbformat.validate(nbformat.read(f, as_version=4)) for f in sys.argv[1:]]"
    words = [str(jupyter_python), "-W", "error", "-c", check, *map(str, tmp_path.glob("*.ipynb"))]
    subprocess.run(words, check=True, timeout=60)
