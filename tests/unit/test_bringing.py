"""What stays where it is when files come back."""

from __future__ import annotations

import pytest

from lofty.bringing import ALL, Bringing

USUAL = ("*.ckpt",)


@pytest.mark.parametrize(
    ("how", "rules"),
    [
        (ALL, USUAL),
        (Bringing(exclude=()), ()),
        (Bringing(exclude=("*.log",)), ("*.log",)),
        (Bringing("out"), ("/*", "!/out", *USUAL)),
        (Bringing("out/last", ("*.log",)), ("/*", "!/out", "/out/*", "!/out/last", "*.log")),
    ],
)
def test_rules_of_its_own_stand_instead_of_the_tasks_and_a_part_leaves_out_the_rest(
    how: Bringing, rules: tuple[str, ...]
) -> None:
    assert how.leaving_out(USUAL) == rules
