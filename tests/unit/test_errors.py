"""The tree of errors is what its drawing says."""

from __future__ import annotations

import re

import pytest

from lofty import errors
from lofty.errors import LoftyError, unknown_choice

CLASSES = {
    name: one for name, one in vars(errors).items() if isinstance(one, type) and issubclass(one, LoftyError)
}  # fmt: skip


def drawn() -> dict[str, tuple[str, int | None]]:
    """Class name → its parent and exit code, from the drawing."""
    found: dict[str, tuple[str, int | None]] = {}
    above: list[tuple[int, str]] = [(-1, "Exception")]
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"(\s*[│ ]*(?:[├└]── )?)([A-Z]\w+)(?:\s+exit (\d+))?", line)
        if match and match[2] in CLASSES:
            depth = len(match[1])
            above = [one for one in above if one[0] < depth]
            found[match[2]] = (above[-1][1], int(match[3]) if match[3] else None)
            above.append((depth, match[2]))
    return found


def test_the_drawing_shows_every_class_under_its_parent() -> None:
    parents = {name: one.__bases__[0].__name__ for name, one in CLASSES.items()}
    assert {name: parent for name, (parent, _) in drawn().items()} == parents
    assert len(CLASSES) > 20


def test_and_its_exit_code() -> None:
    for name, (parent, code) in drawn().items():
        expected = code if code is not None else CLASSES[parent].exit_code
        assert CLASSES[name].exit_code == expected, name


def test_exit_codes_are_those_of_the_design() -> None:
    assert {one.exit_code for one in CLASSES.values()} == {1, 2, 3, 4, 5, 130}


def test_an_error_carries_what_to_do_next() -> None:
    error = errors.Throttled("too many", hint="wait", retry_after=2.0)
    assert (str(error), error.hint, error.retry_after, error.kind) == ("too many", "wait", 2.0, "Throttled")
    assert (errors.StoreError("x").hint, errors.StoreError("x").retry_after) == (None, None)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("loca", "unknown cloud 'loca': did you mean 'local'?"),
        ("zzz", "unknown cloud 'zzz': choose from aws, local"),
        ("", "unknown cloud '': choose from aws, local"),
    ],
)
def test_a_wrong_word_is_answered_with_the_nearest(given: str, said: str) -> None:
    assert unknown_choice("cloud", given, ["aws", "local"]) == said
