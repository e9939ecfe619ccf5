"""What all benchmarks share: figures, a scratch home for lofty, waiting for a server, counting processor time."""

from __future__ import annotations

import http.client
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
CACHE = Path(os.environ.get("LOFTY_TEST_CACHE") or ROOT / ".cache")
LOFTY = Path(sys.executable).parent / "lofty"
POLL_SECONDS = 0.01


class Series(NamedTuple):
    """Values of one thing measured again and again."""

    name: str
    values: list[float]
    unit: str

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    def text(self) -> str:
        """`0.81 s (0.74-1.02)`."""
        low, high = min(self.values), max(self.values)
        spread = f" ({number(low)}-{number(high)})" if len(self.values) > 1 else ""
        return f"{number(self.median)} {self.unit}{spread}"


class Figure(NamedTuple):
    """One line of a report: a value, and the promise that it has to keep, if there is one."""

    name: str
    value: str
    n: int
    target: str = ""
    met: bool | None = None

    @property
    def verdict(self) -> str:
        """Kept, missed, or no promise."""
        return "" if self.met is None else "met" if self.met else "**missed**"


def number(value: float) -> str:
    """Three digits that matter."""
    digits = next((digits for least, digits in ((100, 0), (10, 1), (0.1, 2)) if value >= least), 3)
    return f"{value:.{digits}f}"


def plain(series: Series) -> Figure:
    """A figure for information."""
    return Figure(series.name, series.text(), len(series.values))


def below(series: Series, limit: float) -> Figure:
    """The median has to lie below a limit."""
    target = f"median below {limit:g} {series.unit}"
    return Figure(series.name, series.text(), len(series.values), target, series.median < limit)


def ratio(name: str, ours: Series, theirs: Series, limit: float | None = None) -> Figure:
    """Round by round, ours divided by theirs; the median has to be at most `limit`."""
    each = [a / b for a, b in zip(ours.values, theirs.values, strict=True)]
    series = Series(name, each, "times")
    if limit is None:
        return plain(series)
    return Figure(name, series.text(), len(each), f"at most {limit:g}", series.median <= limit)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that so large a share of them does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Place:
    """lofty with a home and an owner of its own: nothing of the person's is touched."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        dropped = ("LOFTY_", "PYTHON", "VIRTUAL_ENV", "CONDA", "JUPYTER", "UV_", "DISPLAY", "WAYLAND")
        self.environ = {
            **{key: value for key, value in os.environ.items() if not key.startswith(dropped)},
            "LOFTY_HOME": str(folder / "home"),
            "LOFTY_CACHE": str(cache),
            "LOFTY_OWNER": f"bench-{uuid.uuid4().hex[:8]}",
            "UV_CACHE_DIR": str(CACHE / "uv"),
            "UV_OFFLINE": "1",
        }

    def run(self, *words: str, cwd: Path | None = None) -> str:
        """A lofty command to its end; what it wrote on stdout."""
        done = subprocess.run(
            [LOFTY, *words],
            cwd=cwd or self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=300,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"lofty {' '.join(words)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def document(self, *words: str, cwd: Path | None = None) -> Any:
        """The same with --json, decoded."""
        return json.loads(self.run(*words, "--json", cwd=cwd))

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A lofty command, begun."""
        return subprocess.Popen(
            [LOFTY, *words],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def example(self, name: str) -> Path:
        """A copy of the quickstart under a name."""
        folder = self.folder / name
        shutil.copytree(ROOT / "examples" / "quickstart", folder, ignore=shutil.ignore_patterns("runs", "*.executed.*"))
        return folder


@contextmanager
def place(cache: Path | None = None) -> Iterator[Place]:
    """A place, and nothing left of it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="lofty-bench-"))
    made = Place(folder, cache or CACHE / "lofty")
    try:
        yield made
    finally:
        made.run("down", "--all", "-y", "--discard")
        shutil.rmtree(folder)


def seconds_to_answer(port: int, path: str, token: str, began: float, limit: float = 120.0) -> float:
    """Seconds from `began` (monotonic) to the first 200."""
    while time.monotonic() < began + limit:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path, headers={"Authorization": f"token {token}"})
            if connection.getresponse().status == 200:
                return time.monotonic() - began
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        time.sleep(POLL_SECONDS)
    raise TimeoutError(f"nothing answered at {path}")


class Bare(NamedTuple):
    """A `jupyter-lab` that lofty has no part in."""

    process: subprocess.Popen[bytes]
    port: int
    token: str
    began: float

    def ready(self) -> float:
        """Seconds from its start to its first answer."""
        return seconds_to_answer(self.port, "/api/status", self.token, self.began)


@contextmanager
def bare_jupyter(here: Place, folder: Path) -> Iterator[Bare]:
    """Bare `jupyter-lab` on a folder, out of the environment that lofty made, with settings untouched."""
    program = sorted((CACHE / "lofty" / "envs").glob("tools-*/bin/jupyter-lab"), key=os.path.getmtime)[-1]
    own = here.folder / f"jupyter-{uuid.uuid4().hex[:6]}"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = uuid.uuid4().hex
    environ = {
        **here.environ,
        "JUPYTER_TOKEN": token,
        "JUPYTER_CONFIG_DIR": str(own / "config"),
        "JUPYTER_RUNTIME_DIR": str(own / "runtime"),
    }
    words = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--port-retries=0"]
    began = time.monotonic()
    process = subprocess.Popen(
        [program, *words], cwd=folder, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield Bare(process, port, token, began)
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(own, ignore_errors=True)


def cpu_seconds(command: Sequence[str | Path], environ: dict[str, str], cwd: Path) -> float:
    """Processor time, user and system, of a command and its children. Its result does not matter."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        command,
        env=environ,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
