"""The forward from a port of this computer to a workspace on a machine: one background process for each task, which any
command starts where it is missing and finds where it is not. What that process does is in `relay`.

`$LOFTY_HOME/forward/ID/` holds what was asked for (`order.json`), how it stands (`status.json`), `log`, and a lock.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from shutil import rmtree

import msgspec
import psutil

from .. import errors
from ..agent import processes
from ..agent.paths import write_private
from ..drivers.base import Settings
from ..errors import LoftyError, Unavailable
from ..model.state import Endpoint, Handle
from . import ssh

NEAR = "near"
"""The socket that `ssh` serves, in the private directory of a forward's run."""
PATIENCE = 45.0
"""Seconds that a command waits for a connection."""
_START_SECONDS = 15.0
"""For the process to speak for the first time, on a busy computer."""
_TERM_GRACE = 3.0


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a forward is for. No secrets: it is a file, and the key is another one."""

    name: str
    handle: Handle
    port: int
    """On this computer; the workspace's own, so that its address is the same everywhere and always."""
    end: Endpoint
    """Where the machine is at the start; later the driver is asked."""
    home: str
    cache: str

    @property
    def keys(self) -> Path:
        """The directory for `ssh.command`."""
        return ssh.folder_of(self.home, self.handle.id)


class Problem(msgspec.Struct, frozen=True):
    """An error on its way from one process to another."""

    kind: str
    message: str
    hint: str | None

    @classmethod
    def of(cls, error: LoftyError) -> Problem:
        """As it can be written down."""
        return cls(error.kind, str(error), error.hint)

    def error(self) -> LoftyError:
        """As it was raised."""
        kind = getattr(errors, self.kind, LoftyError)
        made: LoftyError = kind(self.message, hint=self.hint)
        return made


class Status(msgspec.Struct, kw_only=True):
    """How a forward stands, in its own words."""

    pid: int
    birth: float
    """When the process began, by its own clock: the id alone may be somebody else's by now."""
    run: str = ""
    """Its short-lived private directory, where the socket is."""
    up: bool = False
    tries: int = 0
    """Connections tried so far, the present one included."""
    problem: Problem | None = None
    """Of the last one that failed, unless one has worked since."""
    failed: int = 0
    """Which one that was."""
    ended: float | None = None
    """Epoch seconds; it gave up then, because of `problem`."""


def ensure(
    settings: Settings, handle: Handle, end: Endpoint, key: str, *, name: str, port: int, patience: float = PATIENCE
) -> int:
    """See to it that the forward from `port` of this computer to an endpoint of `how="ssh"` runs, and wait until the
    workspace answers through it. `key` is the text of the task's private key. Gives the port on this computer. Raises
    what keeps the workspace from answering."""
    folder = folder_of(settings.home, handle.id)
    path = f"/{name}/api"  # where Jupyter tells its version to anybody
    began, limit = time.time(), time.monotonic() + patience
    status = _read(folder)
    seen = status.failed if status is not None and _lives(status) else 0
    begin(settings, handle, end, key, name=name, port=port)
    if status is not None and _lives(status):
        if status.up and answers(port, path):
            return port
        _wake(status)  # it may be in a pause; or the machine is another one, and that is not noticed yet
    while time.monotonic() < limit:
        status = _read(folder)
        if _lives(status):
            assert status is not None
            if status.up and answers(port, path):
                return port
            if status.problem is not None and status.failed > seen and status.problem.kind != Unavailable.__name__:
                raise status.problem.error()
        elif status is not None and (status.ended or 0) >= began and status.problem is not None:
            raise status.problem.error()
        elif time.time() - began > _START_SECONDS:
            raise LoftyError("the forward did not start or has ended", hint=f"cat {folder / 'log'}")
        time.sleep(0.05)
    if status is not None and status.problem is not None and not status.up:
        raise status.problem.error()
    text = f"the machine is reached, but nothing answers at its port {end.port}"
    raise Unavailable(text, hint=f"lofty logs {name}", retry_after=2)


def begin(settings: Settings, handle: Handle, end: Endpoint, key: str, *, name: str, port: int) -> None:
    """As `ensure`, without waiting: so the way is there as soon as the workspace is."""
    ssh.prepare(ssh.folder_of(settings.home, handle.id), end, key)
    folder = folder_of(settings.home, handle.id)
    if not _lives(_read(folder)):
        home, cache = (str(Path(path).absolute()) for path in (settings.home, settings.cache))
        _start(folder, Order(name=name, handle=handle, port=port, end=end, home=home, cache=cache), settings)


def runs(home: str | Path, task_id: str) -> bool:
    """Whether a task's forward runs, which then holds the task's port."""
    return _lives(_read(folder_of(home, task_id)))


def end(home: str | Path, task_id: str) -> None:
    """End a task's forward, and all that a killed one left. What is not there is no error."""
    folder = folder_of(home, task_id)
    if not folder.is_dir():
        return
    status = _read(folder)
    if status is not None and _lives(status):
        with suppress(psutil.Error):
            process = psutil.Process(status.pid)
            process.terminate()
            if psutil.wait_procs([process], timeout=_TERM_GRACE)[1]:
                process.kill()
                psutil.wait_procs([process], timeout=_TERM_GRACE)
    clear(folder)


def forget(home: str | Path, task_id: str) -> None:
    """End a task's forward and remove what this computer keeps for reaching it, the keys included."""
    end(home, task_id)
    rmtree(folder_of(home, task_id), ignore_errors=True)
    rmtree(ssh.folder_of(home, task_id), ignore_errors=True)


def folder_of(home: str | Path, task_id: str) -> Path:
    """Where a task's forward keeps its things."""
    return Path(home).absolute() / "forward" / task_id


def put_status(folder: Path, status: Status) -> None:
    """Replace the forward's word."""
    write_private(folder / "status.json", msgspec.json.encode(status))


def clear(folder: Path) -> None:
    """End what a forward that lives no longer has left running, and remove its socket."""
    status = _read(folder)
    if status is not None and Path(status.run).name.startswith("lofty-"):
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):  # gone meanwhile, or somebody else's
                if any(word.startswith(f"{status.run}/{NEAR}:") for word in process.cmdline()):
                    process.kill()
                    psutil.wait_procs([process], timeout=1)
        rmtree(status.run, ignore_errors=True)
    (folder / "status.json").unlink(missing_ok=True)


def answers(port: int, path: str, timeout: float = 3.0) -> bool:
    """Whether a web server answers there, whatever it says: only then the connection goes through to its end."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=timeout) as connection:
            request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n"
            connection.sendall(request.encode())
            return connection.recv(5) == b"HTTP/"
    except OSError:
        return False


def _start(folder: Path, order: Order, settings: Settings) -> None:
    """Start the process; where another command does the same at this moment, one of the two gives way."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(folder / "order.json", msgspec.json.encode(order))
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "lofty.reach.relay", str(folder)],
            cwd=folder,
            env=settings.environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    process.wait()  # it forks away at once


def _wake(status: Status) -> None:
    with suppress(ProcessLookupError):
        os.kill(status.pid, signal.SIGUSR1)


def _read(folder: Path) -> Status | None:
    try:
        return msgspec.json.decode((folder / "status.json").read_bytes(), type=Status)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def _lives(status: Status | None) -> bool:
    return status is not None and status.ended is None and processes.alive(status.pid, status.birth)
