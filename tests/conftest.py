"""What all tests share: a home of their own, the shared cache of environments, the guard on addresses, and a look at
the end for anything left behind."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil
import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parent.parent
CACHE = Path(os.environ.get("LOFTY_TEST_CACHE") or ROOT / ".cache")
"""Filled by `tests/fetch.py` before the tests start; read by them without a network."""
GUARD = Path(__file__).parent / "guard"


def pytest_configure() -> None:
    """Ctrl-C means what it does in a terminal, for this process and its children, also where the suite was started in
    the background of a script, which ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def required(what: str) -> bool:
    """Whether a missing part fails the run instead of being skipped: named in `LOFTY_REQUIRE`."""
    return what in os.environ.get("LOFTY_REQUIRE", "").split(",")


@pytest.fixture(scope="session", autouse=True)
def _guard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No process of the suite reaches another computer; an attempt that the program swallowed fails the run too."""
    log = tmp_path_factory.mktemp("guard") / "refused"
    os.environ["LT_GUARD_LOG"] = str(log)
    os.environ["PYTHONPATH"] = str(GUARD)
    sys.path.insert(0, str(GUARD))
    importlib.import_module("sitecustomize")  # this process too

    yield
    assert not log.exists(), log.read_text()


class Result(NamedTuple):
    """One run of the command line."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """The one document on stdout."""
        return json.loads(self.out)


class Lofty:
    """The `lofty` command with a home of its own, as a person's terminal would have it."""

    def __init__(self, home: Path, environ: dict[str, str]) -> None:
        self.home, self.environ = home, environ

    def __call__(self, *words: str | Path, cwd: Path | None = None, timeout: float = 90, **environ: str) -> Result:
        """Run to the end."""
        done = subprocess.run(
            [sys.executable, "-m", "lofty", *map(str, words)],
            cwd=cwd or self.home.parent,
            env={**self.environ, **environ},
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def popen(self, *words: str | Path, cwd: Path | None = None, **options: Any) -> subprocess.Popen[str]:
        """Start, for tests that interrupt or read while it runs."""
        return subprocess.Popen(
            [sys.executable, "-m", "lofty", *map(str, words)],
            cwd=cwd or self.home.parent,
            env=self.environ,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            **options,
        )

    def ok(self, *words: str | Path, **options: Any) -> Result:
        """Run, and it must succeed."""
        result = self(*words, **options)
        assert result.code == 0, f"{words}: exit {result.code}\n{result.out}\n{result.err}"
        return result

    def clear(self) -> None:
        """Take down all that is left. What was made lies in a folder at home or in an account: where there is neither,
        nobody starts a process to hear so, at the end of every test."""
        if any(self.home.glob("*/*")) or "AWS_ENDPOINT_URL" in self.environ:
            self("down", "--all", "-y", "--discard")

    def processes(self) -> list[psutil.Process]:
        """Everything alive that belongs to this home."""
        found = []
        for process in psutil.process_iter():
            try:
                environ = process.environ()
                if environ.get("LT_HOME") == str(self.home) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found


def clean_environ(home: Path) -> dict[str, str]:
    """A person's environment without this machine's peculiarities, offline, with the shared caches."""
    dropped = ("LOFTY_", "PYTHON", "VIRTUAL_ENV", "CONDA", "JUPYTER", "UV_", "DISPLAY", "WAYLAND", "XDG_")
    environ = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    (home.parent / "user").mkdir(exist_ok=True)
    return {
        **environ,
        "HOME": str(home.parent / "user"),
        "LOFTY_HOME": str(home),
        "LT_HOME": str(home),
        "LOFTY_CACHE": str(CACHE / "lofty"),
        "LT_GUARD_LOG": os.environ["LT_GUARD_LOG"],
        "PYTHONPATH": str(GUARD),
        "PYTHONWARNINGS": "default",
        "UV_CACHE_DIR": str(CACHE / "uv"),
        "UV_OFFLINE": "1",
    }


@pytest.fixture
def lofty(tmp_path: Path) -> Iterator[Lofty]:
    """The command line; afterwards everything it started must be gone, or is ended and reported."""
    home = tmp_path / "home"
    runtime = Path(tempfile.mkdtemp(prefix="lt-", dir="/tmp"))  # short: sockets lie in it
    command = Lofty(home, {**clean_environ(home), "XDG_RUNTIME_DIR": str(runtime)})
    yield command
    command.clear()
    eventually(lambda: not command.processes(), 5, check=False)
    left = command.processes()
    for process in left:
        process.kill()
    folders = list(runtime.iterdir())
    shutil.rmtree(runtime)
    assert not left, f"left running: {left}"
    assert not folders, f"left behind: {folders}"


def eventually(condition: Callable[[], object], seconds: float = 20, *, check: bool = True) -> None:
    """Wait until something holds; fail when it does not within so many seconds."""
    limit = time.monotonic() + seconds
    while time.monotonic() < limit:
        if condition():
            return
        time.sleep(0.05)
    assert not check or condition(), f"did not become true within {seconds} s"


@pytest.fixture(scope="session")
def jupyter_python() -> Path:
    """The interpreter of the pinned Jupyter environment, made by `tests/fetch.py`."""
    found = sorted((CACHE / "lofty" / "envs").glob("tools-*/bin/python"), key=lambda path: path.lstat().st_mtime)
    if not found:
        pytest.fail("run `make fetch` first")
    return found[-1]


@pytest.fixture(scope="session")
def kernel_python() -> Path:
    """The interpreter of an environment that can run notebooks and nothing else, made by `tests/fetch.py`."""
    found = CACHE / "kernel" / "bin" / "python"
    if not found.exists():
        pytest.fail("run `make fetch` first")
    return found


ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The system's Chromium. Not for longer than a module: while Playwright is open, its thread has a running event
    loop, and tests that start one of their own fail."""
    with browser() as made:
        yield made


@contextmanager
def browser() -> Iterator[Browser]:
    """The system's Chromium, in the network of the thread that asks."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        (pytest.fail if required("chromium") else pytest.skip)("no Chromium here: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=found, headless=True, args=list(ARGUMENTS))
        yield made
        made.close()
