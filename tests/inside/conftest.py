"""Starts the programs that live inside the Jupyter environment, as the agent does, and ends every one."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

INSIDE = Path(__file__).resolve().parents[2] / "src" / "lofty" / "jupyter" / "inside"
TOKEN = "0123456789abcdef-a-token-0123456789abcdef"
NAME = "demo"


def until(true: Callable[[], Any], seconds: float = 20.0, what: str = "") -> Any:
    """Ask again and again until the answer is true, and return it."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := true():
            return answer
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {what or true}")


def is_running(pid: int) -> bool:
    """Return whether the process does anything: one that nobody has buried yet does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@dataclass
class Answer:
    """An answer over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes
    cookies: dict[str, str]

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


def jar(cookies: dict[str, str]) -> str:
    """Return cookies as a browser sends them back."""
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str], body: Any = None
) -> Answer:
    """Ask once and close; `path` goes out exactly as it is."""
    payload = None if body is None else json.dumps(body)
    try:
        connection.request(method, path, payload, headers)
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        set_cookies = [value.split(";")[0] for name, value in response.getheaders() if name == "Set-Cookie"]
        cookies = dict(each.split("=", 1) for each in set_cookies)
        return Answer(response.status, names, response.read(), cookies)
    finally:
        connection.close()


@dataclass
class Place:
    """The directories of one workspace."""

    root: Path
    work: Path = field(init=False)
    run: Path = field(init=False)
    state: Path = field(init=False)

    def __post_init__(self) -> None:
        for name in ("work", "run", "state"):
            setattr(self, name, self.root / name)
            (self.root / name).mkdir(mode=0o700, exist_ok=True)
        (self.run / "token").write_text(TOKEN, encoding="ascii")
        (self.run / "token").chmod(0o600)

    def facts(self, **changes: Any) -> None:
        """Write what the agent would."""
        now = time.time()
        facts = {"name": NAME, "state": "running", "deadline": None, "idle_at": None, "price_per_hour": 0.0}
        facts |= {"cost": 0.0, "message": None, "updated": now}
        partial = self.run / "facts.part"
        partial.write_text(json.dumps(facts | changes), encoding="utf-8")
        partial.replace(self.run / "facts.json")


@dataclass
class Server:
    """A running workspace."""

    place: Place
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def ask(
        self, path: str, method: str = "GET", *, token: str | None = TOKEN, body: Any = None, **headers: str
    ) -> Answer:
        """Ask for `path`, by default with the token."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            sent["Authorization"] = f"token {token}"
        return ask(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30), method, path, sent, body)

    def end(self, number: int = signal.SIGTERM, seconds: float = 10.0) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


class Starter:
    """Starts programs and ends those that are still there in the end, with their children."""

    def __init__(self, python: Path, kernel: Path, root: Path) -> None:
        self.python, self.kernel = python, kernel
        self.root = root
        self.processes: list[subprocess.Popen[bytes]] = []
        self.kernelspec(kernel)

    def kernelspec(self, interpreter: Path) -> None:
        """Make `python3` a kernel in `interpreter`, as the agent does."""
        (overlay,) = self.kernel.parent.parent.glob("lib/python*/site-packages")
        argv = [interpreter, INSIDE / "kernel.py", overlay, "-f", "{connection_file}"]
        document = {"argv": [*map(str, argv)], "display_name": "Python 3", "language": "python"}
        spec = self.root / "data" / "kernels" / "python3"
        spec.mkdir(parents=True, exist_ok=True)
        encrypted = {"metadata": {"supported_encryption": ["curve"]}}
        (spec / "kernel.json").write_text(json.dumps(document | encrypted))

    def environ(self, **changes: str) -> dict[str, str]:
        """Return an environment in which nothing of the person who runs the tests has a say."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "PYTHON", "LOFTY"))}
        home = self.root / "home"
        home.mkdir(exist_ok=True)
        private = {
            "HOME": str(home),
            "JUPYTER_CONFIG_DIR": str(home / "config"),
            "JUPYTER_RUNTIME_DIR": str(self.root / "run" / "jupyter"),
            "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
            "JUPYTER_PATH": str(self.root / "data"),
            "IPYTHONDIR": str(home / "ipython"),
        }
        return kept | private | changes

    def start(self, program: str, *arguments: str | Path, log: Path, **options: Any) -> subprocess.Popen[bytes]:
        """Start a program of the inside."""
        command = [str(self.python), "-P", str(INSIDE / program), *map(str, arguments)]
        options.setdefault("env", self.environ())
        with log.open("wb") as output:
            options = {"stdout": output, "stderr": subprocess.STDOUT, **options}
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
        self.processes.append(process)
        return process

    def end_all(self) -> None:
        """End what is left."""
        for process in self.processes:
            family = [process.pid]
            if process.poll() is None:
                family += [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
            for pid in reversed(family):
                if is_running(pid):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe:
                    pipe.close()

    def workspace(self, name: str = "server", environ: dict[str, str] | None = None) -> Server:
        """Start Jupyter and wait until it answers."""
        place = Place(self.root)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        log = self.root / f"{name}.log"
        process = self.start(
            "launch.py", *launch_arguments(place, port), log=log, cwd=place.work, env=environ or self.environ()
        )
        server = Server(place, port, process, log)

        def ready() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return server.ask(f"/{NAME}/api/status").status == 200
            except OSError:
                return False

        until(ready, 30, "Jupyter answers")
        return server


def launch_arguments(place: Place, port: int) -> list[str | Path]:
    """Return the command line of launch.py."""
    paths: list[str | Path] = ["--token-file", place.run / "token", "--workdir", place.work]
    paths += ["--run-dir", place.run, "--state-dir", place.state]
    return ["--port", str(port), "--base-url", f"/{NAME}/", "--name", NAME, *paths]


@pytest.fixture(scope="session")
def inside() -> Path:
    return INSIDE


@pytest.fixture
def starter(jupyter_python: Path, kernel_python: Path, tmp_path: Path) -> Iterator[Starter]:
    made = Starter(jupyter_python, kernel_python, tmp_path)
    yield made
    made.end_all()


@pytest.fixture(scope="session")
def server(jupyter_python: Path, kernel_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One workspace for all tests that leave it as it is."""
    made = Starter(jupyter_python, kernel_python, tmp_path_factory.mktemp("w"))
    yield made.workspace()
    made.end_all()


@pytest.fixture
def facts_module(inside: Path) -> Any:
    """The panel's `facts`, which needs nothing but the standard library."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("panel_facts", inside / "lofty_panel" / "facts.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
