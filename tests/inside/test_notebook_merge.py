"""What is merged is a notebook by the standard's own rules."""

from __future__ import annotations

import json
import random
import subprocess
from pathlib import Path
from typing import Any

from lofty.store.files.notebook import merge

CHECK = """
import json, sys, warnings
import nbformat
warnings.simplefilter("error")
for line in sys.stdin:
    nbformat.validate(nbformat.from_dict(json.loads(line)))
    print("fine")
"""


def some_book(dice: random.Random, minor: int, cells: list[dict[str, Any]]) -> dict[str, Any]:
    """An edit of some cells: made, changed, deleted, moved."""
    kept = [dict(cell) for cell in cells if dice.random() > 0.1]
    for cell in kept:
        if dice.random() < 0.3:
            cell["source"] = [f"{dice.randrange(9)}\n", *cell["source"]]
        if dice.random() < 0.3 and cell["cell_type"] == "code":
            cell["execution_count"] = dice.randrange(9)
            text = [f"{dice.randrange(2)}\n"]
            cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": text}]
    for _ in range(dice.randrange(3)):
        code: dict[str, Any] = {
            "cell_type": "code",
            "execution_count": None,
            "metadata": {},
            "outputs": [],
            "source": ["x = 1\n", "x"],
        }
        words: dict[str, Any] = {
            "cell_type": "markdown",
            "metadata": {"tags": ["t"]},
            "source": ["# words"],
            "attachments": {},
        }
        own = {"id": f"c{dice.randrange(10**9)}"} if minor == 5 else {}
        kept.insert(dice.randrange(len(kept) + 1), own | dice.choice([code, words]))
    if dice.random() < 0.1:
        dice.shuffle(kept)
    return {"cells": kept, "metadata": {"x": dice.randrange(2)}, "nbformat": 4, "nbformat_minor": minor}


def test_what_is_merged_is_valid(jupyter_python: Path) -> None:
    dice = random.Random(7)
    results = []
    for round_ in range(600):
        minor = 4 + round_ % 2
        base = some_book(dice, minor, some_book(dice, minor, [])["cells"])
        ours, theirs = some_book(dice, minor, base["cells"]), some_book(dice, minor, base["cells"])
        if round_ % 7 == 0:  # one side saved it with a program that knows no ids
            ours = ours | {"nbformat_minor": 4}
            ours["cells"] = [{name: value for name, value in cell.items() if name != "id"} for cell in ours["cells"]]
        result = merge(*(json.dumps(one).encode() for one in (base, ours, theirs)))
        if result is not None:
            results.append(json.dumps(json.loads(result)))
    assert len(results) > 100
    done = subprocess.run(
        [jupyter_python, "-c", CHECK], input="\n".join(results), capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("fine") == len(results)
