"""The few rules of the protobuf wire that terraform's protocol needs, driven by tables of field numbers.

A message is a dict of its fields by name. What is absent on the wire reads as "", b"", 0, False, None for a message,
[] or {}; what equals that is left out when written, as proto3 wants it. Source of the rules: the encoding page of the
protobuf documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec

Message = dict[str, Any]
Scalar = Literal["text", "bytes", "int", "bool"]
ZERO: dict[Scalar, Any] = {"text": "", "bytes": b"", "int": 0, "bool": False}
VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5
LAST = 0xFFFF_FFFF_FFFF_FFFF


class Malformed(ValueError):
    """Bytes that are no message of that kind."""


class Field(msgspec.Struct, frozen=True):
    """One field: its number, what it holds, and how often."""

    number: int
    kind: Scalar | Table
    many: Literal["one", "list", "map", "choice"] = "one"
    """A map is by text. Of a choice (`oneof`) only what is set is there, and it is written also when it is zero."""


class Table:
    """The fields of one kind of message."""

    def __init__(self, **fields: Field) -> None:
        self.fields: dict[str, Field] = {}
        self.names: dict[int, str] = {}
        for name, field in fields.items():
            self.add(name, field)

    def add(self, name: str, field: Field) -> None:
        """One more field, for tables that contain each other."""
        self.fields[name] = field
        self.names[field.number] = name


def encode(table: Table, message: Mapping[str, Any]) -> bytes:
    """A message as bytes. Raises `KeyError` for a field that the table does not have."""
    out = bytearray()
    for name, value in message.items():
        field = table.fields[name]
        if field.many == "list":
            for one in value:
                _write(out, field, one)
        elif field.many == "map":
            for key, one in value.items():
                entry = bytearray()
                _write(entry, Field(1, "text"), key)
                _write(entry, Field(2, field.kind), one)
                _write(out, Field(field.number, "bytes"), bytes(entry))
        elif value is not None and (field.many == "choice" or isinstance(field.kind, Table) or value != _zero(field)):
            _write(out, field, value)
    return bytes(out)


def decode(table: Table, raw: bytes) -> Message:
    """The message in these bytes; fields that the table does not have are skipped. Raises `Malformed`."""
    message: Message = {name: _zero(field) for name, field in table.fields.items()}
    for number, wire, value in _read(raw):
        name = table.names.get(number)
        if name is None:
            continue
        field = table.fields[name]
        if field.many == "map":
            entry = decode(Table(key=Field(1, "text"), value=Field(2, field.kind)), _delimited(wire, value))
            message[name][entry["key"]] = entry["value"]
        elif field.many == "list":
            message[name].append(_value(field, wire, value))
        else:
            message[name] = _value(field, wire, value)
    return message


def _zero(field: Field) -> Any:
    if field.many == "list":
        return []
    if field.many == "map":
        return {}
    if field.many == "choice" or isinstance(field.kind, Table):
        return None
    return ZERO[field.kind]


def _write(out: bytearray, field: Field, value: Any) -> None:
    if field.kind in ("int", "bool"):
        _varint(out, field.number << 3 | VARINT)
        _varint(out, int(value) & LAST)
        return
    if isinstance(field.kind, Table):
        raw = encode(field.kind, value)
    else:
        raw = value.encode() if field.kind == "text" else bytes(value)
    _varint(out, field.number << 3 | DELIMITED)
    _varint(out, len(raw))
    out += raw


def _varint(out: bytearray, value: int) -> None:
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


def _value(field: Field, wire: int, value: int | bytes) -> Any:
    if field.kind in ("int", "bool"):
        if wire != VARINT or not isinstance(value, int):
            raise Malformed(f"field {field.number}: a number was expected")
        if field.kind == "bool":
            return bool(value)
        return value - (LAST + 1) if value >> 63 else value
    raw = _delimited(wire, value)
    if isinstance(field.kind, Table):
        return decode(field.kind, raw)
    if field.kind == "bytes":
        return raw
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"field {field.number}: text is not UTF-8") from error


def _delimited(wire: int, value: int | bytes) -> bytes:
    if wire != DELIMITED or not isinstance(value, bytes):
        raise Malformed("a field with a length was expected")
    return value


def _read(raw: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """Number, wire type and value of each field."""
    at = 0
    while at < len(raw):
        tag, at = _number(raw, at)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise Malformed("field 0")
        if wire == VARINT:
            value, at = _number(raw, at)
            yield number, wire, value
            continue
        if wire == DELIMITED:
            size, at = _number(raw, at)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
        else:
            raise Malformed(f"field {number}: wire type {wire}")
        if at + size > len(raw):
            raise Malformed(f"field {number}: cut off")
        yield number, wire, raw[at : at + size]
        at += size


def _number(raw: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, at most 64 bits, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(raw):
            raise Malformed("a number is cut off")
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value > LAST:
                break
            return value, at
    raise Malformed("a number has more than 64 bits")
