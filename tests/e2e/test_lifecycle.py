"""A workspace from `lab` to `down`: found again, joined, refused, survived, gone without a trace; and kept private."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from ..conftest import Lofty, Result, eventually
from .support import (
    Workspace,
    lab,
    listed,
    make_folder,
    nothing_left,
    port_free,
    printed,
    private,
    processes,
    running,
    runtime_folders,
    snapshot,
    write_notebook,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a person works."""
    return make_folder(tmp_path, "work", data_csv="a,b\n1,2\n")


def test_stop_and_start_keep_address_and_token(lofty: Lofty, folder: Path) -> None:
    workspace = lab(lofty, folder)
    facts = workspace.facts
    assert facts["kind"] == "workspace"
    assert facts["directory"] == str(folder)
    assert workspace.answers()
    workspace.kernel().run("open('made.txt', 'w').write('kept')")

    lofty.ok("stop", "work")
    assert listed(lofty, "work")["state"] == "stopped"
    assert listed(lofty, "work")["url"] is None
    eventually(lambda: not processes(lofty), 2)
    assert port_free(workspace.port)
    assert runtime_folders(lofty) == []
    refused = lofty("url", "work")
    assert refused.code == 2
    assert "lofty start work" in refused.err

    again = Workspace(lofty.ok("start", "work", "--json").json())
    assert (again.url, again.token) == (workspace.url, workspace.token)
    assert again.answers()
    assert lofty.ok("url").out.strip() == workspace.url
    assert (folder / "made.txt").read_text() == "kept"


def test_lab_again_joins_the_running_one_and_starts_the_stopped_one(lofty: Lofty, folder: Path) -> None:
    first = lab(lofty, folder)
    kernel = first.kernel()
    kernel.run("x = 41")
    joined = lab(lofty, folder)
    assert joined.facts["machines"] == first.facts["machines"]
    assert joined.url == first.url
    assert kernel.run("print(x + 1)") == "42\n"
    kernel.close()
    lofty.ok("stop", "work")
    started = lab(lofty, folder)
    assert started.url == first.url
    assert started.facts["machines"][0]["pid"] != first.facts["machines"][0]["pid"]
    assert len(lofty.ok("ls", "--json").json()) == 1


@pytest.mark.parametrize("first", ["new", "stopped", "lost"])
def test_five_at_once_make_one(lofty: Lofty, folder: Path, first: str) -> None:
    if first != "new":
        workspace = lab(lofty, folder)
        if first == "stopped":
            lofty.ok("stop", "work")
        else:
            psutil.Process(workspace.facts["machines"][0]["pid"]).kill()
    with ThreadPoolExecutor(5) as pool:
        results: list[Result] = list(pool.map(lambda _: lofty("lab", folder, "-d", "--json"), range(5)))
    assert [result.code for result in results] == [0] * 5, [result.err for result in results]
    assert len({result.json()["url"] for result in results}) == 1
    assert len({result.json()["machines"][0]["pid"] for result in results}) == 1
    assert len(lofty.ok("ls", "--json").json()) == 1
    eventually(lambda: len([p for p in processes(lofty) if any("launch.py" in word for word in p.cmdline())]) == 1, 3)
    assert Workspace(results[0].json()).answers()


def test_the_same_name_for_something_else_is_refused(lofty: Lofty, folder: Path, tmp_path: Path) -> None:
    workspace = lab(lofty, folder, "--timeout", "2h")
    other = make_folder(make_folder(tmp_path, "elsewhere"), "work")
    for words, reason in (
        ((other,), "already a workspace of"),
        ((other, "--name", "work"), "already a workspace of"),
        ((folder, "--timeout", "3h"), "another --timeout"),
        ((folder, "--idle", "30m"), "another --idle"),
    ):
        refused = lofty("lab", *words, "-d")
        assert refused.code == 2, refused
        assert reason in refused.err
        assert "try: " in refused.err
        assert len(refused.err.strip().splitlines()) == 2
    assert workspace.answers()
    assert len(lofty.ok("ls", "--json").json()) == 1
    assert lab(lofty, other, "--name", "work-2").url != workspace.url


def test_down_removes_everything_and_nothing_of_the_users(lofty: Lofty, folder: Path) -> None:
    workspace = lab(lofty, folder)
    kernel = workspace.kernel()
    kernel.run("import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)")
    workspace.ask("POST", "api/terminals")
    assert runtime_folders(lofty)
    before = snapshot(folder)
    lofty.ok("down", "work")
    nothing_left(lofty, workspace.port)
    assert lofty.ok("ls", "--json").json() == []
    assert snapshot(folder) == before
    kernel.close()
    assert lab(lofty, folder).token != workspace.token, "a new one is a new one"


def test_logs_as_text_as_json_and_while_they_come(lofty: Lofty, folder: Path) -> None:
    workspace = lab(lofty, folder)
    kernel = workspace.kernel()
    with lofty.popen("logs", "-f", "work") as text, lofty.popen("logs", "-f", "--json", "work") as lines:
        for number in range(3):
            kernel.run(f"import os; os.write(2, b'line {number}\\n') and None")  # past the kernel, to its own stderr
        assert text.stdout is not None
        assert lines.stdout is not None
        seen = [line for line in iter(text.stdout.readline, "line 2\n") if line.startswith("line")]
        assert seen == ["line 0\n", "line 1\n"]
        found = []
        while "line 2" not in found:
            record = json.loads(lines.stdout.readline())
            assert set(record) >= {"machine", "time", "stream", "text", "end"}
            assert record["stream"] in ("out", "err", "sys")
            found.append(record["text"])
        kernel.close()
        lofty.ok("stop", "work")
        assert text.wait(10) == 0, "it ends with the machine"
        assert lines.wait(10) == 0
    assert "line 1\n" in lofty.ok("logs", "work").out
    assert "line 1" in [record["text"] for record in lofty.ok("logs", "work", "--json").json()]


def test_it_survives_the_end_of_its_terminal(lofty: Lofty, folder: Path) -> None:
    """The terminal's window is closed: everything in its session gets SIGHUP, and the terminal is gone."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execvpe(
            "bash",
            ["bash", "--norc", "-i", "-c", f"{sys.executable} -m lofty lab . ; echo finished; exec sleep 600"],
            lofty.environ,
        )
    output = b""
    while b"finished" not in output:
        output += os.read(terminal, 4096)
    eventually(lambda: psutil.Process(pid).name() == "sleep")  # a shell on its way into exec loses the signal
    os.close(terminal)
    eventually(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, 10)
    workspace = Workspace(lofty.ok("url", "work", "--json").json())
    assert workspace.token.encode() in output
    assert workspace.answers()
    agent = psutil.Process(workspace.facts["machines"][0]["pid"])
    assert agent.terminal() is None
    assert os.getsid(agent.pid) != pid
    assert workspace.kernel().run("print(6*7)") == "42\n"


def test_a_terminal_closed_while_it_starts_leaves_no_half(lofty: Lofty, folder: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvpe(sys.executable, [sys.executable, "-m", "lofty", "lab", str(folder)], lofty.environ)
    eventually(lambda: (lofty.home / "store").is_dir() and list((lofty.home / "store").glob("*/machines/*")), 20)
    os.close(terminal)
    eventually(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, 20)
    settled = ("running", "stopped", "failed")
    eventually(lambda: all(one["state"] in settled for one in lofty.ok("ls", "--json").json()), 20)
    for task in lofty.ok("ls", "--json").json():
        assert (task["state"] == "running") == (task["url"] is not None and Workspace(task).answers())
    assert lab(lofty, folder).answers()


def test_a_copy_touches_nothing_until_its_files_come_back(lofty: Lofty, folder: Path) -> None:
    (folder / "both.txt").write_text("as it was")
    workspace = lab(lofty, folder, "--copy")
    before = snapshot(folder)
    kernel = workspace.kernel()
    place = kernel.run("import os; print(os.getcwd())").strip()
    assert not Path(place).is_relative_to(folder)
    kernel.run("open('result.txt', 'w').write('new'); open('both.txt', 'w').write('theirs')")
    kernel.run("open('data.csv', 'a').write('3,4\\n')")
    assert snapshot(folder) == before
    kernel.close()
    lofty.ok("stop", "work")
    assert snapshot(folder) == before
    (folder / "both.txt").write_text("mine")
    report = lofty.ok("pull", "work", "--json").json()
    assert (folder / "result.txt").read_text() == "new"
    assert (folder / "data.csv").read_text() == "a,b\n1,2\n3,4\n"
    assert (folder / "both.txt").read_text() == "mine"
    assert [Path(folder, kept["beside"]).read_text() for kept in report["kept"]] == ["theirs"]
    lofty.ok("down", "work")
    nothing_left(lofty, workspace.port)


def test_a_copied_jobs_outputs_come_back(lofty: Lofty, folder: Path) -> None:
    (folder / "job.py").write_text(
        "import pathlib, time\nprint('begun', flush=True)\nopen('out.txt', 'w').write('made')\n"
        f"while not pathlib.Path({str(folder.parent / 'go')!r}).exists(): time.sleep(0.05)\nraise SystemExit(3)"
    )
    before = snapshot(folder)
    with lofty.popen("run", "job.py", "--copy", cwd=folder) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "begun\n"
        assert snapshot(folder) == before
        (folder.parent / "go").touch()
        _, err = job.communicate(timeout=30)
    assert job.returncode == 3, err
    assert (folder / "out.txt").read_text() == "made"
    after = snapshot(folder)
    assert {name: after[name] for name in before if name != "."} == {k: v for k, v in before.items() if k != "."}


def test_a_copied_notebooks_result_comes_back(lofty: Lofty, folder: Path) -> None:
    write_notebook(folder / "book.ipynb", "import os; print(os.getcwd())", "1/0")
    done = lofty("run", "book.ipynb", "--copy", cwd=folder)
    assert done.code == 1
    (place,) = (text for text in printed(folder / "book.executed.ipynb") if text)
    assert not Path(place.strip()).is_relative_to(folder)


def test_the_token_is_nowhere_where_others_look(lofty: Lofty, folder: Path) -> None:
    workspace = lab(lofty, folder)
    token = workspace.token
    kernel = workspace.kernel()
    # Used everywhere where it could get into a log.
    for path in (
        f"lab?token={token}",
        f"tree?token={token}",
        f"nowhere?token={token}",
        f"api/contents/x?token={token}",
    ):
        workspace.ask("GET", path, token=None)
    inside = kernel.run(
        "import os, subprocess as s\nprint(dict(os.environ))\nprint(s.run(['ps', 'axeww'], capture_output=True).stdout)"
    )
    assert "LOFTY_TASK" in inside, "the look at the kernel's environment shows nothing"
    assert token not in inside
    for process in processes(lofty):
        assert token not in " ".join(process.cmdline())
        assert token not in str(process.environ())
    kernel.close()
    everything = subprocess.run(["ps", "axeww"], capture_output=True, text=True, check=True).stdout
    assert token not in everything
    assert "launch.py" in everything
    assert token not in lofty.ok("logs", "work").out
    assert token not in lofty.ok("logs", "work", "--json").out
    lofty.ok("stop", "work")
    holders = [path for path in lofty.home.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    assert holders, "the look at the files finds nothing at all"
    assert {path.parent.name for path in holders} == {"private"}
    assert token not in lofty.ok("ls", "--json").out


def test_the_browser_is_handed_no_token(lofty: Lofty, folder: Path) -> None:
    """Command lines are public: it gets a private file that leads on."""
    browser = make_folder(folder.parent, "programs") / "browser"
    browser.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >> {folder.parent}/handed\n")
    browser.chmod(0o755)
    display = {"DISPLAY": ":99", "BROWSER": str(browser)}
    lofty.ok("lab", folder, **display)
    lofty.ok("open", "work", **display)
    page = lofty.home / "open.html"
    assert (folder.parent / "handed").read_text() == f"{page.as_uri()}\n" * 2
    assert lofty.ok("url", "work").out.strip() in page.read_text()
    assert page.stat().st_mode & 0o777 == 0o600


def test_two_homes_do_not_meet(lofty: Lofty, folder: Path) -> None:
    """The same person and the same name, so the same identifier: each home still ends only its own."""
    other = Lofty(folder.parent / "second", {**lofty.environ, "LOFTY_HOME": str(folder.parent / "second")})
    (folder / "long.sh").write_text("while true; do sleep 0.1; done")
    first = lofty.ok("run", "long.sh", "-d", "--json", cwd=folder).json()
    second = other.ok("run", "long.sh", "-d", "--json", cwd=folder).json()
    try:
        assert first["id"] == second["id"]
        agent = listed(other, "long-1")["machines"][0]["pid"]
        lofty.ok("down", "long-1")
        assert listed(other, "long-1")["state"] == "running"
        assert [one.pid for one in psutil.Process(agent).children(recursive=True) if "long.sh" in one.cmdline()]
    finally:
        other.ok("down", "--all", "-y", "--discard")
    assert not processes(lofty)


def test_what_is_private_is_readable_by_nobody_else(lofty: Lofty, folder: Path) -> None:
    workspace = lab(lofty, folder)
    workspace.kernel().run("1")
    lofty.ok("run", "data.sh", cwd=make_folder(folder.parent, "jobs", data_sh="true"))
    assert lofty.home.stat().st_mode & 0o777 == 0o700
    files = [path for path in lofty.home.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert [path for path in files if not private(path, lofty.home / "store") and "store" in path.parts] == []
    tasks = list((lofty.home / "store").iterdir())
    assert [oct(path.stat().st_mode & 0o777) for path in tasks] == ["0o700"] * 2, "each by itself"
    (run,) = runtime_folders(lofty)
    assert run.stat().st_mode & 0o777 == 0o700
    secrets = [run / "token", *run.rglob("kernel-*.json")]
    assert len(secrets) == 2
    assert [oct(path.stat().st_mode & 0o777) for path in secrets] == ["0o600", "0o600"]
    assert json.loads(secrets[1].read_text())["curve_secretkey"], "what a kernel says on its ports is encrypted"
    assert {p.laddr.ip for p in listeners(lofty)} == {"127.0.0.1"}, "nobody listens to the network"


def listeners(lofty: Lofty) -> list[Any]:
    """Sockets of this test's processes that wait for somebody."""
    return [one for process in processes(lofty) for one in process.net_connections("inet") if one.status == "LISTEN"]


def test_a_port_in_use_is_said_with_who_has_it(lofty: Lofty, folder: Path) -> None:
    workspace = lab(lofty, folder)
    lofty.ok("stop", "work")
    with socket.socket() as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.bind(("127.0.0.1", workspace.port))
        thief.listen()
        for words in (("start", "work"), ("lab", folder, "-d")):
            refused = lofty(*words)
            assert refused.code == 2
            assert re.search(rf"port {workspace.port} is in use by \S+ \(process {os.getpid()}\)", refused.err)
            assert "Traceback" not in refused.err
        other = lofty("lab", make_folder(folder.parent, "other"), "-d", "--port", str(workspace.port))
        assert other.code == 2
        assert f"port {workspace.port} is in use" in other.err
        assert [one["name"] for one in lofty.ok("ls", "--json").json() if one["name"] == "other"] == []
        assert listed(lofty, "work")["state"] == "stopped"
    lofty.ok("start", "work")
    assert workspace.answers()


def test_an_agent_and_its_keeper_killed_together_are_cleared_away(lofty: Lofty, folder: Path) -> None:
    """Nobody is left to tell: the next look finds it out, and the next command clears up."""
    workspace = lab(lofty, folder)
    workspace.kernel().run("1")
    agent = psutil.Process(workspace.facts["machines"][0]["pid"])
    # The keeper shares the agent's command line; Jupyter and the kernels have others.
    keepers = [p for p in agent.children() if p.cmdline() == agent.cmdline()]
    assert len(keepers) == 1
    for victim in (*keepers, agent):
        victim.kill()
    eventually(lambda: not running(agent.pid), 2)
    task = listed(lofty, "work")
    assert task["state"] == "lost"
    assert "agent" in task["reason"]
    assert processes(lofty), "what it had started still runs: nobody was there to end it"
    lofty.ok("start", "work")
    assert workspace.answers()
    assert len([p for p in processes(lofty) if any("launch.py" in word for word in p.cmdline())]) == 1
    agent = psutil.Process(listed(lofty, "work")["machines"][0]["pid"])
    for victim in (*[p for p in agent.children() if p.cmdline() == agent.cmdline()], agent):
        victim.kill()
    assert listed(lofty, "work")["state"] == "lost"
    lofty.ok("down", "work")
    nothing_left(lofty, workspace.port)
