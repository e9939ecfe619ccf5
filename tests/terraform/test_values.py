"""Terraform's values on the wire and in Python."""

from __future__ import annotations

import contextlib
import math
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofty.terraform.schema import (
    BOOL,
    NUMBER,
    STRING,
    UNKNOWN,
    Attribute,
    Block,
    List,
    Map,
    Object,
    Schema,
    Set,
    Type,
    Value,
    known,
)
from lofty.terraform.values import Misfit, decode, encode, fit, number, same


def of(kind: Type) -> Schema:
    return Schema(attributes=(Attribute(name="x", type=kind, optional=True),))


def wire(kind: Type, value: Value) -> Any:
    """A value as it stands on the wire."""
    return msgspec.msgpack.decode(encode(of(kind), {"x": value}))["x"]


@pytest.mark.parametrize(
    ("sent", "read"),
    [(1, 1), (-1, -1), (1.0, 1), (0.25, 0.25), ("0.1", 0.1), ("0.3", 0.3),
     ("18446744073709551616", 2**64),
     ("1e3", 1000),
     ("0.10000000000000000001", Decimal("0.10000000000000000001")), (2**64 - 1, 2**64 - 1), ("-0.5", -0.5),
     (1e300, 10**300)],
)  # fmt: skip
def test_numbers_arrive_in_their_simplest_form(sent: Any, read: Any) -> None:
    value = decode(of(NUMBER), msgspec.msgpack.encode({"x": sent}))
    assert value == {"x": read}
    assert type(value["x"]) is type(read)


@pytest.mark.parametrize(
    ("value", "sent"),
    [(1, 1), (1.0, 1), (0.1, "0.1"), (0.25, "0.25"), (2**64, str(2**64)), (-(2**63) - 1, str(-(2**63) - 1)),
     (1e-7, "0.0000001"), (Decimal("1.50"), "1.5"), (Decimal("1.10"), "1.1"), (Decimal("0.10000000000000000001"),) * 2],
)  # fmt: skip
def test_numbers_leave_as_what_they_are(value: Any, sent: Any) -> None:
    assert wire(NUMBER, value) == (str(sent) if isinstance(sent, Decimal) else sent)


@given(
    st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.decimals(-9, 9, allow_nan=False, places=30)
)
def test_a_number_comes_back_as_it_was(value: Any) -> None:
    exact = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if abs(exact.adjusted()) <= 1000:
        back = number(wire(NUMBER, value))
        assert (Decimal(repr(back)) if isinstance(back, float) else Decimal(back)) == exact


@pytest.mark.parametrize("value", [math.nan, math.inf, "x", "", "1e999999999", "NaN", True, [], b"1", "0x10"])
def test_what_is_no_number(value: Any) -> None:
    with pytest.raises(Misfit):
        fit(NUMBER, value)


def test_unknown_is_extension_zero_and_is_read_with_refinements() -> None:
    assert encode(of(STRING), {"x": UNKNOWN}) == b"\x81\xa1x\xd4\x00\x00"
    for raw in (b"\x81\xa1x\xd4\x00\x00", b"\x81\xa1x\xc7\x05\x0c\x82\x01\xc2\x02\x61"):
        assert decode(of(STRING), raw) == {"x": UNKNOWN}
    assert decode(of(Map(STRING)), b"\x81\xa1x\x81\xa1k\xd4\x00\x00") == {"x": {"k": UNKNOWN}}
    with pytest.raises(Misfit):
        decode(of(STRING), b"\x81\xa1x\xd4\x07\x00")


def test_unknown_is_never_taken_for_a_value() -> None:
    with pytest.raises(TypeError, match="is UNKNOWN"):
        bool(UNKNOWN)
    assert not known({"a": [1, {"b": UNKNOWN}]})
    assert known({"a": [1, {"b": None}]})


def test_nulls_are_always_there_and_empty_text_is_not_null() -> None:
    assert msgspec.msgpack.decode(encode(of(STRING), {})) == {"x": None}
    assert wire(STRING, "") == ""
    assert wire(Map(STRING), {"a": "", "b": None}) == {"a": "", "b": None}
    assert decode(of(STRING), msgspec.msgpack.encode(None)) is None


def test_sets_and_maps_have_one_form() -> None:
    assert wire(Set(STRING), ["b", "a"]) == wire(Set(STRING), {"a", "b"}) == ["a", "b"]
    attribute = Attribute(name="x", type=Set(STRING), optional=True)
    assert same(attribute, ["b", "a"], ["a", "b"])
    assert not same(attribute, ["a"], ["a", "b"])
    assert not same(Attribute(name="x", type=List(STRING), optional=True), ["b", "a"], ["a", "b"])
    assert same(Attribute(name="x", type=NUMBER, optional=True), 0.1, Decimal("0.1"))
    assert not same(Attribute(name="x", type=STRING, optional=True), "", None)


@pytest.mark.parametrize(
    ("kind", "value"),
    [(STRING, 1), (STRING, b"a"), (BOOL, 1), (BOOL, "true"), (List(STRING), "abc"), (List(STRING), [1]),
     (Map(STRING), []),     (Object({"a": NUMBER}), {"a": "x"}), (Map(NUMBER), {"a": {}})],
)  # fmt: skip
def test_what_does_not_fit_is_named_by_its_place(kind: Type, value: Any) -> None:
    with pytest.raises(Misfit, match=r"^x"):
        encode(of(kind), {"x": value})


def test_blocks() -> None:
    inner = Attribute(name="a", type=STRING, optional=True)
    several = Schema(blocks=(Block(name="b", nesting="set", attributes=(inner,)),))
    single = Schema(blocks=(Block(name="b", nesting="single", attributes=(inner,)),))
    assert msgspec.msgpack.decode(encode(several, {})) == {"b": []}
    assert msgspec.msgpack.decode(encode(single, {})) == {"b": None}
    assert decode(single, msgspec.msgpack.encode({"b": {"a": "1", "later": 2}})) == {"b": {"a": "1"}}
    assert decode(several, b"\x81\xa1b\xd4\x00\x00") == {"b": UNKNOWN}
    assert decode(several, b"\x81\xa1b\x91\xd4\x00\x00") == {"b": [UNKNOWN]}
    assert encode(several, {"b": [UNKNOWN]}) == b"\x81\xa1b\x91\xd4\x00\x00"
    refused: list[Any] = [{"b": "x"}, {"b": ["x"]}, {"b": {"a": 1}}, []]
    for wrong in refused:
        with pytest.raises(Misfit):
            decode(several, msgspec.msgpack.encode(wrong))


EVERYTHING = Schema(
    attributes=(
        Attribute(name="a", type=Map(List(NUMBER)), optional=True),
        Attribute(name="b", type=Set(Object({"s": STRING, "f": BOOL})), optional=True),
    ),
    blocks=(
        Block(name="c", nesting="set", attributes=(Attribute(name="d", type=STRING, optional=True),)),
        Block(name="e", nesting="single", attributes=(Attribute(name="f", type=NUMBER, optional=True),)),
    ),
)


@given(st.binary(max_size=60) | st.from_type(dict).map(msgspec.msgpack.encode))
def test_no_bytes_do_anything_but_read_or_be_refused(raw: bytes) -> None:
    with contextlib.suppress(Misfit):
        values = decode(EVERYTHING, raw)
        sent = encode(EVERYTHING, values)
        assert encode(EVERYTHING, decode(EVERYTHING, sent)) == sent


def test_bytes_nested_beyond_measure_are_refused() -> None:
    with pytest.raises(Misfit):
        decode(EVERYTHING, b"\x81\xa1a" + b"\x91" * 100_000 + b"\xc0")
