"""(f) Two sides, while somebody works."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from pathlib import Path

import psutil

from lofty.store.files.live import ACTIVE

from ..measure import Figure, Series, below, number, plain, quantile
from .ground import ground, lofty, serving

TITLE = "From a save on one side to the bytes on the other"
ABOUT = """\
`lofty sync --watch` on two folders and one prefix, 20,000 files of 4 KiB, a server that waits 20 ms before each answer.
A file is saved now on one side and now on the other, at odd moments; the other side's file is looked at every 2 ms.
Then the share of a core of both watchers while nobody saves: soon after a save, when they still ask the store each
second, and later, when they are at rest; the longer time has a look at the whole directory in it."""
SAVES, SLOW = 20, 20
SOON, REST, SHARE = 20.0, 120.0, 0.5


def run(n: int = SAVES) -> list[Figure]:
    """Measure `n` saves."""
    with ground() as here, serving(SLOW) as server:
        one, other = here.tree("one", 20_000, 4096), here.folder / "other"
        here.run(lofty(one), server, "home1")
        here.run(lofty(other), server, "home2")
        url = "s3://bucket/lofty"
        with here.watching(one, url, server, "home1") as first, here.watching(other, url, server, "home2") as second:
            time.sleep(3)
            for saved, seen in ((one, other), (other, one)):
                _carried(saved, seen)
            found = []
            for turn in range(n):
                time.sleep(random.uniform(1, 3))
                saved, seen = (one, other) if turn % 2 else (other, one)
                found.append(_carried(saved, seen))
            processes = [psutil.Process(process.pid) for process in (first, second)]
            time.sleep(5)
            soon = _share(processes, SOON)
            time.sleep(ACTIVE - 15)
            rest = _share(processes, REST)
            memory = [process.memory_info().rss / 2**20 for process in processes]
        here.run(["diff", "-r", one, other])
    delays = Series("from the save to the bytes", found, "s")
    return [
        below(delays, 1.0),
        Figure("95 of 100 within", f"{number(quantile(found, 0.95))} s", n),
        _figure("soon after a save", soon),
        _figure("at rest", rest),
        plain(Series("memory of a watcher", memory, "MiB")),
    ]


def _carried(saved: Path, seen: Path) -> float:
    name = f"{random.randrange(200):04}/{random.randrange(100):03}.dat"
    content = random.randbytes(4096)
    began = time.monotonic()
    (saved / name).write_bytes(content)
    while time.monotonic() < began + 60:
        with suppress(FileNotFoundError):
            if (seen / name).read_bytes() == content:
                return time.monotonic() - began
        time.sleep(0.002)
    raise TimeoutError(f"{name} did not arrive")


def _share(processes: list[psutil.Process], seconds: float) -> Series:
    def used(process: psutil.Process) -> float:
        times = process.cpu_times()
        return times.user + times.system

    before = [used(process) for process in processes]
    time.sleep(seconds)
    shares = [100 * (used(process) - then) / seconds for process, then in zip(processes, before, strict=True)]
    return Series(f"{seconds:.0f} s", shares, "% of a core")


def _figure(name: str, shares: Series) -> Figure:
    return below(shares, SHARE)._replace(name=f"watchers, {name}, over {shares.name}")
