"""(c) Nothing has changed."""

from __future__ import annotations

from ..measure import Figure, ratio
from .ground import TUNED, Runs, described, ground, lofty, rclone, rotated, seconds, serving

TITLE = "Nothing has changed in 20,000 files"
ABOUT = """\
20,000 files of 4 KiB, which both sides have: the same command again, with a server that answers at once and with one
that waits 20 ms before each answer. rclone with its own settings asks for each file's time; its flags otherwise are
those above."""
ROUNDS = 7
SLOW = 20


def run(n: int = ROUNDS) -> list[Figure]:
    """Measure `n` rounds; rclone's own settings once."""
    figures = []
    with ground() as here:
        tree = here.tree("tree", 20_000, 4096)
        for delay in (0, SLOW):
            with serving(delay) as server:
                remote, home, at = "bench:bucket/rclone", f"home{delay}", f", {delay} ms"
                words = {"lofty": lofty(tree), "rclone, tuned": rclone(tree, remote, *TUNED)}
                once = {"rclone": rclone(tree, remote)}
                here.run(rclone(tree, remote, *TUNED), server)
                here.run(words["lofty"], server, home)
                runs: Runs = {name + at: [] for name in (*words, *once)}
                for number in range(n):
                    for name in rotated(words, number):
                        runs[name + at].append(here.run(words[name], server, home))
                for name, command in once.items():
                    runs[name + at].append(here.run(command, server))
            figures += [described(name, found) for name, found in runs.items()]
            most = max(run.requests for run in runs["lofty" + at])
            figures.append(Figure(f"lofty{at}: requests", str(most), n, "at most 1", most <= 1))
            ours, tuned = (seconds(name, runs[name + at]) for name in words)
            figures.append(ratio(f"lofty ÷ rclone, tuned{at}", ours, tuned))
    return figures
