"""The idle rule with real kernels: work keeps a workspace alive, open tabs do not."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path

import pytest

from ..conftest import Lofty, eventually
from .support import Workspace, lab, listed, make_folder, processes, send_frame, websocket

IDLE = 4.0
SLACK = 3.5
"""It looks every quarter of the time, and a busy machine is slow."""


@pytest.fixture
def workspace(lofty: Lofty, tmp_path: Path) -> Workspace:
    """A workspace that stops after a rest."""
    return lab(lofty, make_folder(tmp_path, "work"), "--idle", f"{IDLE:.0f}s")


def ends(lofty: Lofty, seconds: float) -> float:
    """Wait until it has stopped, for the right reason; when that was."""
    eventually(lambda: listed(lofty, "work")["state"] in ("stopped", "lost", "failed"), seconds)
    ended = time.monotonic()
    task = listed(lofty, "work")
    assert (task["state"], task["reason"]) == ("stopped", f"idle for {IDLE:.0f}s")
    eventually(lambda: not processes(lofty), 3)
    return ended


def stays(lofty: Lofty, until: float) -> None:
    """It runs all the time until then."""
    while time.monotonic() < until:
        task = listed(lofty, "work")
        assert task["state"] == "running", task
        time.sleep(0.2)


def test_a_resting_kernel_with_an_open_tab_ends_in_time(lofty: Lofty, workspace: Workspace) -> None:
    kernel = workspace.kernel()
    assert kernel.run("print(6*7)") == "42\n"
    rested = time.monotonic()
    left = listed(lofty, "work")["time_left"]
    assert left is None or left <= IDLE
    # The tab stays open and goes on asking, as Lab does every ten seconds and more often.
    while listed(lofty, "work")["state"] == "running":
        try:
            for path in ("api/kernels", "api/sessions", "api/contents", "lofty/api/status"):
                workspace.ask("GET", path)
        except OSError:
            break
        assert time.monotonic() - rested < IDLE + SLACK, "the open tab keeps it alive"
        time.sleep(0.3)
    assert IDLE - 0.5 < ends(lofty, SLACK) - rested < IDLE + SLACK + 1


def test_a_silent_cell_keeps_it_alive_though_its_tab_is_closed(lofty: Lofty, workspace: Workspace) -> None:
    kernel = workspace.kernel()
    kernel.run("1")
    busy = 2.5 * IDLE
    kernel.start(f"import time; time.sleep({busy})")
    over = time.monotonic() + busy
    eventually(lambda: kernel.state == "busy", 3)
    kernel.close()
    stays(lofty, over - 0.3)
    assert IDLE - 0.7 < ends(lofty, busy + IDLE + SLACK) - over < IDLE + SLACK


def test_keep_awake_starts_the_clock_anew(lofty: Lofty, workspace: Workspace) -> None:
    began = time.monotonic()
    kept = began
    for moment in (IDLE * 0.7, IDLE * 1.4):
        stays(lofty, began + moment)
        assert workspace.ask("POST", "lofty/api/keep", body={}).status == 200
        kept = time.monotonic()
    stays(lofty, kept + IDLE - 0.7)
    assert ends(lofty, IDLE + SLACK) - kept < IDLE + SLACK


def test_work_left_running_from_a_terminal_keeps_it_alive(lofty: Lofty, workspace: Workspace) -> None:
    name = workspace.ask("POST", "api/terminals").json()["name"]
    terminal = websocket(workspace.port, f"/{workspace.name}/terminals/websocket/{name}", workspace.token)
    assert isinstance(terminal, socket.socket)
    busy = 2.5 * IDLE
    with terminal:
        # No `timeout` here: it undoes what nohup does.
        burn = f"touch burns; end=$((SECONDS+{busy:.0f})); while ((SECONDS<end)); do :; done"
        line = f"nohup bash -c '{burn}' >/dev/null 2>&1 &\r"
        send_frame(terminal, json.dumps(["stdin", line]))
        eventually((Path(workspace.facts["directory"]) / "burns").exists, 10)
        over = time.monotonic() + busy
    assert workspace.ask("DELETE", f"api/terminals/{name}").status == 204
    stays(lofty, over - 1)  # bash counts whole seconds
    assert ends(lofty, busy + IDLE + SLACK) - over < IDLE + SLACK


def test_a_terminal_that_only_waits_does_not(lofty: Lofty, workspace: Workspace) -> None:
    began = time.monotonic()
    workspace.ask("POST", "api/terminals")
    assert ends(lofty, IDLE + SLACK + 2) - began < IDLE + SLACK + 2


def test_without_the_option_it_stays(lofty: Lofty, tmp_path: Path) -> None:
    lab(lofty, make_folder(tmp_path, "work"))
    task = listed(lofty, "work")
    assert task["time_left"] is None
