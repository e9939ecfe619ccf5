"""A kernel in an interpreter that lacks ipykernel, as a user's own may."""

from __future__ import annotations

import importlib.util
import subprocess
import time
from collections import deque
from pathlib import Path

import pytest

from .conftest import INSIDE, Starter
from .test_notebook_job import Job, notebook


@pytest.fixture(scope="module")
def bare(jupyter_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing in it but a package that the overlay has too."""
    root = tmp_path_factory.mktemp("bare")
    subprocess.run([jupyter_python, "-m", "venv", "--without-pip", root], check=True)
    (packages,) = root.glob("lib/python*/site-packages")
    (packages / "ipywidgets.py").write_text("origin = 'the user'\n")
    return root / "bin" / "python"


@pytest.fixture
def job(starter: Starter, bare: Path) -> Job:
    """A job whose kernel runs in the bare interpreter."""
    starter.kernelspec(bare)
    return Job(starter)


def test_it_is_the_users_interpreter_and_the_users_packages_win(job: Job, bare: Path) -> None:
    (job.directory / "helper.py").write_text("value = 'from the notebook folder'\n")
    (job.directory / "random.py").write_text("from os import sep\nvalue = 'mine'\n")  # must not break the start
    notebook(
        job.input,
        "import sys; print(sys.executable)",
        "import ipywidgets; print(ipywidgets.origin)",
        "import helper; print(helper.value)",
        "packages = next(each for each in sys.path if each.endswith('site-packages'))",
        "print(sys.path.index('') < sys.path.index(packages), any('jupyter/inside' in each for each in sys.path))",
        "print(sys.argv[1], sys.argv[2].endswith('.json'))",
    )
    assert job.run() == 0, job.err
    lines = [str(bare), "the user", "from the notebook folder", "True False", "-f True"]
    assert job.out.splitlines() == lines
    assert "without encryption" not in job.err


def test_it_starts_other_processes_as_usual(job: Job) -> None:
    (job.directory / "work.py").write_text("def double(x): return x * 2\n")
    spawn = "import multiprocessing, work\nwith multiprocessing.get_context('spawn').Pool(1) as pool:\n"
    spawn += "    print(pool.map(work.double, [21]))"
    child = "import subprocess, sys\n"
    child += "print(subprocess.run([sys.executable, '-c', 'import ipykernel'], capture_output=True).returncode)"
    notebook(job.input, spawn, child)
    assert job.run() == 0, job.err
    assert job.out.splitlines() == ["[42]", "1"]


def test_what_is_left_to_do_at_the_end_is_done(job: Job) -> None:
    (job.directory / "work.py").write_text("def double(x): return x * 2\n")
    last = "import atexit, pathlib, time\ndef last():\n    time.sleep(4)\n    pathlib.Path('done').touch()\n"
    pool = "import multiprocessing, work\npool = multiprocessing.get_context('spawn').Pool(1)\n"
    notebook(job.input, last + "atexit.register(last)", pool + "pool.map(work.double, [1]); pool.terminate()")
    started = time.monotonic()
    assert job.run() == 0, job.err
    assert (job.directory / "done").exists()
    assert time.monotonic() - started < 12


def test_a_kernel_ends_without_a_wait() -> None:
    # A race, too rare to wait for: so its ingredients, and that they are what ipykernel calls them.
    spec = importlib.util.spec_from_file_location("inside_kernel", INSIDE / "kernel.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    done: list[str] = []

    class OutputThread:
        def __init__(self) -> None:
            self._events = deque([lambda: done.append("left over")])

        def stop(self) -> None:
            done.append("stopped")

    class Kernel:
        """One of a version without helpers."""

    module.end_promptly(OutputThread, Kernel)
    OutputThread().stop()
    assert done == ["stopped", "left over"]


def test_ipykernel_still_has_what_the_prompt_end_reaches_for(kernel_python: Path) -> None:
    code = "from ipykernel.iostream import IOPubThread as T; from ipykernel.kernelbase import Kernel as K\n"
    code += "import zmq; context = zmq.Context(); T.stop, K._process_children\n"
    code += "print(type(T(context.socket(zmq.PUB))._events).__name__)"
    found = subprocess.run([kernel_python, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found == "deque\n"


def test_without_an_overlay_it_says_what_is_wrong(bare: Path, tmp_path: Path) -> None:
    command: list[str | Path] = [bare, INSIDE / "kernel.py", tmp_path, "-f", "x.json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "the kernel cannot start under" in result.stderr
    assert result.stderr.count("\n") == 1


def test_its_syntax_is_that_of_old_interpreters() -> None:
    import ast

    ast.parse((INSIDE / "kernel.py").read_text(), feature_version=(3, 8))
