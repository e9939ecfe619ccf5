"""`lofty run`: a file runs to its end, its output is seen while it runs, its exit code is passed on."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ..conftest import Lofty, eventually
from .support import (
    listed,
    make_folder,
    nothing_left,
    printed,
    private,
    processes,
    runtime_folders,
    snapshot,
    write_notebook,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a person works."""
    return make_folder(tmp_path, "work")


def script(folder: Path, name: str, text: str, *, mode: int = 0o644) -> Path:
    """A file to run."""
    path = folder / name
    path.write_text(text)
    path.chmod(mode)
    return path


ENDS = {
    "good.py": ("print('hello')", 0, "hello\n"),
    "seven.py": ("print('x'); raise SystemExit(7)", 7, "x\n"),
    "broken.py": ("raise ValueError('no')", 1, ""),
    "killed.py": ("import os; os.kill(os.getpid(), 9)", 137, ""),
    "segfault.py": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", 139, ""),
    "ended.sh": ("kill -TERM $$", 143, ""),
    "shell.sh": ('[[ 1 == 1 ]] && echo "in bash"; exit 3', 3, "in bash\n"),
    "posix.sh": ("#!/bin/sh\necho from sh; exit 0", 0, "from sh\n"),
    "perl-like": ("#!/usr/bin/env python3\nprint('by its first line'); exit(4)", 4, "by its first line\n"),
}


@pytest.mark.parametrize("name", ENDS)
def test_the_exit_code_is_the_jobs_own(lofty: Lofty, folder: Path, name: str) -> None:
    text, code, out = ENDS[name]
    script(folder, name, text, mode=0o755 if name == "perl-like" else 0o644)
    done = lofty("run", name, cwd=folder)
    assert (done.code, done.out) == (code, out), done.err
    task = listed(lofty, f"{Path(name).stem}-1")
    assert task["state"] == ("succeeded" if code == 0 else "failed")
    assert [machine["exit_code"] for machine in task["machines"]] == [code]
    assert not processes(lofty)
    assert runtime_folders(lofty) == []
    assert "Traceback" not in done.err or name == "broken.py"


@pytest.mark.parametrize(
    ("cell", "code"), [("print(1)", 0), ("raise ValueError('no')", 1), ("import sys; sys.exit(7)", 7)]
)
def test_a_notebooks_exit_code(lofty: Lofty, folder: Path, cell: str, code: int) -> None:
    write_notebook(folder / "book.ipynb", cell)
    assert lofty("run", "book.ipynb", cwd=folder).code == code


def test_as_one_json_document(lofty: Lofty, folder: Path) -> None:
    script(folder, "seven.py", "print('talk'); raise SystemExit(7)")
    done = lofty("run", "seven.py", "--json", cwd=folder)
    answer = done.json()
    assert done.code == 7
    assert (answer["state"], answer["exit_code"], answer["output"], answer["error"]) == ("failed", 7, None, None)
    assert "talk\n" in done.err
    missing = lofty("run", "nowhere.py", "--json", cwd=folder)
    assert missing.code == 125
    assert missing.json()["error"]["kind"] == "UsageError"


def test_output_arrives_while_the_job_runs(lofty: Lofty, folder: Path) -> None:
    script(
        folder,
        "slow.py",
        "import pathlib, time\nprint('first')\nwhile not pathlib.Path('go').exists(): time.sleep(0.05)\nprint('last')",
    )
    with lofty.popen("run", "slow.py", cwd=folder) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "first\n"
        assert listed(lofty, "slow-1")["state"] == "running"
        assert job.poll() is None
        (folder / "go").touch()
        assert job.stdout.read() == "last\n"
        assert job.wait(20) == 0


def test_a_cells_output_arrives_while_it_runs(lofty: Lofty, folder: Path) -> None:
    wait = "import pathlib, time\nprint('first')\nwhile not pathlib.Path('go').exists(): time.sleep(0.05)"
    write_notebook(folder / "slow.ipynb", wait, "print('last')")
    with lofty.popen("run", "slow.ipynb", cwd=folder) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "first\n"
        (folder / "go").touch()
        out, err = job.communicate(timeout=40)
    assert "last\n" in out
    assert job.returncode == 0, err
    assert printed(folder / "slow.executed.ipynb") == ["first\n", "last\n"]


def test_stdout_and_stderr_stay_apart(lofty: Lofty, folder: Path) -> None:
    script(folder, "both.py", "import sys\nfor i in range(100):\n  print('out', i)\n  print('err', i, file=sys.stderr)")
    done = lofty.ok("run", "both.py", cwd=folder)
    assert done.out == "".join(f"out {i}\n" for i in range(100))
    assert [line for line in done.err.splitlines() if line.startswith("err ")] == [f"err {i}" for i in range(100)]
    assert "out " not in done.err


def test_much_output_is_complete_and_in_order(lofty: Lofty, folder: Path) -> None:
    """20 MB as fast as Python can write them; more than what is kept in memory for a store that is slow."""
    script(folder, "flood.py", "import sys\nfor i in range(200_000): sys.stdout.write(f'{i:08d} ' + 'x' * 91 + '\\n')")
    done = lofty.ok("run", "flood.py", cwd=folder, timeout=100)
    assert len(done.out) == 200_000 * 101
    lines = done.out.splitlines()
    assert [int(line[:8]) for line in lines] == list(range(200_000))
    assert lofty.ok("logs", "flood-1", timeout=60).out == done.out


def test_a_progress_bar_stays_one(lofty: Lofty, folder: Path) -> None:
    text = (
        "import sys, time\nfor i in range(11):\n  sys.stdout.write(f'\\r{i*10}%'); sys.stdout.flush(); time.sleep(0.02)"
    )
    script(folder, "bar.py", text + "\nsys.stdout.write('\\ndone')")
    done = subprocess.run(
        [*command(lofty), "run", "bar.py"], cwd=folder, env=lofty.environ, capture_output=True, timeout=60, check=True
    )
    assert done.stdout == b"".join(b"\r%d%%" % (i * 10) for i in range(11)) + b"\ndone"


def test_bytes_that_are_no_text_do_no_harm(lofty: Lofty, folder: Path) -> None:
    junk = (
        "import sys\nout = sys.stdout.buffer\nout.write(bytes(range(256)) * 4000)\nout.write('\\nsäfe €\\n'.encode())"
    )
    script(folder, "junk.py", junk)
    done = subprocess.run(
        [*command(lofty), "run", "junk.py"], cwd=folder, env=lofty.environ, capture_output=True, timeout=60, check=True
    )
    assert done.stdout.endswith("\nsäfe €\n".encode())
    text = done.stdout.decode()  # what comes out is text, whatever went in
    assert text.count("abcdefghijklmnopqrstuvwxyz") == 4000
    assert text.count("�") >= 4000
    again = lofty.ok("logs", "junk-1", "--json").json()
    assert "".join(line["text"] + line["end"] for line in again if line["stream"] == "out").count("abcdef") == 4000


def command(lofty: Lofty) -> list[str]:
    """The command line, for tests that want bytes."""
    import sys

    return [sys.executable, "-m", "lofty"]


def test_arguments_arrive_as_they_are(lofty: Lofty, folder: Path) -> None:
    script(folder, "args.py", "import json, sys; print(json.dumps(sys.argv[1:]))")
    given = ["--lr", "0.1", "a b", "$HOME", "{workdir}", "'\"", "", "-n", "--", "ä", "*"]
    assert lofty.ok("run", "args.py", "--", *given, cwd=folder).json() == given


def test_where_a_job_runs(lofty: Lofty, folder: Path, tmp_path: Path) -> None:
    (folder / "deep").mkdir()
    script(folder / "deep", "here.py", "import os; print(os.getcwd())")
    assert lofty.ok("run", "deep/here.py", cwd=folder).out.strip() == str(folder)
    assert lofty.ok("run", folder / "deep" / "here.py", cwd=tmp_path / "user").out.strip() == str(folder / "deep")
    named = lofty.ok("run", folder / "deep" / "here.py", "--workdir", folder, cwd=tmp_path / "user")
    assert named.out.strip() == str(folder)


def test_parameters_are_typed_as_papermill_does(lofty: Lofty, folder: Path) -> None:
    values = {"a": "1", "b": "0.5", "c": "True", "d": "None", "e": "text here", "f": "1e-3", "g": "a=b", "name": "x"}
    show = "print([a, b, c, d, e, f, g, name, left])"
    write_notebook(folder / "book.ipynb", show, parameters="a = b = c = d = e = f = g = name = 0\nleft = 'default'")
    before = snapshot(folder)
    words = [word for key, value in values.items() for word in ("-p", f"{key}={value}")]
    lofty.ok("run", "book.ipynb", *words, cwd=folder)
    executed = folder / "book.executed.ipynb"
    assert "[1, 0.5, True, None, 'text here', 0.001, 'a=b', 'x', 'default']\n" in printed(executed)
    after = snapshot(folder)
    assert after["book.ipynb"] == before["book.ipynb"], "the source is never written"
    assert set(after) == {".", "book.ipynb", "book.executed.ipynb"}


def test_output_elsewhere(lofty: Lofty, folder: Path, tmp_path: Path) -> None:
    write_notebook(folder / "book.ipynb", "print('here')")
    target = tmp_path / "results" / "done.ipynb"
    target.parent.mkdir()
    done = lofty.ok("run", "book.ipynb", "--output", target, "--json", cwd=folder).json()
    assert done["output"] == str(target)
    assert printed(target) == ["here\n"]
    assert set(snapshot(folder)) == {".", "book.ipynb"}
    itself = lofty("run", "book.ipynb", "--output", folder / "book.ipynb", cwd=folder)
    assert itself.code == 125
    assert "the notebook itself" in itself.err


def test_a_failing_cell_is_shown_and_kept(lofty: Lofty, folder: Path) -> None:
    write_notebook(folder / "book.ipynb", "print('one')", "print('two'); 1 / 0", "print('never')")
    done = lofty("run", "book.ipynb", cwd=folder)
    assert done.code == 1
    assert "ZeroDivisionError" in done.err
    executed = folder / "book.executed.ipynb"
    assert printed(executed)[:2] == ["one\n", "two\n"]
    assert "never\n" not in printed(executed)
    assert str(executed) in done.err
    outputs = [out for cell in json.loads(executed.read_text())["cells"] for out in cell.get("outputs", ())]
    assert [out["ename"] for out in outputs if out["output_type"] == "error"] == ["ZeroDivisionError"]


def test_detached_and_found_again(lofty: Lofty, folder: Path) -> None:
    script(
        folder,
        "slow.py",
        "import pathlib, time\nprint('first')\nwhile not pathlib.Path('go').exists(): time.sleep(0.05)\nprint('last')",
    )
    started = lofty.ok("run", "slow.py", "-d", "--json", cwd=folder).json()
    assert started["state"] == "running"
    assert started["exit_code"] is None
    task = listed(lofty, "slow-1")
    assert (task["id"], task["kind"], task["state"], task["url"]) == (started["id"], "job", "running", None)
    with lofty.popen("logs", "-f", "slow-1") as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline() == "first\n"
        (folder / "go").touch()
        out, err = follower.communicate(timeout=20)
    assert (out, follower.returncode) == ("last\n", 0), err
    assert listed(lofty, "slow-1")["state"] == "succeeded"
    assert lofty.ok("run", "slow.py", "-d", "--json", cwd=folder).json()["name"] == "slow-2"


def test_a_deadline_ends_the_job(lofty: Lofty, folder: Path) -> None:
    script(folder, "long.py", "import time\nprint('begun', flush=True)\ntime.sleep(600)")
    began = time.monotonic()
    done = lofty("run", "long.py", "--timeout", "3s", cwd=folder)
    assert 2.5 < time.monotonic() - began < 12
    assert done.code == 143
    assert "begun\n" in done.out
    assert "the deadline was reached" in done.err
    task = listed(lofty, "long-1")
    assert (task["state"], task["reason"]) == ("failed", "the deadline was reached")
    assert not processes(lofty)


def test_a_deadline_leaves_what_a_notebook_had_done(lofty: Lofty, folder: Path) -> None:
    write_notebook(folder / "book.ipynb", "print('one')", "import time\nprint('two', flush=True)\ntime.sleep(600)")
    done = lofty("run", "book.ipynb", "--timeout", "8s", cwd=folder)
    assert done.code == 143, done.err
    assert printed(folder / "book.executed.ipynb") == ["one\n", "two\n"]
    assert not processes(lofty)


def test_several_machines_know_their_ranks(lofty: Lofty, folder: Path) -> None:
    text = "import os\nrank = os.environ['LOFTY_RANK']\nprint(rank, os.environ['LOFTY_SIZE'])\nexit(3 * (rank == '1'))"
    script(folder, "rank.py", text)
    done = lofty("run", "rank.py", "-n", "3", cwd=folder)
    assert sorted(done.out.split("\n")) == ["", "0 3", "1 3", "2 3"]
    assert done.code == 3
    task = listed(lofty, "rank-1")
    assert task["state"] == "failed"
    assert [(one["rank"], one["state"], one["exit_code"]) for one in task["machines"]] == [
        (0, "succeeded", 0),
        (1, "failed", 3),
        (2, "succeeded", 0),
    ]


def test_a_machine_that_has_ended_leaves_the_others_alone(lofty: Lofty, folder: Path) -> None:
    """What it clears away at its end is its own, and nothing of its fellows on the same computer."""
    text = "import os, pathlib, time\nwhile os.environ['LOFTY_RANK'] == '1' and not pathlib.Path('go').exists():\n"
    script(folder, "rank.py", text + "  time.sleep(0.05)")
    lofty.ok("run", "rank.py", "-n", "2", "-d", cwd=folder)

    def states() -> list[str]:
        return [one["state"] for one in listed(lofty, "rank-1")["machines"]]

    eventually(lambda: states()[0] == "succeeded", 10)
    assert states() == ["succeeded", "running"]
    (folder / "go").touch()
    eventually(lambda: states() == ["succeeded", "succeeded"], 10)


def test_ctrl_c_detaches_and_the_job_goes_on(lofty: Lofty, folder: Path) -> None:
    wait = "import pathlib, time\nprint('first', flush=True)\nwhile not pathlib.Path('go').exists(): time.sleep(0.05)"
    script(folder, "slow.py", wait + "\npathlib.Path('done').touch()")
    with lofty.popen("run", "slow.py", cwd=folder, start_new_session=True) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "first\n"
        os.killpg(job.pid, signal.SIGINT)  # as the terminal does: everything in the foreground gets it
        _, err = job.communicate(timeout=10)
    assert job.returncode == 130
    assert "lofty logs -f slow-1" in err
    assert "Traceback" not in err
    assert listed(lofty, "slow-1")["state"] == "running"
    (folder / "go").touch()
    eventually(lambda: listed(lofty, "slow-1")["state"] == "succeeded", 10)
    assert (folder / "done").exists()


def test_stop_ends_a_job_and_down_forgets_it(lofty: Lofty, folder: Path) -> None:
    script(folder, "long.sh", "trap 'echo bye; exit 5' TERM; echo on; while true; do sleep 0.1; done")
    lofty.ok("run", "long.sh", "-d", cwd=folder)
    eventually(lambda: "on\n" in lofty.ok("logs", "long-1").out, 10)
    lofty.ok("stop", "long-1")
    assert listed(lofty, "long-1")["state"] == "stopped"
    assert lofty.ok("logs", "long-1").out.replace("Terminated\n", "") == "on\nbye\n"
    assert not processes(lofty)
    lofty.ok("down", "long-1")
    nothing_left(lofty)


def test_variables_and_secrets(lofty: Lofty, folder: Path) -> None:
    names = ("GIVEN", "OWN", "LF_ONE", "LF_TWO", "KEY")
    text = f"import os\nfor name in {names}: print(name, os.environ.get(name))"
    script(folder, "env.py", text)
    own = {"OWN": "mine", "LF_ONE": "1", "LF_TWO": "2", "KEY": "hush-7f3a"}
    words = ("--env", "GIVEN=a=b c", "--env", "OWN", "--env", "LF_*", "--secret", "KEY")
    done = lofty.ok("run", "env.py", *words, cwd=folder, **own)
    assert done.out == "GIVEN a=b c\nOWN mine\nLF_ONE 1\nLF_TWO 2\nKEY hush-7f3a\n"
    public = [path for path in lofty.home.rglob("*") if path.is_file() and "private" not in path.parts]
    assert public
    holders = [path for path in public if b"hush-7f3a" in path.read_bytes()]
    # The log alone may hold it: the job has printed it there itself.
    assert [path for path in holders if "log" not in path.parts] == []


def test_a_secret_of_a_detached_job_comes_from_the_store(lofty: Lofty, folder: Path) -> None:
    """A machine of a cloud, or one that starts again, has no terminal to inherit from."""
    script(folder, "key.py", "import os, hashlib; print(hashlib.sha256(os.environ['KEY'].encode()).hexdigest()[:8])")
    lofty.ok("run", "key.py", "-d", "--secret", "KEY", cwd=folder, KEY="hush-7f3a")
    eventually(lambda: listed(lofty, "key-1")["state"] == "succeeded", 15)
    import hashlib

    assert lofty.ok("logs", "key-1").out.strip() == hashlib.sha256(b"hush-7f3a").hexdigest()[:8]
    for path in lofty.home.rglob("*"):
        if path.is_file() and b"hush-7f3a" in path.read_bytes():
            assert "private" in path.parts
            assert private(path, lofty.home)


def test_a_job_that_cannot_begin_says_why(lofty: Lofty, folder: Path) -> None:
    script(folder, "data.txt", "just text")
    script(folder, "bad.ipynb", "{}")
    script(folder, "nothere", "#!/no/such/interpreter\n", mode=0o755)
    for name, words in {"data.txt": "chmod +x", "bad.ipynb": "not a notebook", "nix.py": "no file"}.items():
        done = lofty("run", name, cwd=folder)
        assert done.code == 125
        assert words in done.err
        assert len(done.err.strip().splitlines()) == 2
    assert lofty.ok("ls", "--json").json() == []
    done = lofty("run", "nothere", cwd=folder)
    assert done.code == 127
    assert re.search(r"nothere.*[Nn]o such file", done.err)
