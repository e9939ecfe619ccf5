"""Arguments made from the table of options, so that a resource has what the command line has, under the same names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .. import config
from ..config import Option
from ..errors import SpecError
from .diagnostics import Diagnostic
from .schema import BOOL, NUMBER, STRING, Attribute, List, Type, Values

TYPES: Mapping[config.Kind, Type] = {"flag": BOOL, "number": NUMBER, "whole": NUMBER, "list": List(STRING)}
"""Of options that are not text."""


def arguments(names: Iterable[str], *, replace: bool) -> tuple[Attribute, ...]:
    """One for each of these options."""
    return tuple(_argument(config.BY_NAME[name], replace=replace) for name in names)


def _argument(option: Option, *, replace: bool) -> Attribute:
    def check(value: Any) -> Iterable[Diagnostic]:
        parsed(option, value)
        return ()

    return Attribute(
        name=option.name,
        type=TYPES.get(option.kind, STRING),
        description=f"{option.help[:1].upper()}{option.help[1:]}.",
        optional=True,
        replace=replace,
        validate=check,
    )


def parsed(option: Option, value: Any) -> object:
    """As the command line would take it. Raises `SpecError` in the words of a configuration."""
    try:
        return config.parse(option, value, option.name)
    except SpecError as error:
        raise SpecError(str(error), hint=str(error.hint).replace("--", "")) from None


def given(values: Values, names: Iterable[str]) -> dict[str, Any]:
    """Those that are set."""
    return {name: values[name] for name in names if values[name] is not None}
