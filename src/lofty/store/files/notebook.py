"""A notebook that both sides changed, merged cell by cell where nobody's words get lost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import SequenceMatcher
from hashlib import blake2b
from typing import Any

from .diff3 import merge3

Cell = dict[str, Any]
VOLATILE = frozenset(
    {"execution", "ExecuteTime", "collapsed", "scrolled", "execution_count", "language_info", "widgets"}
)
"""What programs write by themselves: where both sides have another, theirs does."""


class _ConflictError(Exception):
    """Both sides changed the same thing in different ways."""


def merge(base: bytes, ours: bytes, theirs: bytes) -> bytes | None:
    """The notebook with the changes of both sides; None when that cannot be made without losing something that
    somebody wrote, or when one of them is no notebook."""
    try:
        books = [_parsed(raw) for raw in (base, ours, theirs)]
        merged = _merge(*books)
        text = json.dumps(merged, indent=1, ensure_ascii=False, allow_nan=False)
        return (text + "\n" * theirs.endswith(b"\n")).encode()
    except (_ConflictError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _parsed(raw: bytes) -> dict[str, Any]:
    book = json.loads(raw, object_pairs_hook=_table)
    cells = book["cells"]
    if book["nbformat"] != 4 or not isinstance(cells, list) or type(book["nbformat_minor"]) is not int:
        raise ValueError
    for one in (book, *cells):
        if not isinstance(one, dict) or not isinstance(one["metadata"], dict):
            raise TypeError
    for cell in cells:
        outputs = cell.get("outputs", [])
        known = isinstance(cell["cell_type"], str) and isinstance(outputs, list)
        if not known or not all(isinstance(output, dict) for output in outputs):
            raise TypeError
        _source(cell)
    ids = [cell["id"] for cell in cells if "id" in cell]
    if len(set(ids)) != len(ids) or not all(isinstance(one, str) for one in ids):
        raise ValueError
    return book  # type: ignore[no-any-return]


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two values under one name, one would be lost."""
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError
    return table


def _merge(base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, Any]:
    merged = _fields(base, ours, theirs, leave=("cells", "nbformat_minor"))
    was, mine, yours = _keyed(base["cells"], ours["cells"], theirs["cells"])
    cells: list[Cell] = []
    for key in _order(was, mine, yours):
        cells += _cell(was.get(key), mine.get(key), yours.get(key))
    ids = [cell["id"] for cell in cells if "id" in cell]
    if len(set(ids)) < len(ids):
        raise _ConflictError
    minor = max(book["nbformat_minor"] for book in (ours, theirs))
    if minor >= 5 and not all("id" in cell for cell in cells):
        minor = 4
    if minor < 5:
        cells = [{name: value for name, value in cell.items() if name != "id"} for cell in cells]
    return {"cells": cells, **merged, "nbformat_minor": minor}


# --- which cell is which ---


def _keyed(base: list[Cell], ours: list[Cell], theirs: list[Cell]) -> tuple[dict[str, Cell], ...]:
    """Cells by a key that is the same for the same cell: its id, or, in old notebooks, where it stands."""
    if all("id" in cell for cell in (*base, *ours, *theirs)):
        return tuple({cell["id"]: cell for cell in cells} for cells in (base, ours, theirs))
    return {f"{index}": cell for index, cell in enumerate(base)}, _aligned(base, ours), _aligned(base, theirs)


def _aligned(base: list[Cell], cells: list[Cell]) -> dict[str, Cell]:
    """A new cell's key is made from what it follows and says: it is one cell when both sides made it."""
    was, now = ([(cell["cell_type"], _source(cell)) for cell in some] for some in (base, cells))
    found: dict[str, Cell] = {}
    for kind, a, a_end, b, b_end in SequenceMatcher(None, was, now, autojunk=False).get_opcodes():
        if kind == "equal" or (kind == "replace" and a_end - a == b_end - b):
            found |= {f"{a + index}": cell for index, cell in enumerate(cells[b:b_end])}
            continue
        for index in range(b, b_end):
            alike = now[b:index].count(now[index])
            found[f"{a} {alike} {now[index]}"] = cells[index]
    return found


def _order(base: dict[str, Cell], ours: dict[str, Cell], theirs: dict[str, Cell]) -> list[str]:
    """The keys of the result: what one side deleted and the other left alone goes; an edit wins over a deletion."""

    def kept(key: str) -> bool:
        if key not in base:
            return True
        gone = [
            side for side, other in ((ours, theirs), (theirs, ours)) if key not in side and other.get(key) == base[key]
        ]
        return not gone and (key in ours or key in theirs)

    common = [key for key in base if key in ours and key in theirs]
    shared = set(common)
    by_ours, by_theirs = ([key for key in side if key in shared] for side in (ours, theirs))
    if by_ours in (common, by_theirs):
        main, other, theirs_lead = theirs, ours, True
    elif by_theirs == common:
        main, other, theirs_lead = ours, theirs, False
    else:
        raise _ConflictError  # both moved cells
    result = [key for key in main if kept(key)]
    before = None
    for key in other:
        if kept(key) and key not in main:
            at = result.index(before) + 1 if before is not None else 0
            while theirs_lead and at < len(result) and result[at] not in other and result[at] not in base:
                at += 1
            result.insert(at, key)
        if key in result:
            before = key
    return result


# --- what is in it ---


def _cell(base: Cell | None, ours: Cell | None, theirs: Cell | None) -> list[Cell]:
    if ours == theirs or ours is None or theirs is None:
        return [theirs or ours or {}]
    if base is None:  # both made a cell of that id
        return [theirs, {**ours, "id": blake2b(repr(ours).encode("utf-8", "replace"), digest_size=4).hexdigest()}]
    if ours == base:
        return [theirs]
    if theirs == base:
        return [ours]
    merged = _fields(base, ours, theirs, leave=("source", "outputs", "execution_count"))
    lines = merge3(*(_source(cell).splitlines(keepends=True) for cell in (base, ours, theirs)))
    if lines is None:
        raise _ConflictError
    cell = dict(merged)
    cell["source"] = lines if isinstance(theirs.get("source"), list) else "".join(lines)
    if "outputs" in theirs or "outputs" in ours:
        ran = _who_ran(base, ours, theirs)
        cell["outputs"], cell["execution_count"] = ran["outputs"], ran.get("execution_count")
    places = {name: index for index, name in enumerate(theirs)}
    return [dict(sorted(cell.items(), key=lambda item: places.get(item[0], len(places))))]


def _who_ran(base: Cell, ours: Cell, theirs: Cell) -> Cell:
    was, mine, yours = (_shown(cell["outputs"]) for cell in (base, ours, theirs))
    if yours == was and (mine != was or theirs.get("execution_count") == base.get("execution_count")):
        return ours
    if mine in (was, yours):
        return theirs
    raise _ConflictError


def _shown(outputs: list[Cell]) -> list[Cell]:
    """Outputs as a person sees them."""
    return [{name: value for name, value in output.items() if name not in VOLATILE} for output in outputs]


def _source(cell: Cell) -> str:
    source = cell["source"]
    text = "".join(source) if isinstance(source, list) else source
    if not isinstance(text, str):
        raise TypeError
    return text


def _fields(
    base: Mapping[str, Any], ours: Mapping[str, Any], theirs: Mapping[str, Any], leave: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Key by key, and deeper where all three have tables."""
    nothing = object()
    result: dict[str, Any] = {}
    for name in (*theirs, *(name for name in ours if name not in theirs)):
        if name in leave:
            continue
        was, mine, yours = (side.get(name, nothing) for side in (base, ours, theirs))
        if mine in (yours, was):
            chosen = yours
        elif yours == was:
            chosen = mine
        elif name in VOLATILE:
            chosen = yours
        elif isinstance(mine, dict) and isinstance(yours, dict):
            chosen = _fields(was if isinstance(was, dict) else {}, mine, yours)
        else:
            raise _ConflictError
        if chosen is not nothing:
            result[name] = chosen
    return result
