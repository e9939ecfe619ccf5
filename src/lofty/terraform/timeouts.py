"""The block `timeouts { create = "15m" }`: how long terraform's person lets each step take."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..errors import SpecError
from .diagnostics import Diagnostic
from .resource import Operation
from .schema import STRING, UNKNOWN, Attribute, Block, Values

NAME = "timeouts"
UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")


def seconds(text: str) -> float:
    """A duration as Go writes it, such as `1h30m`. Raises `SpecError`."""
    parts = _PART.findall(text)
    if not parts or "".join(map("".join, parts)) != text:
        raise SpecError(f"'{text:.40}' is no duration", hint='write it like "15m", "90s" or "1h30m"')
    return sum(float(count) * UNITS[unit] for count, unit in parts)


def block(limits: Mapping[Operation, float]) -> Block:
    """The block for these operations."""
    return Block(
        name=NAME,
        nesting="single",
        attributes=tuple(
            Attribute(
                name=operation,
                type=STRING,
                optional=True,
                validate=_check,
                description=f"How long {operation} may take; by default {limit / 60:g}m.",
            )
            for operation, limit in limits.items()
        ),
    )


def limit(limits: Mapping[Operation, float], operation: Operation, values: Values) -> float | None:
    """Seconds that an operation may take: what the person said, else the resource's own; None where neither says."""
    said = values.get(NAME)
    text = said.get(operation) if isinstance(said, dict) else None
    return limits.get(operation) if text is None or text is UNKNOWN else seconds(text)


def _check(text: str) -> Iterable[Diagnostic]:
    seconds(text)
    return ()
