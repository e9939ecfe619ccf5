"""Files that go both ways while a workspace on a copy runs, and what is left of them whatever happens to it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest

from lofty.store.base import Store
from lofty.store.files.version import Versions

from ..conftest import Lofty, eventually
from .support import lab, listed, make_folder, nothing_left


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a person works."""
    return make_folder(tmp_path, "work", data_csv="a,b\n1,2\n", a_py="print(1)\n")


def there(lofty: Lofty) -> Path:
    """The machine's copy."""
    (place,) = (lofty.home / "work").iterdir()
    return place


def number(lofty: Lofty) -> int:
    """Of the newest version in the store."""
    (task,) = (path for path in (lofty.home / "store").iterdir() if not path.name.startswith("."))
    view = Versions(Store(f"{task.as_uri()}/files")).look()
    assert view is not None
    return int(view.head.version.partition("-")[0])


def newer(lofty: Lofty, before: int) -> bool:
    """Whether something was published since."""
    return number(lofty) > before


@contextmanager
def attached(lofty: Lofty, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """`lofty lab --copy`, as it stays in a terminal."""
    with lofty.popen("lab", folder, "--copy") as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if line.startswith("Files are kept alike"):
                    break
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)


def test_what_is_saved_on_one_side_appears_on_the_other(lofty: Lofty, folder: Path) -> None:
    with attached(lofty, folder) as process:
        copy = there(lofty)
        began = time.time()
        (copy / "result.txt").write_text("from the machine")
        eventually(lambda: (folder / "result.txt").exists(), 10)
        (folder / "a.py").write_text("print(2)\n")
        eventually(lambda: (copy / "a.py").read_text() == "print(2)\n", 10)
        (copy / "data.csv").unlink()
        eventually(lambda: not (folder / "data.csv").exists(), 10)
        assert time.time() - began < 25
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "the workspace runs on" in err
    assert listed(lofty, "work")["state"] == "running"
    (copy / "later.txt").write_text("later")
    eventually(lambda: number(lofty) > 3, 10)
    assert not (folder / "later.txt").exists()
    lofty.ok("pull", "work")
    assert (folder / "later.txt").read_text() == "later"
    lofty.ok("down", "work")
    nothing_left(lofty)


def test_versions_can_be_seen_and_brought_back(lofty: Lofty, folder: Path) -> None:
    lab(lofty, folder, "--copy")
    copy = there(lofty)
    for text in ("second", "third"):
        before = number(lofty)
        (copy / "a.py").write_text(text)
        eventually(partial(newer, lofty, before), 10)
    versions = lofty.ok("history", "work", "--json", "--", "a.py").json()
    assert [one["size"] for one in versions] == [9, 6, 5]
    assert lofty.ok("history", "--", "a.py").out.count("\n") == 4
    lofty.ok("pull", "work")
    assert (folder / "a.py").read_text() == "third"
    (folder / "a.py").write_text("mine, not sent yet")
    lofty.ok("restore", "work", "--at", str(versions[1]["number"]), "--", "a.py")
    assert (folder / "a.py").read_text() == "second"
    assert "mine, not sent yet" in [path.read_text() for path in folder.glob("a.*.py")]
    assert lofty("restore", "work", "--at", "1", "--", "nowhere.txt").code == 2
    lofty.ok("restore", "work", "--at", "1", "--beside")
    (beside,) = folder.parent.glob("work-2*")
    assert (beside / "a.py").read_text() == "print(1)\n"
    lofty.ok("down", "work", "--discard")


@pytest.mark.parametrize("how", ["stop", "SIGTERM", "SIGKILL"])
def test_what_was_saved_last_is_in_the_store_however_it_ends(lofty: Lofty, folder: Path, how: str) -> None:
    lab(lofty, folder, "--copy")
    copy = there(lofty)
    task = listed(lofty, "work")
    agent = psutil.Process(task["machines"][0]["pid"])
    agent.suspend()  # nothing is published while these are written
    (copy / "last.txt").write_text("saved in the last moment")
    (copy / "sub").mkdir()
    (copy / "sub" / "more.txt").write_text("more")
    if how == "SIGKILL":
        agent.kill()
    else:
        agent.resume()
        if how == "SIGTERM":
            agent.terminate()
        else:
            lofty.ok("stop", "work")
    eventually(lambda: listed(lofty, "work")["state"] in ("stopped", "lost"), 30)
    lofty.ok("pull", "work")
    assert (folder / "last.txt").read_text() == "saved in the last moment"
    assert (folder / "sub" / "more.txt").read_text() == "more"
    lofty.ok("down", "work")


def test_what_could_not_be_brought_is_not_thrown_away(lofty: Lofty, folder: Path) -> None:
    lab(lofty, folder, "--copy")
    (there(lofty) / "out.bin").write_bytes(os.urandom(300_000))
    before = number(lofty)
    eventually(lambda: number(lofty) > before or (there(lofty) / "out.bin").exists(), 10)
    lofty.ok("stop", "work")
    (store,) = (path for path in (lofty.home / "store").iterdir() if not path.name.startswith("."))
    for pack in (store / "files" / "packs").iterdir():
        if pack.stat().st_size > 250_000:
            pack.write_bytes(pack.read_bytes()[:1000])
    done = lofty("down", "work")
    assert done.code == 1
    assert "out.bin" in done.err
    assert "--discard" in done.err
    assert store.is_dir()
    lofty.ok("down", "work", "--discard")
    nothing_left(lofty)


def test_the_repository_goes_along_and_commits_come_back(lofty: Lofty, folder: Path) -> None:
    def git(where: Path, *words: str) -> str:
        who = ("-c", "user.name=t", "-c", "user.email=t@t")
        environ = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(["git", *who, *words], cwd=where, env=environ, capture_output=True, text=True, check=True)
        return done.stdout

    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "one")
    (folder / "a.py").write_text("print('not committed')\n")
    lab(lofty, folder, "--copy")
    copy = there(lofty)
    assert git(copy, "log", "--oneline") == git(folder, "log", "--oneline")
    assert git(copy, "status", "--porcelain") == git(folder, "status", "--porcelain") == " M a.py\n"
    git(copy, "commit", "-qam", "two")
    tip = git(copy, "rev-parse", "HEAD").strip()
    lofty.ok("stop", "work")
    mine = git(folder, "rev-parse", "main")
    lofty.ok("pull", "work")
    assert git(folder, "rev-parse", "main") == mine
    assert tip in git(folder, "for-each-ref", "refs/lofty/work/")
    lofty.ok("down", "work")
