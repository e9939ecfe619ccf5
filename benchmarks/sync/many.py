"""(a) 10,000 small files, up and down."""

from __future__ import annotations

from ..measure import Figure, ratio
from .ground import TUNED, Runs, described, ground, seconds, there_and_back

TITLE = "Many small files, there and back"
ABOUT = """\
10,000 files of 4 KiB, half of whose bytes can be compressed: `lofty sync` to an empty prefix, then into an empty
folder; `rclone sync` both ways, with its own settings and with `--fast-list --transfers=32 --checkers=32 --update
--use-server-modtime --s3-no-check-bucket`; `cp -r`. Trees, lofty's memory and the store (the S3 server of our tests, a
process on the same machine) are all in memory: no disk and no line is measured. The server answers at once, or waits
20 ms before each answer. Each line tells seconds, then processor time, peak memory and requests of the middle run.
What came back was compared byte for byte. rclone stores an object for each file, which
other tools can read; `lofty sync` without `--plain` stores packs."""
ROUNDS = 5
SLOW = 20


def run(n: int = ROUNDS) -> list[Figure]:
    """Measure `n` rounds, and one with the slow server."""
    figures = []
    with ground() as here:
        source = here.tree("source", 10_000, 4096)
        for delay, rounds in ((0, n), (SLOW, 1)):
            runs = there_and_back(here, source, {"lofty": None, "rclone": (), "rclone, tuned": TUNED}, rounds, delay)
            figures += _figures(runs, f", {delay} ms")
    return figures


def _figures(runs: Runs, at: str) -> list[Figure]:
    figures = [described(name + at, found) for name, found in runs.items()]
    timed = {name: seconds(name, found) for name, found in runs.items()}
    for way in ("up", "down"):
        ours = timed[f"lofty {way}"]
        figures.append(ratio(f"lofty {way} ÷ rclone{at}", ours, timed[f"rclone {way}"], 0.1))
        figures.append(ratio(f"lofty {way} ÷ rclone, tuned{at}", ours, timed[f"rclone, tuned {way}"]))
        figures.append(ratio(f"lofty {way} ÷ `cp -r`{at}", ours, timed["`cp -r`"], 3 if at == ", 0 ms" else None))
    return figures
