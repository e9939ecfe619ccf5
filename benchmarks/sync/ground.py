"""A scratch folder, the S3 server in a process of its own, the tools, trees of files."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import NamedTuple
from urllib.request import urlopen

from tests.stores.s3 import KEY, REGION, SECRET

from ..measure import CACHE, LOFTY, ROOT, Figure, Series, plain

RCLONE = CACHE / "bench" / "bin" / "rclone"
TUNED = (
    "--fast-list",
    "--transfers=32",
    "--checkers=32",
    "--update",
    "--use-server-modtime",
    "--s3-no-check-bucket",
)
PIECE = 1024 * 1024
LIMIT = 1800.0
ROOM = 14 * 2**30
"""Bytes that the largest of these benchmarks needs, the server's memory included."""


class Ran(NamedTuple):
    """A command that came to its end."""

    seconds: float
    cpu: float
    peak: float
    """MiB."""
    requests: int


class Server:
    """The S3 server, at work."""

    def __init__(self, delay: int) -> None:
        self.moments: SimpleQueue[float] = SimpleQueue()
        """When a version was published."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.sync.server", str(delay)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.address = self._process.stdout.readline().strip()
        Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.moments.put(float(line))

    def requests(self) -> int:
        """How many since this was asked last."""
        return self._ask("requests")

    def clear(self) -> None:
        """Forget every object."""
        self._ask("clear")

    def _ask(self, word: str) -> int:
        with urlopen(f"{self.address}/_/{word}", timeout=60) as answer:
            return sum(json.load(answer)["requests"].values())

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)


class Ground:
    """Where the tools run: nothing of the person's is touched."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        dropped = ("LOFTY_", "PYTHON", "AWS_", "RCLONE_")
        self._environ = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}

    def environ(self, server: Server | None = None, home: str = "home") -> dict[str, str]:
        """What both tools need; `home` is lofty's memory."""
        made = {
            **self._environ,
            "HOME": str(self.folder),
            "LOFTY_HOME": str(self.folder / home),
            "RCLONE_CONFIG": str(self.folder / "rclone.conf"),
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }
        if server:
            made |= {"AWS_ENDPOINT_URL": server.address, "RCLONE_CONFIG_BENCH_ENDPOINT": server.address}
        for name, value in {"type": "s3", "provider": "Other", "env_auth": "true", "region": REGION}.items():
            made[f"RCLONE_CONFIG_BENCH_{name.upper()}"] = value
        return made

    def run(self, words: Sequence[str | Path], server: Server | None = None, home: str = "home") -> Ran:
        """A command to its end."""
        if server:
            server.requests()
        with tempfile.TemporaryFile() as said:
            began = time.monotonic()
            process = subprocess.Popen(
                words,
                cwd=self.folder,
                env=self.environ(server, home),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
            _, status, used = os.wait4(process.pid, 0)
            seconds = time.monotonic() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                said.seek(0)
                raise RuntimeError(f"{words}: exit code {process.returncode}\n{said.read().decode()[-2000:]}")
        asked = server.requests() if server else 0
        return Ran(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, asked)

    @contextmanager
    def watching(self, folder: Path, url: str, server: Server, home: str) -> Iterator[subprocess.Popen[bytes]]:
        """`lofty sync --watch`, for a while."""
        words: list[str | Path] = [LOFTY, "sync", folder, url, "--watch"]
        with (self.folder / f"{home}.log").open("wb") as log:
            process = subprocess.Popen(
                words, cwd=self.folder, env=self.environ(server, home), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)

    def tree(self, name: str, files: int, size: int, in_each: int = 100) -> Path:
        """So many files, half of whose bytes can be compressed."""
        folder = self.folder / name
        words = (b"the quick brown fox jumps over the lazy dog; " * (PIECE // 45 + 1))[:PIECE]
        for start in range(0, files, in_each):
            below = folder / f"{start // in_each:04}"
            below.mkdir(parents=True)
            for number in range(min(in_each, files - start)):
                with (below / f"{number:03}.dat").open("wb") as file:
                    for at in range(0, size, PIECE):
                        half = min(PIECE, size - at) // 2
                        file.write(random.randbytes(half) + words[:half])
        return folder

    def rid(self, *folders: Path) -> None:
        """Away with them."""
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def edit(tree: Path, count: int) -> list[Path]:
    """New bytes, of the same length, in so many files of different folders."""
    below = sorted(tree.iterdir())
    chosen = [below[index * len(below) // count] / f"{random.randrange(100):03}.dat" for index in range(count)]
    for path in chosen:
        path.write_bytes(random.randbytes(path.stat().st_size))
    return chosen


def last(server: Server, quiet: float = 1.5) -> float:
    """When the newest version was published, once no more come."""
    moment = server.moments.get(timeout=60)
    while True:
        try:
            moment = server.moments.get(timeout=quiet)
        except Empty:
            return moment


def drain(server: Server) -> None:
    """Forget what was published so far."""
    while not server.moments.empty():
        server.moments.get()


@contextmanager
def ground() -> Iterator[Ground]:
    """In memory where there is room, so that no disk is measured; LOFTY_BENCH_FOLDER names another place."""
    if not RCLONE.exists():
        raise SystemExit("rclone is not there: `make bench` fetches it")
    shm = Path("/dev/shm")
    room = shm.is_dir() and shutil.disk_usage(shm).free > ROOM
    base = os.environ.get("LOFTY_BENCH_FOLDER") or (str(shm) if room else None)
    folder = Path(tempfile.mkdtemp(prefix="lofty-bench-", dir=base))
    try:
        made = Ground(folder)
        made.run([LOFTY, "--version"])
        yield made
    finally:
        shutil.rmtree(folder)


@contextmanager
def serving(delay: int = 0) -> Iterator[Server]:
    """The server, for a while."""
    server = Server(delay)
    try:
        yield server
    finally:
        server.close()


def lofty(tree: Path, prefix: str = "lofty") -> list[str | Path]:
    """Both ways, as a user would."""
    return [LOFTY, "sync", tree, f"s3://bucket/{prefix}"]


def rclone(source: Path | str, target: Path | str, *flags: str, verb: str = "sync") -> list[str | Path]:
    """One way."""
    return [RCLONE, verb, source, target, *flags]


Runs = dict[str, list[Ran]]


def there_and_back(
    here: Ground, source: Path, tools: dict[str, tuple[str, ...] | None], n: int, delay: int = 0
) -> Runs:
    """A tree to the server and out of it, into an empty folder, by lofty (None) and rclone (its flags), and by `cp -r`,
    in turns. What the first round brings is compared byte for byte."""
    runs: Runs = {name: [] for name in (*(f"{name} {way}" for name in tools for way in ("up", "down")), "`cp -r`")}
    with serving(delay) as server:
        for number in range(n):
            for name in rotated(tools, number):
                flags, target, remote = tools[name], here.folder / "target", "bench:bucket/rclone"
                up = lofty(source) if flags is None else rclone(source, remote, *flags)
                down = lofty(target) if flags is None else rclone(remote, target, *flags)
                for way, words in (("up", up), ("down", down)):
                    runs[f"{name} {way}"].append(here.run(words, server, home := uuid.uuid4().hex))
                    here.rid(here.folder / home)
                if not number:
                    here.run(["diff", "-r", source, target])
                server.clear()
                here.rid(target)
            runs["`cp -r`"].append(here.run(["cp", "-r", source, here.folder / "copy"]))
            here.rid(here.folder / "copy")
    return runs


def rotated(names: Iterable[str], by: int) -> list[str]:
    """Another one begins each time."""
    listed = list(names)
    by %= len(listed)
    return listed[by:] + listed[:by]


def seconds(name: str, runs: Sequence[Ran]) -> Series:
    """How long they took."""
    return Series(name, [run.seconds for run in runs], "s")


def described(name: str, runs: Sequence[Ran]) -> Figure:
    """Time, with the processor time, memory and requests of the middle one."""
    middle = sorted(runs, key=lambda run: run.seconds)[len(runs) // 2]
    asked = f"; {middle.requests:,} requests" if middle.requests else ""
    more = f"; processor {middle.cpu:.2f} s, {middle.peak:.0f} MiB{asked}"
    figure = plain(seconds(name, runs))
    return figure._replace(value=figure.value + more)
