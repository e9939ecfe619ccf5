"""A task whose making was interrupted: by Ctrl-C, and by a death that nobody could announce."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.conftest import Lofty, eventually

from .test_task import Tasks, lofty_names, terraform  # noqa: F401 (the fixture)

BLOCK = 'storage {\n    workdir = "shared"\n  }'
SCRIPT = "#!/bin/sh\nls | wc -l; sleep 600"


@pytest.fixture
def many(terraform: Tasks) -> int:  # noqa: F811
    """So many files that their way takes a while."""
    folder = terraform.directory / "shared"
    for part in range(20):
        (folder / f"d{part}").mkdir(parents=True)
        for number in range(200):
            (folder / f"d{part}" / f"f{number}").write_text(f"{part} {number}\n" * 20)
    return 4000


def begun(lofty: Lofty) -> bool:
    """Whether something of a task is there."""
    return any((lofty.home / "store").glob("*/task.json"))


def stopped_when(
    terraform: Tasks,  # noqa: F811
    process: subprocess.Popen[str],
    condition: Callable[[], bool],
    number: int,
) -> str:
    eventually(condition, 60)
    if number == signal.SIGKILL:
        children = psutil.Process(process.pid).children(recursive=True)
        for one in (psutil.Process(process.pid), *children):
            one.kill()
    else:
        os.killpg(process.pid, number)
    out, _ = process.communicate(timeout=60)
    if number == signal.SIGKILL:
        for folder in Path(terraform.environ["TMPDIR"]).glob("lofty-tf-*"):
            shutil.rmtree(folder)  # of the socket; nobody was left to remove it
    return out


@pytest.mark.parametrize("name", ["", 'name = "mine"'])
def test_killed_in_the_middle_and_applied_again(terraform: Tasks, lofty: Lofty, many: int, name: str) -> None:  # noqa: F811
    terraform.write(terraform.task("one", SCRIPT, name, BLOCK))
    process = terraform.popen("apply", "-auto-approve", "-no-color")
    stopped_when(terraform, process, lambda: begun(lofty), signal.SIGKILL)
    assert (terraform.directory / "terraform.tfstate").read_text() == ""
    left = lofty_names(lofty)
    assert len(left) == 1
    lock = terraform.directory / ".terraform.tfstate.lock.info"
    lock.unlink(missing_ok=True)
    terraform.apply()
    assert lofty_names(lofty) == left
    found = terraform.until("one", lambda one: one["logs"] and "\n" in one["logs"][0])
    assert found["logs"][0].splitlines()[0].endswith(" 20")
    assert not list((lofty.home / "terraform").glob("*.json"))
    terraform.ok("destroy", "-auto-approve")
    assert lofty_names(lofty) == []


WHOLE = os.environ.get("LOFTY_CAMPAIGN") == "1"


@pytest.mark.campaign
@pytest.mark.timeout(120 + 60 * 18 * WHOLE)
def test_kills_at_moments_that_nobody_chose(terraform: Tasks, lofty: Lofty) -> None:  # noqa: F811
    """But for the moment in which lofty has answered and terraform has not noted it: that task is listed, and named."""
    terraform.write(terraform.task("one", "#!/bin/sh\nsleep 600"))
    listed = 0
    for _ in range(20 if WHOLE else 2):
        process = terraform.popen("apply", "-auto-approve", "-no-color")
        began = time.monotonic()
        wait = random.uniform(0.5, 6.0)
        stopped_when(terraform, process, lambda until=began + wait: time.monotonic() > until, signal.SIGKILL)  # type: ignore[misc]
        (terraform.directory / ".terraform.tfstate.lock.info").unlink(missing_ok=True)
        terraform.apply()
        known = terraform.state()["iterative_task.one"]["id"]
        extra = [name for name in lofty_names(lofty) if not known.endswith(name.rpartition("-")[2])]
        listed += len(extra)
        for name in extra:
            lofty.ok("down", name, "--discard")
        terraform.ok("destroy", "-auto-approve")
        assert lofty_names(lofty) == []
        assert not list((lofty.home / "terraform").glob("*.json"))
    print(f"left by a kill between the answer and its note: {listed}")


def test_killed_and_then_changed_is_named(terraform: Tasks, lofty: Lofty, many: int) -> None:  # noqa: F811
    terraform.write(terraform.task("one", SCRIPT, BLOCK))
    process = terraform.popen("apply", "-auto-approve", "-no-color")
    stopped_when(terraform, process, lambda: begun(lofty), signal.SIGKILL)
    (left,) = lofty_names(lofty)
    terraform.write(terraform.task("one", SCRIPT))
    told = terraform.apply().out
    assert f"lofty down {left} --discard" in " ".join(told.split())
    lofty.ok("down", left, "--discard")
    terraform.ok("destroy", "-auto-approve")
    assert lofty_names(lofty) == []


def test_ctrl_c_leaves_nothing(terraform: Tasks, lofty: Lofty, many: int) -> None:  # noqa: F811
    terraform.write(terraform.task("one", SCRIPT, BLOCK))
    process = terraform.popen("apply", "-auto-approve", "-no-color")
    out = stopped_when(terraform, process, lambda: begun(lofty), signal.SIGINT)
    if process.returncode == 0:
        pytest.skip("it was made before the signal came")
    assert "Interrupted by Ctrl-C" in out
    assert (lofty_names(lofty), terraform.state()) == ([], {})
    assert not list((lofty.home / "terraform").glob("*.json"))
    assert Path(terraform.directory / "shared" / "d0" / "f0").exists()
