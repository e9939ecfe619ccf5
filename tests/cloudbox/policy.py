"""Whether statements allow an action: what identity policies need, and no operator that is not examined here."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Statement = Mapping[str, Any]


def statements(documents: Iterable[str]) -> list[Statement]:
    """All statements of some policy documents."""
    found: list[Statement] = []
    for document in documents:
        found += _list(json.loads(document)["Statement"])
    return found


def allows(policy: Iterable[Statement], action: str, resource: str, context: Mapping[str, str]) -> bool:
    """An explicit denial wins; what nothing allows is denied."""
    applying = [one for one in policy if _applies(one, action, resource, context)]
    return bool(applying) and all(one["Effect"] == "Allow" for one in applying)


def _applies(statement: Statement, action: str, resource: str, context: Mapping[str, str]) -> bool:
    if "Action" in statement:
        meant = _any(statement["Action"], action.lower(), fold=True)
    else:
        meant = not _any(statement["NotAction"], action.lower(), fold=True)
    if "Resource" in statement:
        there = _any(statement["Resource"], resource)
    else:
        there = not _any(statement["NotResource"], resource)
    return (
        meant
        and there
        and all(_holds(operator, block, context) for operator, block in statement.get("Condition", {}).items())
    )


def _holds(operator: str, block: Mapping[str, Any], context: Mapping[str, str]) -> bool:
    name, optional = (operator[:-8], True) if operator.endswith("IfExists") else (operator, False)
    name = name.rpartition(":")[2]  # ForAnyValue: and ForAllValues: of one value are the same
    folded = {key.lower(): value for key, value in context.items()}
    for key, wanted in block.items():
        value = folded.get(key.lower())
        if name == "Null":
            if (value is None) != (str(_list(wanted)[0]).lower() == "true"):
                return False
        elif value is None:
            if not optional and not name.startswith(("StringNot", "ArnNot")):
                return False
        elif not _OPERATORS[name](value, [str(one) for one in _list(wanted)]):
            return False
    return True


_OPERATORS: dict[str, Callable[[str, list[str]], bool]] = {
    "StringEquals": lambda value, wanted: value in wanted,
    "StringNotEquals": lambda value, wanted: value not in wanted,
    "StringLike": lambda value, wanted: _any(wanted, value),
    "StringNotLike": lambda value, wanted: not _any(wanted, value),
    "ArnLike": lambda value, wanted: _any(wanted, value),
    "ArnEquals": lambda value, wanted: _any(wanted, value),
    "Bool": lambda value, wanted: value.lower() in [one.lower() for one in wanted],
    "NumericEquals": lambda value, wanted: float(value) in [float(one) for one in wanted],
    "NumericLessThanEquals": lambda value, wanted: float(value) <= float(wanted[0]),
}


def _any(patterns: Any, text: str, *, fold: bool = False) -> bool:
    return any(_like(one.lower() if fold else one, text) for one in _list(patterns))


def _like(pattern: str, text: str) -> bool:
    parts = re.split(r"([*?])", pattern)
    regex = "".join({"*": ".*", "?": "."}.get(part, re.escape(part)) for part in parts)
    return re.fullmatch(regex, text, re.S) is not None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
