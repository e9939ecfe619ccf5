"""Declarations and diagnostics as messages of the protocol."""

from __future__ import annotations

from typing import Any

import msgspec

from .diagnostics import Diagnostic, Key, Path
from .messages import ERROR, NESTING, WARNING
from .schema import Attribute, Schema


def schema(of: Schema) -> dict[str, Any]:
    """A `Schema`."""
    block = _block(of.attributes, of.description)
    block["block_types"] = [
        {
            "type_name": one.name,
            "block": _block(one.attributes, one.description),
            "nesting": NESTING[one.nesting],
            "max_items": one.max_items,
        }
        for one in of.blocks
    ]
    return {"version": of.version, "block": block}


def _block(attributes: tuple[Attribute, ...], description: str) -> dict[str, Any]:
    return {
        "description": description,
        "attributes": [
            {
                "name": one.name,
                "type": msgspec.json.encode(one.type.wire()),
                "description": one.description,
                "required": one.required,
                "optional": one.optional,
                "computed": one.computed,
                "sensitive": one.sensitive,
            }
            for one in attributes
        ],
    }


def diagnostic(one: Diagnostic) -> dict[str, Any]:
    """A `Diagnostic`."""
    return {
        "severity": WARNING if one.severity == "warning" else ERROR,
        "summary": one.summary,
        "detail": one.detail,
        "attribute": path(one.path) if one.path else None,
    }


def path(steps: Path) -> dict[str, Any]:
    """An `AttributePath`."""
    return {"steps": [_step(one) for one in steps]}


def _step(one: str | int) -> dict[str, Any]:
    if isinstance(one, int):
        return {"element_key_int": one}
    return {"element_key_string" if isinstance(one, Key) else "attribute_name": str(one)}
