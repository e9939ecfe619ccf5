"""A kernel in an interpreter that lacks ipykernel, as a user's own may."""

from __future__ import annotations

import json
import subprocess
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
    (packages / "tqdm.py").write_text("origin = 'the user'\n")
    return root / "bin" / "python"


@pytest.fixture
def job(starter: Starter, bare: Path, jupyter_python: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job whose kernel is the bare interpreter, with the Jupyter environment as the overlay."""
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    overlay = subprocess.run([jupyter_python, "-c", where], capture_output=True, text=True, check=True).stdout
    spec = starter.root / "data" / "kernels" / "python3"
    spec.mkdir(parents=True)
    argv = [str(bare), str(INSIDE / "kernel.py"), overlay.strip(), "-f", "{connection_file}"]
    document = {"argv": argv, "display_name": "Python 3", "language": "python"}
    document["metadata"] = {"supported_encryption": ["curve"]}  # type: ignore[assignment]
    (spec / "kernel.json").write_text(json.dumps(document))
    plain = starter.environ
    monkeypatch.setattr(starter, "environ", lambda **more: plain(JUPYTER_PATH=str(starter.root / "data"), **more))
    return Job(starter)


def test_it_is_the_users_interpreter_and_the_users_packages_win(job: Job, bare: Path) -> None:
    (job.directory / "helper.py").write_text("value = 'from the notebook folder'\n")
    (job.directory / "random.py").write_text("from os import sep\nvalue = 'mine'\n")  # must not break the start
    notebook(
        job.input,
        "import sys; print(sys.executable)",
        "import tqdm; print(tqdm.origin)",
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


def test_without_an_overlay_it_says_what_is_wrong(bare: Path, tmp_path: Path) -> None:
    command = [bare, INSIDE / "kernel.py", tmp_path, "-f", "x.json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "the kernel cannot start under" in result.stderr
    assert result.stderr.count("\n") == 1


def test_its_syntax_is_that_of_old_interpreters() -> None:
    import ast

    ast.parse((INSIDE / "kernel.py").read_text(), feature_version=(3, 8))
