"""Random faults: many starts and stops, and kills at moments that nobody chose. Whole with `LOFTY_CAMPAIGN=1`, a tenth
otherwise; `LOFTY_SEED` repeats a run."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from ..browser.conftest import Visit, visit  # noqa: F401 (a fixture)
from ..conftest import Lofty, eventually
from .support import (
    Kernel,
    Workspace,
    lab,
    make_folder,
    nothing_left,
    port_free,
    printed,
    processes,
    running,
    runtime_folders,
    snapshot,
    write_notebook,
)

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(1800)]
WHOLE = os.environ.get("LOFTY_CAMPAIGN") == "1"
SEED = int(os.environ.get("LOFTY_SEED") or random.SystemRandom().randrange(10**6))
LIMIT = 5.0
"""Seconds within which `ls` must tell the truth, and what is orphaned be gone."""


@pytest.mark.browser
def test_starts_and_stops_leave_nothing(lofty: Lofty, visit: Visit, tmp_path: Path) -> None:  # noqa: F811
    visit.expect("")  # a server that comes and goes is complained of
    folder = make_folder(tmp_path, "work", data_csv="1\n")
    workspace = lab(lofty, folder)
    visit.page(workspace.url).wait_for_selector("#lofty-panel", timeout=60_000)
    lofty.ok("stop", "work")
    before, seconds = snapshot(folder), []
    rounds = 30 if WHOLE else 3
    for turn in range(rounds):
        began = time.monotonic()
        again = Workspace(lofty.ok("start", "work", "--json").json())
        seconds.append(time.monotonic() - began)
        assert again.url == workspace.url
        kernels = [again.kernel(), again.kernel()]
        assert kernels[0].run(f"print({turn})") == f"{turn}\n"
        kernels[1].start("while True: pass" if turn % 2 else "import time; time.sleep(600)")
        again.ask("POST", "api/terminals")
        if turn % 3 == 0:
            page = visit.page(f"{again.site}/tree?token={again.token}")
            page.wait_for_selector(".jp-DirListing-item", timeout=60_000)
        lofty.ok("stop", "work")
        for kernel in kernels:
            kernel.close()
        eventually(lambda: not processes(lofty), 2)  # the agent's last word comes a moment before its end
        assert port_free(workspace.port)
        assert runtime_folders(lofty) == []
    assert {name for name in snapshot(folder) if not name.startswith(".")} == set(before) - {"."}
    lofty.ok("down", "work")
    nothing_left(lofty, workspace.port)
    print(f"\n{rounds} starts: median {sorted(seconds)[rounds // 2]:.2f} s, longest {max(seconds):.2f} s")


class Scene(NamedTuple):
    """What is there when the victim is chosen."""

    folder: Path
    task: Callable[[], dict[str, Any] | None]
    """How `ls` tells of the task; None where it does not list it."""
    workspace: Workspace | None
    kernel: Kernel | None


def has(*words: str) -> Callable[[psutil.Process], bool]:
    """Whether the command line of a process holds these words."""

    def look(process: psutil.Process) -> bool:
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            return False
        return all(word in line for word in words)

    return look


VICTIMS: dict[str, tuple[str, Callable[[psutil.Process], bool]]] = {
    "agent of a workspace": ("workspace", has("lofty.agent")),
    "jupyter": ("workspace", has("launch.py")),
    "tensorboard": ("workspace", has("board.py")),
    "kernel of a workspace": ("workspace", has("kernel-", ".json")),
    "agent of a job": ("job", has("lofty.agent")),
    "job": ("job", has("notebook_job.py")),
    "kernel of a job": ("job", has("kernel-", ".json")),
}
CELLS = 40
CELL = """import os, time
with open("begun.txt", "a") as note:
    note.write("{number}\\n"); note.flush(); os.fsync(note.fileno())
print("result", {number}); time.sleep({seconds:.3f})"""


def test_kills_at_random_moments(lofty: Lofty, tmp_path: Path) -> None:
    dice, rounds = random.Random(SEED), 50 if WHOLE else 5
    print(f"\nseed {SEED}")
    order: list[str] = []
    while len(order) < rounds:
        order += dice.sample(list(VICTIMS), len(VICTIMS))
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for number, victim in enumerate(order[:rounds]):
        try:
            seconds, outcome = one_kill(lofty, make_folder(tmp_path, f"round{number}"), victim, dice)
        except AssertionError as error:
            raise AssertionError(f"round {number}, {victim}, LOFTY_SEED={SEED}: {error}") from error
        slowest = max(slowest, seconds)
        outcomes[f"{victim}: {outcome}"] += 1
    for line, count in sorted(outcomes.items()):
        print(f"{count:3} {line}")
    print(f"{rounds} kills; the truth was told after {slowest:.2f} s at the latest")


def one_kill(lofty: Lofty, folder: Path, victim: str, dice: random.Random) -> tuple[float, str]:
    """Start something, kill one of its processes, and compare what is said with what is."""
    kind, fits = VICTIMS[victim]
    name = folder.name if kind == "workspace" else "book-1"
    starter = None
    early = victim != "kernel of a workspace" and dice.random() < 0.4
    if kind == "job":
        cells = [CELL.format(number=n, seconds=dice.uniform(0, 0.15)) for n in range(CELLS)]
        write_notebook(folder / "book.ipynb", *cells)
        starter = lofty.popen("run", "book.ipynb", "-d", "--json", cwd=folder)
    else:
        starter = lofty.popen("lab", folder, "-d", "--json")
    kernel = None
    with starter:
        if not early:
            _, err = starter.communicate(timeout=60)
            assert starter.returncode == 0, err
            if kind == "workspace":
                kernel = Workspace(lofty.ok("url", name, "--json").json()).kernel()
                kernel.run("x = 1")
            else:
                eventually((folder / "begun.txt").exists, 30)
        launcher = starter.pid

        def victims() -> list[psutil.Process]:
            # Not the first, short-lived process of an agent, which only forks.
            return [p for p in processes(lofty) if fits(p) and p.is_running() and p.ppid() != launcher]

        eventually(victims, 30)
        found = victims()
        time.sleep(dice.uniform(0, 1.0 if early else 2.5))
        bystanders = {p.pid for p in processes(lofty)}
        oldest = min(found, key=lambda p: p.pid, default=psutil.Process())
        killed = time.monotonic()
        if oldest.pid != os.getpid() and running(oldest.pid):
            oldest.kill()
        _, err = starter.communicate(timeout=60) if early else ("", "")
        assert "Traceback" not in err, err
    if kernel is not None:
        kernel.close()

    def said() -> dict[str, Any] | None:
        return next((one for one in lofty.ok("ls", "--json").json() if one["name"] == name), None)

    limit = LIMIT if not early else LIMIT + 15
    task: dict[str, Any] | None = None
    while True:
        task = said()
        if true(lofty, task):
            break
        assert time.monotonic() - killed < limit, f"after {limit} s ls says {task}, and there is {alive(lofty)}"
        time.sleep(0.05)
    seconds = time.monotonic() - killed
    state = task["state"] if task else "undone"
    check_outcome(lofty, victim, task, oldest.pid, bystanders)
    if kind == "job":
        check_cells(folder)
    lofty.ok("down", "--all", "-y")
    nothing_left(lofty)
    return (0.0 if early else seconds), f"{state}{' (early)' if early else ''}"


def alive(lofty: Lofty) -> list[str]:
    """Command lines, for a message."""
    return [" ".join(p.cmdline())[:150] for p in processes(lofty) if p.is_running()]


def true(lofty: Lofty, task: dict[str, Any] | None) -> bool:
    """Whether what `ls` says is how it is, and will stay. A job that has lost a part has to end."""
    there = [p for p in processes(lofty) if not has("-m lofty ls")(p)]
    if task is None:
        return not there
    if task["state"] == "running" and task["kind"] == "workspace":
        return Workspace(task).answers()
    return task["state"] in ("lost", "failed", "stopped", "succeeded") and not there


def check_outcome(lofty: Lofty, victim: str, task: dict[str, Any] | None, pid: int, bystanders: set[int]) -> None:
    """The state that fits the victim, and no orphan."""
    eventually(lambda: not running(pid), 2)
    state = task["state"] if task else None
    if victim.startswith("agent"):
        assert state in ("lost", None, "succeeded"), task
    elif victim in ("jupyter", "tensorboard", "kernel of a workspace"):
        assert state in ("running", "failed", None), task
    else:
        assert state in ("failed", "succeeded", None), task
    if task is None or state != "running":
        return
    workspace = Workspace(task)
    agent = task["machines"][0]["pid"]
    assert running(agent)
    if victim == "jupyter":  # its kernels have nobody to answer to
        orphans = [p for p in processes(lofty) if p.pid in bystanders and has("kernel-", ".json")(p)]
        eventually(lambda: not any(running(p.pid) for p in orphans), LIMIT)
        kernel = workspace.kernel()
        assert kernel.run("print(6*7)") == "42\n"
        kernel.close()
    elif victim == "tensorboard":
        eventually(lambda: [p for p in processes(lofty) if has("board.py")(p) and p.pid != pid], LIMIT)
        eventually(lambda: workspace.ask("GET", "tensorboard/data/runs").body.startswith(b"["), 30)
    else:
        (kernel_id,) = (one["id"] for one in workspace.ask("GET", "api/kernels").json())
        again = Kernel(workspace, kernel_id)
        eventually(lambda: [p for p in processes(lofty) if has("kernel-", ".json")(p) and p.pid != pid], LIMIT + 5)
        assert again.run("print(6*7)") == "42\n", "it was started again"
        again.close()


def check_cells(folder: Path) -> None:
    """Every cell that had finished, for the next one had begun, is in the executed notebook with its output."""
    note, executed = folder / "begun.txt", folder / "book.executed.ipynb"
    begun = [int(line) for line in note.read_text().split()] if note.exists() else []
    assert begun == list(range(len(begun)))
    if len(begun) > 1:
        kept = [text for text in printed(executed) if text]
        finished = begun[:-1]
        assert kept[: len(finished)] == [f"result {number}\n" for number in finished]
