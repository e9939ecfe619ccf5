"""TensorBoard on its socket, and the way to it through the workspace."""

from __future__ import annotations

import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

import psutil

from .conftest import Server, Starter, until

WRITE_CURVE = """
import sys
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
writer = EventFileWriter(sys.argv[1])
for step in range(5):
    value = Summary.Value(tag="loss", simple_value=1 / (step + 1))
    writer.add_event(Event(step=step, wall_time=step, summary=Summary(value=[value])))
writer.close()
"""
DATA = "/demo/tensorboard/data/plugin/scalars/tags"


def start(starter: Starter, place: Path, logdir: Path) -> subprocess.Popen[bytes]:
    """Start TensorBoard and wait until it listens."""
    path = place / "tensorboard.sock"
    process = starter.start(
        "board.py",
        *("--socket", path, "--logdir", logdir, "--path-prefix", "/demo/tensorboard"),
        log=starter.root / "board.log",
    )

    def listening() -> bool:
        assert process.poll() is None, (starter.root / "board.log").read_text()
        return path.exists() and stat.S_ISSOCK(path.stat().st_mode)

    until(listening, what="the socket is there")
    return process


def test_the_curves_are_behind_the_login_and_on_no_port(starter: Starter, server: Server, jupyter_python: Path) -> None:
    answer = server.ask("/demo/tensorboard/")
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert "TensorBoard is starting" in answer.text
    assert 'http-equiv="refresh"' in answer.text

    subprocess.run([jupyter_python, "-c", WRITE_CURVE, starter.root / "runs" / "a"], check=True)
    (server.place.run / "tensorboard.sock").write_text("left behind")  # by one that was killed
    process = start(starter, server.place.run, starter.root / "runs")
    path = server.place.run / "tensorboard.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert psutil.Process(process.pid).memory_info().rss < 40e6, "it loads before anybody looks"

    assert server.ask(DATA, token=None).status == 302
    assert server.ask("/demo/tensorboard").headers["location"] == "/demo/tensorboard/"
    until(lambda: server.ask(DATA).json() == {"a": {"loss": {"displayName": "loss", "description": ""}}}, 40)
    before = server.ask("/demo/api/status").json()["last_activity"]
    assert server.ask("/demo/tensorboard/").status == 200
    assert server.ask("/demo/api/status").json()["last_activity"] == before, "curves that reload are no activity"
    assert server.ask("/font-roboto/oMMgfZMQthOryQo9n22dcuvvDin1pK8aKteLpeZ5c0A.woff2").status == 302
    kinds = {each.family for each in psutil.Process(process.pid).net_connections("all")}
    assert kinds == {socket.AF_UNIX}

    with socket.socket(socket.AF_UNIX) as page:  # one who keeps the connection open
        page.connect(str(path))
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert time.monotonic() - started < 2
    assert not path.exists()
    assert server.ask("/demo/tensorboard/").status == 503
    assert (starter.root / "board.log").read_text().count("\n") < 8


def test_a_signal_before_the_first_visit_ends_it(starter: Starter) -> None:
    process = start(starter, starter.root, starter.root)
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 0
    assert not (starter.root / "tensorboard.sock").exists()


def test_a_path_too_long_for_a_socket_is_said_in_one_line(starter: Starter) -> None:
    log = starter.root / "board.log"
    path = starter.root / ("x" * 120) / "s"
    process = starter.start("board.py", "--socket", path, "--logdir", ".", "--path-prefix", "/x", log=log)
    assert process.wait(20) == 1
    assert log.read_text().count("\n") == 1
    assert "cannot listen" in log.read_text()
