"""What a schema alone says about a change: defaults, what is not known yet, and whether a new resource is needed.

Pure. Terraform's rules, as far as they matter here: a planned value may never differ from one that is set in the
configuration; a provider may fill in only what is computed; a change in place keeps what was computed before; a path
of a required replacement ends at a set.
"""

from __future__ import annotations

from .diagnostics import Path
from .resource import Plan
from .schema import UNKNOWN, Attribute, Block, Schema, Value, Values
from .values import same


def plan(schema: Schema, prior: Values | None, config: Values) -> Plan:
    """What would come out of a configuration where `prior` is what there is."""
    planned = {one.name: _attribute(one, config[one.name], prior) for one in schema.attributes}
    planned |= {block.name: _block(block, config[block.name]) for block in schema.blocks}
    if prior is None:
        return Plan(values=planned)
    replace = _replace(schema, prior, planned)
    declared: tuple[Attribute | Block, ...] = (*schema.attributes, *schema.blocks)
    changed = not all(same(one, prior[one.name], planned[one.name]) for one in declared)
    for one in schema.attributes:
        # What a change in place finds empty, it may fill: an imported state, or one of an earlier version.
        may_differ = replace or (changed and prior[one.name] is None)
        if may_differ and _only_computed(one) and config[one.name] is None:
            planned[one.name] = UNKNOWN
    return Plan(values=planned, replace=replace)


def with_defaults(block: Block, values: Values) -> Values:
    """The values of a block with what was not set."""
    return {one.name: _default(one, values[one.name]) for one in block.attributes}


def _only_computed(one: Attribute) -> bool:
    """Filled in by the provider, with nothing said about it in the schema."""
    return one.computed and one.default is None


def _default(one: Attribute, value: Value) -> Value:
    return one.default if value is None else value


def _attribute(one: Attribute, value: Value, prior: Values | None) -> Value:
    if value is None and _only_computed(one):
        return UNKNOWN if prior is None else prior[one.name]
    return _default(one, value)


def _block(block: Block, value: Value) -> Value:
    if value is None or value is UNKNOWN:
        return value
    if block.nesting == "single":
        return with_defaults(block, value)
    return [one if one is UNKNOWN else with_defaults(block, one) for one in value]


def _replace(schema: Schema, prior: Values, planned: Values) -> list[Path]:
    paths: list[Path] = [
        (one.name,) for one in schema.attributes if one.replace and not same(one, prior[one.name], planned[one.name])
    ]
    for block in schema.blocks:
        paths += _replace_block(block, prior[block.name], planned[block.name])
    return paths


def _replace_block(block: Block, before: Value, after: Value) -> list[Path]:
    fixed = tuple(one for one in block.attributes if one.replace)
    if not fixed:
        return []
    if block.nesting == "single":
        empty = dict.fromkeys((one.name for one in block.attributes), None)
        if after is UNKNOWN:
            return [(block.name,)]
        before, after = before or empty, after or empty
        return [(block.name, one.name) for one in fixed if not same(one, before[one.name], after[one.name])]
    # Only what forces a replacement is compared, so that another argument in the same block can change in place.
    part = Block(name=block.name, nesting="set", attributes=fixed)
    return [] if same(part, before, after) else [(block.name,)]
