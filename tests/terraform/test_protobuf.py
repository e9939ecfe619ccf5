"""The wire, against bytes written down by hand and against bytes that nobody would write."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofty.terraform.messages import PLUGIN, PROVIDER
from lofty.terraform.protobuf import Field, Malformed, Table, decode, encode

INNER = Table(number=Field(1, "int"), text=Field(2, "text"))
OUTER = Table(
    text=Field(1, "text"),
    raw=Field(2, "bytes"),
    number=Field(3, "int"),
    flag=Field(4, "bool"),
    inner=Field(5, INNER),
    inners=Field(6, INNER, "list"),
    texts=Field(7, "text", "list"),
    by_name=Field(8, INNER, "map"),
    one=Field(9, "int", "choice"),
    other=Field(200, "text", "choice"),
)
EMPTY: dict[str, Any] = {
    "text": "",
    "raw": b"",
    "number": 0,
    "flag": False,
    "inner": None,
    "inners": [],
    "texts": [],
    "by_name": {},
    "one": None,
    "other": None,
}
numbers = st.integers(-(2**63), 2**63 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
inners = st.fixed_dictionaries({"number": numbers, "text": texts})
outers = st.fixed_dictionaries(
    {
        "text": texts,
        "raw": st.binary(max_size=200),
        "number": numbers,
        "flag": st.booleans(),
        "inner": st.none() | inners,
        "inners": st.lists(inners, max_size=3),
        "texts": st.lists(texts, max_size=3),
        "by_name": st.dictionaries(texts, inners, max_size=3),
        "one": st.none() | numbers,
        "other": st.none() | texts,
    }
)


@pytest.mark.parametrize(
    ("message", "raw"),
    [
        ({"number": 150}, "18 96 01"),
        ({"text": "testing"}, "0a 07 74 65 73 74 69 6e 67"),
        ({"inner": {"number": 150}}, "2a 03 08 96 01"),
        ({"inner": {}}, "2a 00"),
        ({"number": -1}, "18 ff ff ff ff ff ff ff ff ff 01"),
        ({"flag": True}, "20 01"),
        ({"one": 0}, "48 00"),
        ({"other": ""}, "c2 0c 00"),
        ({"texts": ["", "a"]}, "3a 00 3a 01 61"),
        ({"by_name": {"a": {"number": 1}}}, "42 07 0a 01 61 12 02 08 01"),
        ({}, ""),
    ],
)
def test_bytes_as_the_documentation_has_them(message: dict[str, Any], raw: str) -> None:
    assert encode(OUTER, message) == bytes.fromhex(raw)
    read = decode(OUTER, bytes.fromhex(raw))
    assert read == {
        **EMPTY,
        **{name: value if name in ("one", "other") else read[name] for name, value in message.items()},
    }
    assert encode(OUTER, read) == bytes.fromhex(raw)


@given(outers)
def test_what_is_written_is_read(message: dict[str, Any]) -> None:
    assert decode(OUTER, encode(OUTER, message)) == message


@given(outers, st.binary(max_size=40))
def test_fields_of_a_later_version_are_skipped(message: dict[str, Any], more: bytes) -> None:
    later = Table(a=Field(77, "bytes"), b=Field(78, "int"))
    unknown = encode(later, {"a": more, "b": len(more)}) + b"\xf9\x04" + bytes(8) + b"\xfd\x04" + bytes(4)
    assert decode(OUTER, unknown + encode(OUTER, message) + unknown) == message


@pytest.mark.parametrize(
    "raw",
    ["18", "18 ff", "0a 05 61", "0a 01 ff", "00 00", "1b", "1c", "1a 01 61", "08 01", "18" + " ff" * 9 + " 02",
     "18" + " ff" * 10 + " 01", "2a 01 08", "0a ff ff ff ff ff ff ff ff ff 01", "19 00 00", "1e 00", "28 01"],
)  # fmt: skip
def test_bytes_that_are_no_message(raw: str) -> None:
    with pytest.raises(Malformed):
        decode(OUTER, bytes.fromhex(raw))


@given(st.sampled_from([*PROVIDER.values(), *PLUGIN.values()]), st.binary(max_size=100))
def test_no_bytes_do_anything_but_read_or_be_refused(tables: tuple[Table, Table], raw: bytes) -> None:
    for table in tables:
        with contextlib.suppress(Malformed):
            again = decode(table, raw)
            assert decode(table, encode(table, again)) == again


def test_no_table_has_a_number_twice() -> None:
    seen: set[int] = set()

    def look(table: Table) -> None:
        if id(table) in seen:
            return
        seen.add(id(table))
        assert len(table.names) == len(table.fields)
        for field in table.fields.values():
            if isinstance(field.kind, Table):
                look(field.kind)

    for asked, answered in [*PROVIDER.values(), *PLUGIN.values()]:
        look(asked)
        look(answered)
    assert len(seen) > 30
