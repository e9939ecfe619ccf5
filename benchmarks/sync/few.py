"""(d) 10 of 20,000 files have changed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from unittest.mock import patch

from ..measure import Figure, Series, plain, ratio
from .ground import (
    TUNED,
    Ground,
    Ran,
    Runs,
    Server,
    described,
    drain,
    edit,
    ground,
    last,
    lofty,
    rclone,
    rotated,
    seconds,
    serving,
)

TITLE = "10 of 20,000 files have changed"
ABOUT = """\
20,000 files of 4 KiB, of which 10 are written anew before each command; the server waits 20 ms before each answer.
rclone with the flags above, and as `rclone copy --no-traverse --max-age=5s`, which looks at recent files alone: it sees
neither what was deleted nor what came with an old time. `--watch`: from the first of ten saves until the new version
is published at the server; it waits until the saves have settled. Processing: `Folder.sync(only=...)` in a process
that is up, told what has changed, as the agent's watcher calls it."""
ROUNDS = 7
SLOW, CHANGED = 20, 10
RECENT = ("--no-traverse", "--max-age=5s", "--transfers=32", "--checkers=32", "--s3-no-check-bucket")
URL = "s3://bucket/lofty"


def run(n: int = ROUNDS) -> list[Figure]:
    """Measure `n` rounds."""
    with ground() as here, serving(SLOW) as server:
        ours, theirs = here.tree("ours", 20_000, 4096), here.tree("theirs", 20_000, 4096)
        remote = "bench:bucket/rclone"
        words = {
            "lofty": lofty(ours),
            "rclone, tuned": rclone(theirs, remote, *TUNED),
            "rclone copy --no-traverse --max-age": rclone(theirs, remote, *RECENT, verb="copy"),
        }
        for name in ("lofty", "rclone, tuned"):
            here.run(words[name], server)
        time.sleep(1)
        runs: Runs = {name: [] for name in words}
        for number in range(n):
            for name in rotated(words, number):
                edit(ours if name == "lofty" else theirs, CHANGED)
                runs[name].append(here.run(words[name], server))
                time.sleep(1.1)  # the server tells times to the second
        watched = _watched(here, server, ours, n)
        warm = _warm(here, server, ours, n)
        _check(here, server, ours, theirs)
    figures = [described(name, found) for name, found in runs.items()] + [plain(watched), described("processing", warm)]
    cold, tuned, recent = (seconds(name, found) for name, found in runs.items())
    figures.append(ratio("lofty ÷ rclone, tuned", cold, tuned, round(1 / 3, 2)))
    figures.append(ratio("lofty ÷ rclone copy --no-traverse", cold, recent))
    figures.append(ratio("`--watch` ÷ rclone, tuned", watched, tuned, 0.1))
    figures.append(ratio("processing ÷ rclone, tuned", seconds("", warm), tuned, 0.1))
    return figures


def _watched(here: Ground, server: Server, tree: Path, n: int) -> Series:
    found = []
    with here.watching(tree, URL, server, "home"):
        time.sleep(3)
        for _ in range(n):
            drain(server)
            began = time.monotonic()
            edit(tree, CHANGED)
            found.append(last(server) - began)
    return Series("lofty `--watch`, from the save", found, "s")


def _warm(here: Ground, server: Server, tree: Path, n: int) -> list[Ran]:
    from lofty.store import files
    from lofty.store.base import Store

    found = []
    with patch.dict(os.environ, here.environ(server)):
        memory = files.memory_of(here.folder / "home" / "sync", tree, URL)
        folder = files.folder(tree, Store(URL), memory, side="bench")
        folder.sync()
        for _ in range(n):
            paths = [str(path.relative_to(tree)) for path in edit(tree, CHANGED)]
            server.requests()
            began, cpu = time.monotonic(), time.process_time()
            report = folder.sync(only=paths, ahead=True)
            took, cpu = time.monotonic() - began, time.process_time() - cpu
            assert report.sent == CHANGED, report
            found.append(Ran(took, cpu, 0.0, server.requests()))
    return found


def _check(here: Ground, server: Server, ours: Path, theirs: Path) -> None:
    target = here.folder / "target"
    here.run(lofty(target), server, "other")
    here.run(["diff", "-r", ours, target])
    here.rid(target)
    here.run(rclone("bench:bucket/rclone", target, *TUNED), server)
    here.run(["diff", "-r", theirs, target])
