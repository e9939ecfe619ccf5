"""(e) 200,000 files."""

from __future__ import annotations

import sys
from pathlib import Path

from ..measure import Figure, ratio
from .ground import TUNED, Runs, described, edit, ground, lofty, rclone, rotated, seconds, serving

TITLE = "200,000 files"
ABOUT = """\
200,000 files of 1 KiB in 2,000 folders, a server that answers at once: the first `lofty sync`; then in turns one after
nothing has changed, one after one file has, `rclone sync` with the flags above after one file has, and the look at the
whole alone: a bare interpreter that lists every folder and asks for each file's size and times."""
ROUNDS = 5
WALK = """
import os, sys
def walk(folder):
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                walk(entry.path)
            else:
                entry.stat(follow_symlinks=False)
walk(sys.argv[1])
"""


def run(n: int = ROUNDS) -> list[Figure]:
    """Measure `n` rounds; the first push once."""
    with ground() as here, serving() as server:
        tree, theirs = here.tree("tree", 200_000, 1024), here.tree("theirs", 200_000, 1024)
        remote = "bench:bucket/rclone"
        first = described("lofty, first", [here.run(lofty(tree), server)])
        first_rclone = described("rclone, tuned, first", [here.run(rclone(theirs, remote, *TUNED), server)])
        words: dict[str, list[str | Path]] = {
            "lofty, nothing changed": lofty(tree),
            "lofty, one changed": lofty(tree),
            "rclone, tuned, one changed": rclone(theirs, remote, *TUNED),
            "the look alone": [sys.executable, "-I", "-S", "-c", WALK, tree],
        }
        here.run(words["lofty, nothing changed"], server)  # looks again at what was too fresh the first time
        runs: Runs = {name: [] for name in words}
        for number in range(n):
            for name in rotated(words, number):
                if name.endswith("one changed"):
                    edit(theirs if name.startswith("rclone") else tree, 1)
                runs[name].append(here.run(words[name], server))
    timed = {name: seconds(name, found) for name, found in runs.items()}
    still, one, other, look = timed.values()
    return [
        first,
        first_rclone,
        *(described(name, found) for name, found in runs.items()),
        ratio("one changed ÷ the look alone", one, look),
        ratio("one changed ÷ nothing changed", one, still),
        ratio("one changed: lofty ÷ rclone, tuned", one, other),
    ]
