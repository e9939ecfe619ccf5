"""A three-way merge of sequences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import TypeVar

T = TypeVar("T", bound=Hashable)

MOST_WORK = 10_000_000
"""Pairs of equal items: a few seconds."""


def merge3(base: Sequence[T], ours: Sequence[T], theirs: Sequence[T]) -> list[T] | None:
    """What both changes make of `base`; None where they touch the same stretch, or neighbouring ones, in different
    ways, and where so much is alike that finding out would take minutes."""
    if max(_work(base, ours), _work(base, theirs)) > MOST_WORK:
        return None
    result: list[T] = []
    b = o = t = 0
    for start, end, in_ours, in_theirs in (
        *_common(base, ours, theirs),
        (len(base), len(base), len(ours), len(theirs)),
    ):
        was, mine, yours = base[b:start], ours[o:in_ours], theirs[t:in_theirs]
        if list(mine) == list(was) or list(mine) == list(yours):
            result += yours
        elif list(yours) == list(was):
            result += mine
        else:
            return None
        result += base[start:end]
        b, o, t = end, in_ours + end - start, in_theirs + end - start
    return result


def _work(base: Sequence[T], other: Sequence[T]) -> int:
    """How many pairs of equal items a comparison looks at."""
    count = Counter(other)
    return sum(count[item] for item in base)


def _common(base: Sequence[T], ours: Sequence[T], theirs: Sequence[T]) -> Iterator[tuple[int, int, int, int]]:
    """Stretches of the base that both have kept: from, to, and where they are in each."""
    mine = SequenceMatcher(None, base, ours, autojunk=False).get_matching_blocks()
    yours = SequenceMatcher(None, base, theirs, autojunk=False).get_matching_blocks()
    i = j = 0
    while i < len(mine) and j < len(yours):
        one, two = mine[i], yours[j]
        start, end = max(one.a, two.a), min(one.a + one.size, two.a + two.size)
        if start < end:
            yield start, end, one.b + start - one.a, two.b + start - two.a
        if one.a + one.size < two.a + two.size:
            i += 1
        else:
            j += 1
