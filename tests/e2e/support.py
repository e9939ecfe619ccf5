"""What the end-to-end tests share: a workspace as a program sees it, its kernels, notebooks, and looks at what is
there before and after."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import socket
import stat
import struct
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import psutil

from ..conftest import Lofty, eventually


class Answer(NamedTuple):
    """An answer over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Workspace:
    """A running workspace, from what `lofty lab -d --json` printed."""

    def __init__(self, facts: dict[str, Any]) -> None:
        parts = urlsplit(facts["url"])
        assert parts.port
        self.facts, self.port = facts, parts.port
        self.name: str = facts["name"]
        self.token = parse_qs(parts.query)["token"][0]
        self.url: str = facts["url"]
        self.notebook_url: str = facts["notebook_url"]
        self.tensorboard_url: str = facts["tensorboard_url"]
        self.site = f"http://127.0.0.1:{self.port}/{self.name}"

    def page(self, path: str) -> str:
        """The address of a page, token included."""
        return f"{self.site}/{path}?token={self.token}"

    def ask(
        self, method: str, path: str, *, token: str | None = "", body: Any = None, timeout: float = 10, **headers: str
    ) -> Answer:
        """Ask below the base URL; with the workspace's own token unless told otherwise, None for without."""
        if token is not None:
            headers["Authorization"] = f"token {token or self.token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, f"/{self.name}/{path}", payload, headers)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def answers(self, timeout: float = 2) -> bool:
        """Whether it really serves."""
        try:
            return self.ask("GET", "api/status", timeout=timeout).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def kernel(self) -> Kernel:
        """A new kernel."""
        answer = self.ask("POST", "api/kernels", body={}, timeout=30)
        assert answer.status == 201, answer
        return Kernel(self, answer.json()["id"])


def websocket(port: int, path: str, token: str | None) -> socket.socket | int:
    """Open a websocket; the status where it is refused."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
        *([f"Authorization: token {token}"] if token else []),
    ]
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = connection.recv(1)
        if not piece:
            break
        head += piece
    status = int(head.split(b" ", 2)[1]) if head else 0
    if status == 101:
        return connection
    connection.close()
    return status


def send_frame(connection: socket.socket, text: str) -> None:
    """A text message, as a client must send it: masked, here with zeros."""
    data = text.encode()
    size = (
        bytes([0x80 | len(data)])
        if len(data) < 126
        else bytes([0x80 | 126]) + struct.pack(">H", len(data))
        if len(data) < 65536
        else bytes([0x80 | 127]) + struct.pack(">Q", len(data))
    )
    connection.sendall(b"\x81" + size + b"\0\0\0\0" + data)


def read_frame(connection: socket.socket) -> tuple[int, bytes]:
    """One message of the server's: its kind and its bytes."""
    first, second = _exactly(connection, 2)
    size = second & 0x7F
    if size == 126:
        (size,) = struct.unpack(">H", _exactly(connection, 2))
    elif size == 127:
        (size,) = struct.unpack(">Q", _exactly(connection, 8))
    return first & 0x0F, _exactly(connection, size)


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            raise ConnectionError("the other side closed the websocket")
        data += piece
    return data


OPEN: list[socket.socket] = []
"""Websockets of the test that runs; the fixture closes them at its end."""


class Kernel:
    """A kernel, driven as an open page drives it."""

    def __init__(self, workspace: Workspace, identifier: str) -> None:
        self.workspace, self.id = workspace, identifier
        self._connection: socket.socket | None = None

    def open(self) -> None:
        """Open its channels, as an open tab has them."""
        made = websocket(
            self.workspace.port, f"/{self.workspace.name}/api/kernels/{self.id}/channels", self.workspace.token
        )
        assert isinstance(made, socket.socket), made
        self._connection = made
        OPEN.append(made)

    def close(self) -> None:
        """Close the tab; the kernel goes on."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def start(self, code: str) -> str:
        """Send code, without waiting for it."""
        if self._connection is None:
            self.open()
        assert self._connection is not None
        identifier = uuid.uuid4().hex
        header = {
            "msg_id": identifier,
            "msg_type": "execute_request",
            "username": "",
            "session": self.id,
            "version": "5.3",
        }
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        send_frame(self._connection, json.dumps(message))
        return identifier

    def run(self, code: str) -> str:
        """Run code to its end; what it printed. A cell that fails fails the test."""
        sent, text = self.start(code), ""
        assert self._connection is not None
        while True:
            kind, data = read_frame(self._connection)
            if kind != 1:
                continue
            message = json.loads(data)
            if message["parent_header"].get("msg_id") != sent:
                continue
            content = message["content"]
            if message["msg_type"] == "stream":
                text += content["text"]
            assert message["msg_type"] != "error", content
            if message["msg_type"] == "status" and content["execution_state"] == "idle":
                return text

    @property
    def state(self) -> str:
        """busy, idle, …, without counting as activity."""
        answer = self.workspace.ask("GET", f"api/kernels/{self.id}?no_track_activity=1").json()
        return str(answer["execution_state"])


def lab(lofty: Lofty, folder: Path, *words: str) -> Workspace:
    """A running workspace."""
    return Workspace(lofty.ok("lab", folder, "-d", "--json", *words).json())


def listed(lofty: Lofty, name: str) -> dict[str, Any]:
    """How `lofty ls` tells of a task."""
    found = [task for task in lofty.ok("ls", "--json").json() if task["name"] == name]
    assert len(found) == 1, f"{name}: {found}"
    task: dict[str, Any] = found[0]
    return task


def make_folder(parent: Path, name: str, **files: str) -> Path:
    """A directory with files; `_` before the suffix stands for the dot: `main_py`."""
    folder = parent / name
    folder.mkdir()
    for key, text in files.items():
        stem, _, suffix = key.rpartition("_")
        (folder / f"{stem}.{suffix}").write_text(text)
    return folder


def write_notebook(path: Path, *cells: str, parameters: str | None = None) -> Path:
    """A notebook of code cells; `parameters` becomes the first one, tagged as papermill wants it."""
    tagged = [] if parameters is None else [parameters]
    document = {
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell-{number}",
                "metadata": {"tags": ["parameters"]} if number < len(tagged) else {},
                "execution_count": None,
                "outputs": [],
                "source": source,
            }
            for number, source in enumerate((*tagged, *cells))
        ],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    path.write_text(json.dumps(document))
    return path


def printed(notebook: Path) -> list[str]:
    """What each code cell of an executed notebook printed."""
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    return [
        "".join("".join(output["text"]) for output in cell["outputs"] if output["output_type"] == "stream")
        for cell in cells
    ]


def snapshot(folder: Path) -> dict[str, tuple[str, int, int]]:
    """Everything below a directory, by name: content, time of change, mode. Bytecode that Python itself writes beside
    what the user's code imports is left out."""
    found = {}
    for path in sorted([folder, *folder.rglob("*")]):
        name = str(path.relative_to(folder))
        if {".ipynb_checkpoints", "__pycache__"} & set(path.parts):
            continue
        status = path.lstat()
        content = (
            str(path.readlink())
            if path.is_symlink()
            else hashlib.sha256(path.read_bytes()).hexdigest()
            if path.is_file()
            else "directory"
        )
        changed = 0 if content == "directory" else status.st_mtime_ns  # what a directory holds is listed anyway
        found[name] = (content, changed, stat.S_IMODE(status.st_mode))
    return found


def private(path: Path, top: Path) -> bool:
    """Whether nobody else can read a file: by its own mode, or that of a directory on the way from `top`."""
    return any(one.lstat().st_mode & 0o077 == 0 for one in (path, *path.parents) if one.is_relative_to(top))


def processes(lofty: Lofty) -> list[psutil.Process]:
    """Everything alive that was started from this test's command line, Jupyter and kernels included: all inherit the
    test's own home directory."""
    found = []
    for process in psutil.process_iter():
        try:
            if (
                process.pid != os.getpid()
                and process.environ().get("HOME") == lofty.environ["HOME"]
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def running(pid: int) -> bool:
    """Whether a process does anything."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def port_free(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def runtime_folders(lofty: Lofty) -> list[Path]:
    """The short-lived directories of agents."""
    return sorted(Path(lofty.environ["XDG_RUNTIME_DIR"]).iterdir())


def nothing_left(lofty: Lofty, *ports: int, seconds: float = 5) -> None:
    """Nothing runs, listens or lies about, and the home holds no task."""
    eventually(lambda: not processes(lofty), seconds, check=False)
    assert processes(lofty) == []
    assert [port for port in ports if not port_free(port)] == []
    assert runtime_folders(lofty) == []
    left = [path for path in lofty.home.rglob("*") if path.parent != lofty.home]
    assert left == [], "the home still holds something"


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What happens here takes no longer."""
    began = time.monotonic()
    yield
    spent = time.monotonic() - began
    assert spent < seconds, f"took {spent:.1f} s, more than {seconds} s"
