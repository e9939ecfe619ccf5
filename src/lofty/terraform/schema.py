"""What a resource is made of: types, attributes and blocks, as declared in Python and as terraform is told of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal

import msgspec

from .diagnostics import Diagnostic

Value = Any
"""A value as a resource sees it: str · int, or float, or Decimal where a float would not say the same · bool · list
(of a list, a set, or a set of blocks) · dict (of a map, an object or a block) · None where nothing is set · UNKNOWN
where terraform will know it only later. Maps, lists and blocks may hold UNKNOWN inside."""
Values = dict[str, Value]
"""The values of a whole resource or block. Every declared name is a key, also where nothing is set."""


class Unknown:
    """The one value that is not known yet."""

    def __repr__(self) -> str:
        return "UNKNOWN"

    def __bool__(self) -> bool:
        raise TypeError("a value is asked for that terraform does not know yet: compare with `is UNKNOWN` first")

    def __copy__(self) -> Unknown:
        return self

    def __deepcopy__(self, memo: object) -> Unknown:
        return self


UNKNOWN: Final = Unknown()


def known(value: Value) -> bool:
    """Whether nothing in it is UNKNOWN."""
    if isinstance(value, dict):
        return all(map(known, value.values()))
    if isinstance(value, list):
        return all(map(known, value))
    return value is not UNKNOWN


class Type(msgspec.Struct, frozen=True):
    """The type of an attribute."""

    name: Literal["string", "number", "bool", "list", "set", "map", "object"]
    element: Type | None = None
    """Of a list, a set or a map."""
    members: tuple[tuple[str, Type], ...] = ()
    """Of an object."""

    def wire(self) -> Any:
        """As terraform writes it in JSON."""
        if self.name == "object":
            return ["object", {name: member.wire() for name, member in self.members}]
        return [self.name, self.element.wire()] if self.element else self.name


STRING: Final = Type("string")
NUMBER: Final = Type("number")
BOOL: Final = Type("bool")


def List(element: Type) -> Type:  # noqa: N802 (reads as a type where it is used)
    """A list; its order counts."""
    return Type("list", element)


def Set(element: Type) -> Type:  # noqa: N802
    """A set; arrives as a list in an order of terraform's own."""
    return Type("set", element)


def Map(element: Type) -> Type:  # noqa: N802
    """A map from text."""
    return Type("map", element)


def Object(members: Mapping[str, Type]) -> Type:  # noqa: N802
    """A value with named members, all of them always there."""
    return Type("object", members=tuple(sorted(members.items())))


class Attribute(msgspec.Struct, frozen=True, kw_only=True):
    """One argument or result: required, or optional, or computed, or the last two, which means that the provider fills
    in what is not set. A default says both by itself."""

    name: str
    type: Type
    description: str = ""
    """Plain English; shown in documentation made from the schema."""
    required: bool = False
    optional: bool = False
    computed: bool = False
    sensitive: bool = False
    """Terraform shows `(sensitive value)` instead; the state file holds it all the same."""
    default: Value = None
    replace: bool = False
    """Whether a change makes a new resource instead of changing this one."""
    validate: Callable[[Value], Iterable[Diagnostic]] | None = None
    """Asked about values that are set and known. Gives what is wrong, with paths from here on, or raises a
    `LoftyError`; both are shown at this attribute."""

    def __post_init__(self) -> None:
        if self.default is not None:
            msgspec.structs.force_setattr(self, "optional", True)
            msgspec.structs.force_setattr(self, "computed", True)
        if self.required == (self.optional or self.computed):
            raise TypeError(f"{self.name}: either required, or optional or computed")


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """Arguments in braces under a name. `single` arrives as a dict or None, `set` as a list of dicts."""

    name: str
    nesting: Literal["single", "set"]
    attributes: tuple[Attribute, ...]
    description: str = ""
    max_items: int = 0
    """0: as many as one likes. Of sets only."""

    def __post_init__(self) -> None:
        if wrong := [one.name for one in self.attributes if one.computed and one.default is None]:
            raise TypeError(f"{self.name}: only a default can fill in an attribute of a block: {wrong}")


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """A resource, a data source or the provider itself."""

    attributes: tuple[Attribute, ...] = ()
    blocks: tuple[Block, ...] = ()
    description: str = ""
    version: int = 0
    """Only ever goes up: terraform refuses a state that is newer than its provider."""
