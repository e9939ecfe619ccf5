"""What a schema alone says about a change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofty.terraform.planning import plan
from lofty.terraform.schema import NUMBER, STRING, UNKNOWN, Attribute, Block, List, Schema, Set, Values
from lofty.terraform.values import encode, fit_all

SCHEMA = Schema(
    attributes=(
        Attribute(name="id", type=STRING, computed=True),
        Attribute(name="name", type=STRING, required=True, replace=True),
        Attribute(name="size", type=NUMBER, default=1, replace=True),
        Attribute(name="label", type=STRING, optional=True),
        Attribute(name="region", type=STRING, optional=True, computed=True, replace=True),
        Attribute(name="marks", type=Set(STRING), optional=True, replace=True),
    ),
    blocks=(
        Block(
            name="storage",
            nesting="set",
            attributes=(
                Attribute(name="workdir", type=STRING, default="", replace=True),
                Attribute(name="output", type=STRING, default=""),
                Attribute(name="exclude", type=List(STRING), optional=True),
            ),
        ),
        Block(
            name="place",
            nesting="single",
            attributes=(
                Attribute(name="zone", type=STRING, optional=True, replace=True),
                Attribute(name="note", type=STRING, default="-"),
            ),
        ),
    ),
)
STORAGE = {"workdir": "w", "output": "", "exclude": None}
PRIOR = fit_all(
    SCHEMA,
    {"id": "1", "name": "a", "size": 1, "region": "here", "marks": ["x", "y"], "storage": [STORAGE]},
)
CONFIG = fit_all(SCHEMA, {"name": "a", "marks": ["y", "x"], "storage": [{"workdir": "w"}]})


def test_created() -> None:
    made = plan(SCHEMA, None, CONFIG)
    assert made.replace == []
    assert made.values["id"] is made.values["region"] is UNKNOWN
    assert made.values["size"] == 1
    assert made.values["label"] is made.values["place"] is None
    assert made.values["storage"] == [STORAGE]


def test_nothing_changes() -> None:
    made = plan(SCHEMA, PRIOR, CONFIG)
    assert made.replace == []
    assert encode(SCHEMA, made.values) == encode(SCHEMA, PRIOR)


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        ({"name": "b"}, [("name",)]),
        ({"size": 2}, [("size",)]),
        ({"name": UNKNOWN}, [("name",)]),
        ({"region": "there"}, [("region",)]),
        ({"region": "here"}, []),
        ({"label": "l"}, []),
        ({"label": UNKNOWN}, []),
        ({"marks": ["x"]}, [("marks",)]),
        ({"marks": None}, [("marks",)]),
        ({"marks": ["x", UNKNOWN]}, [("marks",)]),
        ({"storage": [{"workdir": "v"}]}, [("storage",)]),
        ({"storage": []}, [("storage",)]),
        ({"storage": UNKNOWN}, [("storage",)]),
        ({"storage": [{"workdir": UNKNOWN}]}, [("storage",)]),
        ({"storage": [{"workdir": "w", "output": "o", "exclude": ["e"]}]}, []),
        ({"storage": [{"workdir": "w", "output": UNKNOWN}]}, []),
        ({"place": {"note": "n"}}, []),
        ({"place": {"zone": "z"}}, [("place", "zone")]),
        ({"place": UNKNOWN}, [("place",)]),
        ({"name": "b", "size": 3}, [("name",), ("size",)]),
    ],
)
def test_changes(change: dict[str, Any], paths: list[tuple[str, ...]]) -> None:
    config = fit_all(SCHEMA, {**CONFIG, **change})
    made = plan(SCHEMA, PRIOR, config)
    assert made.replace == paths
    assert made.values["id"] == (UNKNOWN if paths else "1")
    assert made.values["region"] == (change.get("region") or (UNKNOWN if paths else "here"))
    encode(SCHEMA, made.values)


def test_what_a_change_in_place_finds_empty_it_may_fill() -> None:
    prior = {**PRIOR, "id": None}
    assert plan(SCHEMA, prior, CONFIG).values["id"] is None  # nothing changes
    changed = plan(SCHEMA, prior, {**CONFIG, "label": "l"})
    assert changed.replace == []
    assert changed.values["id"] is UNKNOWN
    assert changed.values["region"] == "here"


def test_a_single_block_that_goes() -> None:
    prior = {**PRIOR, "place": {"zone": "z", "note": "-"}}
    assert plan(SCHEMA, prior, CONFIG).replace == [("place", "zone")]
    assert plan(SCHEMA, {**PRIOR, "place": {"zone": None, "note": "n"}}, CONFIG).replace == []


text = st.none() | st.just(UNKNOWN) | st.sampled_from(["", "a", "b"])
configs = st.fixed_dictionaries(
    {
        "name": text,
        "size": st.none() | st.just(UNKNOWN) | st.integers(0, 3),
        "label": text,
        "region": text,
        "marks": st.none() | st.lists(st.sampled_from("ab"), max_size=2, unique=True),
        "storage": st.lists(st.fixed_dictionaries({"workdir": text, "output": text}), max_size=2),
        "place": st.none() | st.fixed_dictionaries({"zone": text, "note": text}),
    }
)


@given(configs, st.none() | st.just(PRIOR))
def test_terraforms_rules_hold(given_values: Values, prior: Values | None) -> None:
    config = fit_all(SCHEMA, given_values)
    made = plan(SCHEMA, prior, config)
    for one in SCHEMA.attributes:
        if config[one.name] is not None:
            assert made.values[one.name] == config[one.name]  # what is set is never changed
        elif not one.computed:
            assert made.values[one.name] is None  # and only what is computed is filled in
    assert (prior is not None) or made.replace == []
    for before, after in zip(config["storage"], made.values["storage"], strict=True):
        assert all(before[name] in (None, after[name]) for name in before)
