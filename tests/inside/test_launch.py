"""The server: what it serves, to whom, what it keeps to itself, and how it ends."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from .conftest import TOKEN, Place, Server, Starter, is_running, jar, launch_arguments, until


@pytest.mark.parametrize("page", ["lab", "tree"])
def test_both_pages_load_the_panel_and_ask_nobody_for_news(server: Server, page: str) -> None:
    answer = server.ask(f"/demo/{page}")
    assert answer.status == 200
    found = re.search(r'id="jupyter-config-data"[^>]*>(.*?)</script>', answer.text, re.DOTALL)
    assert found
    config = json.loads(found[1])
    ours = [each for each in config["federated_extensions"] if each["name"] == "lofty-panel"]
    assert len(ours) == 1
    assert "@jupyterlab/apputils-extension:announcements" in config["disabledExtensions"]
    script = server.ask(f"/demo/lab/extensions/lofty-panel/{ours[0]['load']}")
    assert script.status == 200
    assert "_JUPYTERLAB" in script.text


def test_the_address_itself_opens_lab(server: Server) -> None:
    answer = server.ask("/demo/")
    assert (answer.status, answer.headers["location"].rstrip("?")) == (302, "/demo/lab")


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/demo/lab", 302),
        ("GET", "/demo/tree", 302),
        ("GET", "/demo/tensorboard/", 302),
        ("POST", "/demo/tensorboard/data/plugin/scalars/scalars_multirun", 403),
        ("GET", "/demo/proxy/1/", 302),
        ("GET", "/demo/lofty/", 302),
        ("GET", "/demo/lofty/api/status", 403),
        ("GET", "/demo/lofty/api/activity", 403),
        ("POST", "/demo/lofty/api/stop", 403),
        ("POST", "/demo/lofty/api/keep", 403),
        ("GET", "/demo/api/status", 403),
        ("GET", "/demo/api/kernels", 403),
        ("POST", "/demo/api/terminals", 403),
        ("GET", "/demo/api/contents", 403),
    ],
)
@pytest.mark.parametrize("token", [None, "wrong"])
def test_nothing_without_the_token(server: Server, method: str, path: str, expected: int, token: str | None) -> None:
    answer = server.ask(path, method, token=token)
    assert answer.status == expected
    if expected == 302:
        assert answer.headers["location"].startswith("/demo/login?next=")
    assert not (server.place.run / "stop").exists()
    assert not (server.place.run / "keep").exists()


@pytest.mark.parametrize(
    ("typed", "place"),
    [
        ("/", "/demo/"),
        ("/demo", "/demo/"),
        ("/?token=abc", "/demo/?token=abc"),
        ("/lab?token=abc&x=1", "/demo/lab?token=abc&x=1"),
        ("/tree", "/demo/tree"),
        ("/tensorboard/", "/demo/tensorboard/"),
        ("/font-roboto/a.woff2", "/demo/tensorboard/font-roboto/a.woff2"),
        ("//evil.example/", "/demo/evil.example/"),
        ("///evil.example", "/demo/evil.example"),
        ("/\\evil.example", "/demo/evil.example"),
        ("/\\/evil.example", "/demo/evil.example"),
        ("/%2f%2fevil.example", "/demo/%2f%2fevil.example"),
        ("/http://evil.example", "/demo/http://evil.example"),
        ("/demo//evil.example/..", None),
    ],
)
def test_a_path_without_the_base_is_sent_on_and_never_elsewhere(server: Server, typed: str, place: str | None) -> None:
    answer = server.ask(typed, token=None)
    location = answer.headers.get("location", "")
    if place is None:
        assert location == "" or location.startswith("/demo/")
    else:
        assert (answer.status, location) == (302, place)


def test_the_token_is_in_no_log_no_process_and_no_readable_file(server: Server) -> None:
    for path in (f"/demo/lab?token={TOKEN}", f"/demo/nowhere?token={TOKEN}", f"/nowhere?token={TOKEN}"):
        server.ask(path, token=None, Referer=f"http://127.0.0.1/demo/lab?token={TOKEN}")
    server.ask(f"/demo/api/contents/missing?token={TOKEN}", Referer=f"http://x/?token={TOKEN}")
    server.ask(f"/demo/proxy/1/?token={TOKEN}", Referer=f"http://x/?token={TOKEN}")  # nobody there: 500
    kernel = server.ask("/demo/api/kernels", "POST", body={}).json()
    try:
        processes = [server.process.pid, *(each.pid for each in psutil.Process(server.process.pid).children())]
        assert len(processes) == 2
        for pid in processes:
            process = psutil.Process(pid)
            assert TOKEN not in " ".join(process.cmdline())
            environ = process.environ()
            assert TOKEN not in "\n".join(environ.values())
            assert "PYTHONPATH" not in environ
    finally:
        server.ask(f"/demo/api/kernels/{kernel['id']}", "DELETE")
    text = server.log.read_text()
    assert "nowhere" in text, "the log was looked at too early, or is not the log"
    assert TOKEN not in text
    assert "?token=" not in re.sub(r"token=\[secret\]", "", text)
    for file in server.place.root.rglob("*"):
        if file.is_file() and TOKEN.encode() in file.read_bytes():
            assert file.stat().st_mode & 0o077 == 0, file


def test_starting_imports_nothing_that_is_slow_and_not_needed(starter: Starter) -> None:
    server = starter.workspace(environ=starter.environ(PYTHONPROFILEIMPORTTIME="1"))
    imported = {line.rpartition("|")[2].strip() for line in server.log.read_text().splitlines()}
    assert "jupyter_server.serverapp" in imported
    assert not imported & {"lark", "rfc3987_syntax.syntax_helpers", "jupyter_lsp", "aiohttp", "simpervisor"}
    assert server.ask("/demo/server-proxy/servers-info").json()["server_processes"][0]["name"] == "tensorboard"


def test_a_port_in_use_is_one_line_and_no_server(starter: Starter, server: Server) -> None:
    log = starter.root / "second.log"
    process = starter.start("launch.py", *launch_arguments(server.place, server.port), log=log)
    assert process.wait(20) == 1
    assert log.read_text() == f"Jupyter cannot listen on port {server.port}: Address already in use\n"


def test_an_empty_token_is_no_server_rather_than_an_open_one(starter: Starter) -> None:
    arguments = launch_arguments(Place(starter.root), 0)
    (starter.root / "run" / "token").write_text("\n")
    log = starter.root / "log"
    assert starter.start("launch.py", *arguments, log=log).wait(20) == 1
    assert "let everybody in" in log.read_text()


def websocket(server: Server, kernel: str) -> socket.socket:
    """Open what an open page opens: the channels of a kernel."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET /demo/api/kernels/{kernel}/channels HTTP/1.1",
        f"Host: 127.0.0.1:{server.port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        f"Authorization: token {TOKEN}",
    ]
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    assert b" 101 " in connection.recv(4096)
    return connection


def execute(connection: socket.socket, code: str) -> None:
    """Run code in the kernel at the other end, not waiting for it."""
    header = {"msg_id": "1", "msg_type": "execute_request", "username": "", "session": "s", "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": False, "allow_stdin": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    data = json.dumps(message).encode()
    mask = b"\0\0\0\0"  # a client must mask; with zeros the data stays as it is
    connection.sendall(b"\x81" + bytes([0x80 | 126]) + struct.pack(">H", len(data)) + mask + data)


def activity(server: Server) -> Any:
    return server.ask("/demo/lofty/api/activity").json()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_everything_at_once_though_a_page_is_open_and_a_kernel_busy(
    starter: Starter, number: signal.Signals
) -> None:
    server = starter.workspace()
    kernel = server.ask("/demo/api/kernels", "POST", body={}).json()["id"]
    (pid,) = (each.pid for each in psutil.Process(server.process.pid).children())
    with websocket(server, kernel) as page:
        execute(page, "import time\nwhile True: time.sleep(0.1)")
        until(lambda: activity(server)["kernels"][0]["execution_state"] == "busy", what="the kernel is busy")
        assert activity(server)["kernels"][0]["connections"] == 1
        started = time.monotonic()
        assert server.end(number) == 0
        assert time.monotonic() - started < 4
    until(lambda: not is_running(pid), 2, "the kernel is gone")
    assert "jupyter_server" not in server.log.read_text(), "no traceback of the server's"


def test_a_login_outlives_a_restart(starter: Starter) -> None:
    first = starter.workspace("first")
    cookie = jar(first.ask(f"/demo/lab?token={TOKEN}", token=None).cookies)
    assert first.end() == 0
    arguments = launch_arguments(first.place, first.port)
    starter.start("launch.py", *arguments, log=starter.root / "second.log", cwd=first.place.work)

    def logged_in() -> bool:
        try:
            return first.ask("/demo/api/status", token=None, Cookie=cookie).status == 200
        except OSError:
            return False

    until(logged_in, 20, "the cookie of the first server opens the second")
    secret = first.place.state / "cookie_secret"
    assert secret.stat().st_mode & 0o077 == 0


def test_a_kernel_does_not_see_the_inside(server: Server, jupyter_python: Path, inside: Path) -> None:
    code = "import sys; print('\\n'.join(sys.path))"
    plain = subprocess.run([jupyter_python, "-c", code], capture_output=True, text=True, check=True).stdout
    assert str(inside) not in plain
    kernel = server.ask("/demo/api/kernels", "POST", body={}).json()["id"]
    try:
        found = server.place.work / "path.txt"
        with websocket(server, kernel) as page:
            execute(page, f"import sys; open({str(found)!r}, 'w').write('\\n'.join([*sys.path, 'end']))")
            until(lambda: found.exists() and found.read_text().endswith("end"), what="the cell ran")
        assert "jupyter/inside" not in found.read_text()
    finally:
        server.ask(f"/demo/api/kernels/{kernel}", "DELETE")
