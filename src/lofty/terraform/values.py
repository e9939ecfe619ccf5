"""Terraform's values: checked against their types, and as MessagePack on the wire.

What is written is canonical: sets and maps in order, a number always in the same form. So two values are the same when
their bytes are.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec

from .diagnostics import Key, Path
from .schema import UNKNOWN, Attribute, Block, Schema, Type, Unknown, Value, Values

_UNKNOWN = msgspec.msgpack.Ext(0, b"\x00")
UNKNOWN_KINDS = (0, 12)
"""12: unknown, with something known about it, such as how it begins. Terraform takes a plain unknown in its place."""
DIGITS = 1000
"""What no number of a configuration has; beyond, `1e999999999` would be written out."""


_PYTHON: dict[str, tuple[type, ...]] = {
    "string": (str,), "bool": (bool,), "list": (list, tuple), "set": (list, tuple, set, frozenset),
    "map": (dict,), "object": (dict,),
}  # fmt: skip


class Misfit(ValueError):
    """A value that is not of its type."""

    def __init__(self, path: Path, words: str) -> None:
        super().__init__(f"{'.'.join(map(str, path)) or 'value'}: {words}")
        self.path = path


def number(value: Any, path: Path = ()) -> int | float | Decimal:
    """A number in its simplest form: int if it is whole, float if that says the same in decimals, else Decimal.
    Raises `Misfit`."""
    try:
        exact = Decimal(repr(value) if isinstance(value, float) else value)
    except (InvalidOperation, ValueError, TypeError) as error:
        raise Misfit(path, f"a number was expected, not {value!r:.80}") from error
    if not exact.is_finite() or abs(exact.adjusted()) > DIGITS:
        raise Misfit(path, f"{value!r:.80} is no number that terraform knows")
    if exact == exact.to_integral_value():
        return int(exact)
    near = float(exact)
    return near if Decimal(repr(near)) == exact else exact


def fit(kind: Type, value: Any, path: Path = ()) -> Value:
    """A value as its type wants it, at every depth; members of an object that are missing are None, others dropped.
    Raises `Misfit`, which names the place and never the value of a text."""
    if value is None or isinstance(value, Unknown):
        return value
    if kind.name == "number":
        if isinstance(value, bool):
            raise Misfit(path, "a number was expected, not a bool")
        return number(value, path)
    _expect(kind, value, path)
    if kind.name == "object":
        return {name: fit(member, value.get(name), (*path, name)) for name, member in kind.members}
    if kind.element is None:
        return value
    if kind.name == "map":
        return {str(name): fit(kind.element, one, (*path, Key(name))) for name, one in value.items()}
    return [fit(kind.element, one, (*path, place)) for place, one in enumerate(value)]


def _expect(kind: Type, value: object, path: Path) -> None:
    if not isinstance(value, _PYTHON[kind.name]):
        raise Misfit(path, f"a {kind.name} was expected, not {type(value).__name__}")


def fit_all(of: Schema | Block, values: Any, path: Path = ()) -> Values:
    """All values of a resource or a block, as its schema wants them. Raises `Misfit`."""
    if not isinstance(values, dict):
        raise Misfit(path, f"an object was expected, not {type(values).__name__}")
    fitted = {one.name: fit(one.type, values.get(one.name), (*path, one.name)) for one in of.attributes}
    for block in of.blocks if isinstance(of, Schema) else ():
        fitted[block.name] = _fit_block(block, values.get(block.name), (*path, block.name))
    return fitted


def _fit_block(block: Block, value: Any, path: Path) -> Value:
    if isinstance(value, Unknown):
        return UNKNOWN
    if block.nesting == "single":
        return None if value is None else fit_all(block, value, path)
    if not isinstance(value, (list, tuple, type(None))):
        raise Misfit(path, f"a set of blocks was expected, not {type(value).__name__}")
    # A dynamic block may make an element, or all of them, unknown.
    return [one if isinstance(one, Unknown) else fit_all(block, one, path) for one in value or ()]


def decode(schema: Schema, raw: bytes) -> Values | None:
    """The values in MessagePack of terraform's; None for a resource that is not there. Raises `Misfit`."""
    try:
        values = _DECODER.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Misfit((), f"these bytes are no values: {error}") from error
    return None if values is None else fit_all(schema, values)


def _extension(code: int, data: memoryview) -> Unknown:
    if code not in UNKNOWN_KINDS:
        raise Misfit((), f"MessagePack extension {code} is not known")
    return UNKNOWN


_DECODER = msgspec.msgpack.Decoder(ext_hook=_extension)


def encode(schema: Schema, values: Values | None) -> bytes:
    """The values as MessagePack. Raises `Misfit` where they are not what the schema says."""
    return msgspec.msgpack.encode(None if values is None else _wire_all(schema, fit_all(schema, values)))


def same(of: Attribute | Block, one: Value, other: Value) -> bool:
    """Whether two values of an attribute or a block are the same to terraform. What is unknown is like nothing else."""
    if isinstance(of, Attribute):
        left, right = (_wire(of.type, fit(of.type, value)) for value in (one, other))
    else:
        left, right = (_wire_block(of, _fit_block(of, value, ())) for value in (one, other))
    return msgspec.msgpack.encode(left) == msgspec.msgpack.encode(right)


def _wire_all(of: Schema | Block, values: Values) -> dict[str, Any]:
    wire = {one.name: _wire(one.type, values[one.name]) for one in of.attributes}
    for block in of.blocks if isinstance(of, Schema) else ():
        wire[block.name] = _wire_block(block, values[block.name])
    return wire


def _wire_block(block: Block, value: Value) -> Any:
    if value is UNKNOWN:
        return _UNKNOWN
    if block.nesting == "single":
        return None if value is None else _wire_all(block, value)
    return _ordered([_UNKNOWN if one is UNKNOWN else _wire_all(block, one) for one in value])


def _wire(kind: Type, value: Value) -> Any:
    if value is UNKNOWN:
        return _UNKNOWN
    if value is None:
        return None
    if kind.name == "number":
        if isinstance(value, int) and -(2**63) <= value < 2**64:
            return value
        return format(Decimal(repr(value)) if isinstance(value, float) else Decimal(value), "f")
    if kind.name == "object":
        return {name: _wire(member, value[name]) for name, member in kind.members}
    if kind.element is None:
        return value
    if kind.name == "map":
        return {name: _wire(kind.element, value[name]) for name in sorted(value)}
    wire = [_wire(kind.element, one) for one in value]
    return _ordered(wire) if kind.name == "set" else wire


def _ordered(wire: list[Any]) -> list[Any]:
    return sorted(wire, key=msgspec.msgpack.encode)
