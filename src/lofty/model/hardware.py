"""The plain names of hardware that hold on every cloud, as the predecessor had them."""

from __future__ import annotations

import re

from ..errors import SpecError, unknown_choice

SIZES = ("s", "m", "l", "xl")
GPUS = ("k80", "t4", "l4", "a10g", "v100", "a100", "h100")
WORDS = (*SIZES, *(f"{size}+{gpu}" for size in SIZES for gpu in GPUS))

_NATIVE = re.compile(r"[A-Za-z][A-Za-z0-9]*[._-][A-Za-z0-9._+*-]+|\d+-\d+(\+[a-z0-9-]+\*\d+)?")
"""What clouds call their types: g4dn.xlarge, n1-standard-4, Standard_NC6s_v3, 4-8000+nvidia-tesla-t4*1."""


def check_machine(word: str) -> str:
    """The word itself when it is a generic size or looks like some cloud's own type; `SpecError` otherwise."""
    if word and word.lower() not in WORDS and not _NATIVE.fullmatch(word):
        near = unknown_choice("machine", word.lower(), WORDS)
        raise SpecError(
            near if near.endswith("?") else f"unknown machine '{word}'",
            hint="use s, m, l or xl, one with a GPU such as m+t4, or a cloud's own type such as g4dn.xlarge",
        )
    return word
