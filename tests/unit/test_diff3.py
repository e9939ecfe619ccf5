"""A three-way merge of sequences: both changes, or nothing."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofty.store.files.diff3 import merge3

TEXT = st.text("abcd", max_size=8)


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "merged"),
    [
        ("", "", "", ""),
        ("abc", "abc", "abc", "abc"),
        ("abc", "xabc", "abcy", "xabcy"),
        ("abc", "xbc", "aby", "xby"),
        ("abc", "bc", "ab", "b"),
        ("abc", "axc", "axc", "axc"),  # the same change
        ("abc", "axc", "ayc", None),
        ("abc", "xbc", "ayc", None),  # neighbours
        ("abc", "ac", "axc", None),
        ("abc", "abcx", "abcy", None),
        ("", "x", "y", None),
        ("", "x", "x", "x"),
        ("abc", "", "abc", ""),
        ("abcdef", "abXcdef", "abcdYef", "abXcdYef"),
    ],
)
def test_examples(base: str, ours: str, theirs: str, merged: str | None) -> None:
    assert merge3(base, ours, theirs) == (None if merged is None else list(merged))


def test_a_great_deal_of_the_same_is_given_up_at_once() -> None:
    start = time.monotonic()
    assert merge3(["x"] * 50_000, ["x"] * 50_001, ["x"] * 50_002) is None
    assert time.monotonic() - start < 2


@given(TEXT, TEXT)
def test_who_changed_nothing_gets_the_others_version(base: str, other: str) -> None:
    assert merge3(base, base, other) == merge3(base, other, base) == merge3(base, other, other) == list(other)


@given(TEXT, TEXT, TEXT)
def test_sides_can_be_swapped(base: str, ours: str, theirs: str) -> None:
    assert merge3(base, ours, theirs) == merge3(base, theirs, ours)


@given(st.text("ab\n", max_size=12), st.data())
def test_changes_in_places_apart_are_both_there(base: str, data: st.DataObject) -> None:
    middle = "|keep|"
    ours, theirs = data.draw(TEXT), data.draw(TEXT)
    assert merge3(base + middle + base, ours + middle + base, base + middle + theirs) == list(ours + middle + theirs)
