"""(b) A few large files, up and down."""

from __future__ import annotations

from ..measure import Figure, ratio
from .ground import TUNED, described, ground, seconds, there_and_back

TITLE = "Large files, there and back"
ABOUT = """\
4 files of 512 MiB, half of whose bytes can be compressed, by turns of 512 KiB; otherwise as with many small files.
Tuned for large files, rclone also gets `--s3-chunk-size=64M --s3-upload-concurrency=8 --s3-disable-checksum`. The
server takes the MD5 of what it receives, one core's work, which bounds every upload."""
ROUNDS = 3
FLAGS = (*TUNED, "--s3-chunk-size=64M", "--s3-upload-concurrency=8", "--s3-disable-checksum")


def run(n: int = ROUNDS) -> list[Figure]:
    """Measure `n` rounds."""
    with ground() as here:
        source = here.tree("source", 4, 512 * 2**20)
        runs = there_and_back(here, source, {"lofty": None, "rclone": (), "rclone, tuned": FLAGS}, n)
    figures = [described(name, found) for name, found in runs.items()]
    timed = {name: seconds(name, found) for name, found in runs.items()}
    for way in ("up", "down"):
        ours = timed[f"lofty {way}"]
        figures.append(ratio(f"lofty {way} ÷ rclone", ours, timed[f"rclone {way}"], 1))
        figures.append(ratio(f"lofty {way} ÷ rclone, tuned", ours, timed[f"rclone, tuned {way}"], 1))
        figures.append(ratio(f"lofty {way} ÷ `cp -r`", ours, timed["`cp -r`"]))
    return figures
