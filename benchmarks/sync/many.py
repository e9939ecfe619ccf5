"""(a) 10,000 small files, up and down."""

from __future__ import annotations

import sys

from ..measure import Figure, Series, plain, ratio
from .ground import TUNED, Ground, Runs, described, ground, seconds, there_and_back

TITLE = "Many small files, there and back"
ABOUT = """\
10,000 files of 4 KiB, half of whose bytes can be compressed: `lofty sync` to an empty prefix, then into an empty
folder; `rclone sync` both ways, with its own settings and with `--fast-list --transfers=32 --checkers=32 --update
--use-server-modtime --s3-no-check-bucket`; `cp -r`. Trees, lofty's memory and the store (the S3 server of our tests, a
process on the same machine) are all in memory: no disk and no line is measured. The server answers at once, or waits
20 ms before each answer. Each line tells seconds, then processor time, peak memory and requests of the middle run.
What came back was compared byte for byte. rclone stores an object for each file, which
other tools can read; `lofty sync` without `--plain` stores packs. The bare loop is the least that a pull in Python can
take: an interpreter without any library that makes as many folders and files and writes as many bytes into them, with
nothing fetched, checked or remembered."""
ROUNDS = 5
SLOW = 20
BARE = """
import os, sys
content = bytes(4096)
for number in range(100):
    folder = f"{sys.argv[1]}/{number:04}"
    os.makedirs(folder)
    for name in range(100):
        fd = os.open(f"{folder}/{name:03}.dat", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        os.write(fd, content)
        os.close(fd)
os._exit(0)
"""


def run(n: int = ROUNDS) -> list[Figure]:
    """Measure `n` rounds, and one with the slow server."""
    figures = []
    with ground() as here:
        source = here.tree("source", 10_000, 4096)
        for delay, rounds in ((0, n), (SLOW, 1)):
            runs = there_and_back(here, source, {"lofty": None, "rclone": (), "rclone, tuned": TUNED}, rounds, delay)
            figures += _figures(runs, f", {delay} ms")
            if not delay:
                bare = _bare(here, rounds)
                figures += [
                    plain(bare),
                    ratio(f"{bare.name} ÷ rclone down, 0 ms", bare, seconds("", runs["rclone down"])),
                ]
    return figures


def _bare(here: Ground, n: int) -> Series:
    """As often as the others."""
    found = []
    for _ in range(n):
        words = [sys.executable, "-I", "-S", "-c", BARE, str(here.folder / "bare")]
        found.append(here.run(words).seconds)
        here.rid(here.folder / "bare")
    return Series("a bare loop that writes them", found, "s")


def _figures(runs: Runs, at: str) -> list[Figure]:
    figures = [described(name + at, found) for name, found in runs.items()]
    timed = {name: seconds(name, found) for name, found in runs.items()}
    for way in ("up", "down"):
        ours = timed[f"lofty {way}"]
        figures.append(ratio(f"lofty {way} ÷ rclone{at}", ours, timed[f"rclone {way}"], 0.1))
        figures.append(ratio(f"lofty {way} ÷ rclone, tuned{at}", ours, timed[f"rclone, tuned {way}"]))
        figures.append(ratio(f"lofty {way} ÷ `cp -r`{at}", ours, timed["`cp -r`"], 3 if at == ", 0 ms" else None))
    return figures
