"""Whose Python runs the user's code: the one that the folder names, made without a trace in the folder."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ..conftest import Lofty, eventually
from .support import Workspace, lab, listed, make_folder, nothing_left, printed, snapshot, write_notebook

LOOK = "import json, sys, six; print(json.dumps([six.__version__, sys.executable, sys.prefix]))"
PROJECT = '[project]\nname = "mine"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["six=={six}"]\n'
CONDA = """name: old
channels: [conda-forge]
dependencies:
  - python=3.11
  - numpy>=1.20
  - nvidia::cudatoolkit=11.8
  - pip
  - pip:
    - six==1.16.0
"""


def uv(lofty: Lofty, folder: Path, *words: str) -> None:
    """uv as the user would call it, with the tests' cache and no network."""
    subprocess.run(
        [sys.executable, "-m", "uv", "-q", *words],
        cwd=folder,
        env=lofty.environ,
        check=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


def by_requirements(lofty: Lofty, folder: Path) -> None:
    (folder / "requirements.txt").write_text("six==1.16.0\n")


def by_included_requirements(lofty: Lofty, folder: Path) -> None:
    (folder / "requirements.txt").write_text("-r base.txt\n")
    (folder / "base.txt").write_text("six==1.16.0\n")


def by_lock(lofty: Lofty, folder: Path) -> None:
    (folder / "pyproject.toml").write_text(PROJECT.format(six="1.16.0"))
    uv(lofty, folder, "lock", "--python", sys.executable)
    assert "1.16.0" in (folder / "uv.lock").read_text()


def by_project(lofty: Lofty, folder: Path) -> None:
    (folder / "pyproject.toml").write_text(PROJECT.format(six="1.16.0"))


def by_venv(lofty: Lofty, folder: Path) -> None:
    uv(lofty, folder, "venv", "--python", sys.executable)
    uv(lofty, folder, "pip", "install", "--python", ".venv/bin/python", "six==1.16.0")


def by_venv_with_kernel(lofty: Lofty, folder: Path) -> None:
    uv(lofty, folder, "venv", "--python", sys.executable)
    uv(lofty, folder, "pip", "install", "--python", ".venv/bin/python", "six==1.16.0", "ipykernel")


def by_conda(lofty: Lofty, folder: Path) -> None:
    (folder / "environment.yml").write_text(CONDA)


WAYS: dict[str, Callable[[Lofty, Path], None]] = {
    "requirements.txt": by_requirements,
    "included": by_included_requirements,
    "uv.lock": by_lock,
    "pyproject.toml": by_project,
    ".venv": by_venv,
    ".venv with ipykernel": by_venv_with_kernel,
    "environment.yml": by_conda,
}


@pytest.mark.parametrize("way", WAYS)
def test_the_folder_names_the_environment(lofty: Lofty, tmp_path: Path, jupyter_python: Path, way: str) -> None:
    folder = make_folder(tmp_path, "work", look_py=LOOK, look_sh="python look.py\n")
    write_notebook(folder / "look.ipynb", LOOK)
    WAYS[way](lofty, folder)
    before = snapshot(folder)

    done = lofty.ok("lab", folder, "-d", "--json")
    workspace = Workspace(done.json())
    kernel = workspace.kernel()
    answers = {"kernel": json.loads(kernel.run(LOOK))}
    if not way.startswith(".venv"):
        kernel.run("import ipywidgets")
    if way == ".venv with ipykernel":
        assert str(folder / ".venv") in kernel.run("import ipykernel; print(ipykernel.__file__)")
    if way == ".venv":
        assert str(folder) not in kernel.run("import ipykernel; print(ipykernel.__file__)")
    kernel.close()
    answers["script"] = lofty.ok("run", "look.py", cwd=folder).json()
    answers["shell"] = lofty.ok("run", "look.sh", cwd=folder).json()
    lofty.ok("run", "look.ipynb", "--output", tmp_path / "seen.ipynb", cwd=folder)
    answers["notebook"] = json.loads(printed(tmp_path / "seen.ipynb")[0])

    for who, (six, python, prefix) in answers.items():
        assert six == "1.16.0", who
        assert prefix not in (sys.prefix, str(jupyter_python.parent.parent)), who
        assert (str(folder / ".venv") == prefix) == way.startswith(".venv"), (who, python)
    assert snapshot(folder) == before, "nothing of the user's folder was changed"
    if way == "environment.yml":
        assert re.search(r"note: .*only its pip part was installed.*: cudatoolkit, numpy\n", done.err)
    else:
        assert "note:" not in done.err

    record = lofty.home / "store" / workspace.facts["id"] / "machines" / "0001.0" / "environment.txt"
    eventually(record.exists, 20)
    assert "six==1.16.0" in record.read_text().split()
    lofty.ok("down", "--all", "-y")
    nothing_left(lofty, workspace.port)
    assert snapshot(folder) == before


@pytest.mark.parametrize("way", ["requirements.txt", "uv.lock"])
def test_a_changed_file_changes_the_environment(lofty: Lofty, tmp_path: Path, way: str) -> None:
    folder = make_folder(tmp_path, "work")
    WAYS[way](lofty, folder)
    workspace = lab(lofty, folder)
    assert json.loads(workspace.kernel().run(LOOK))[0] == "1.16.0"
    lofty.ok("stop", "work")
    if way == "uv.lock":
        (folder / "pyproject.toml").write_text(PROJECT.format(six="1.17.0"))
        uv(lofty, folder, "lock", "--python", sys.executable)
    else:
        (folder / "requirements.txt").write_text("six==1.17.0\n")
    lofty.ok("start", "work")
    assert json.loads(workspace.kernel().run(LOOK))[0] == "1.17.0"


def test_a_folder_that_names_nothing(lofty: Lofty, tmp_path: Path, jupyter_python: Path) -> None:
    folder = make_folder(tmp_path, "work", look_py="import sys; print(sys.prefix)")
    before = snapshot(folder)
    kernel = lab(lofty, folder).kernel()
    prefix = kernel.run("import sys; print(sys.prefix)").strip()
    assert prefix not in (sys.prefix, str(jupyter_python.parent.parent))
    assert "pip" in kernel.run("%pip --version"), "%pip install works in it"
    assert prefix in kernel.run("%pip --version"), "and means this environment"
    assert kernel.run("import ipywidgets, importlib.util as u; print(u.find_spec('jupyterlab'))") == "None\n"
    assert snapshot(folder) == before


def test_packages_added_by_hand_stay_over_a_restart(lofty: Lofty, tmp_path: Path) -> None:
    """%pip install is for the session one is in, and it would be a nuisance to lose it at every stop."""
    folder = make_folder(tmp_path, "work", requirements_txt="six==1.16.0\n")
    workspace = lab(lofty, folder)
    workspace.kernel().run("import sys; open(sys.prefix + '/lib/added.txt', 'w').write('x')")
    lofty.ok("stop", "work")
    lofty.ok("start", "work")
    assert workspace.kernel().run("import sys, os; print(os.path.exists(sys.prefix + '/lib/added.txt'))") == "True\n"


BAD = {
    "no such package": ("requirements.txt", "no-such-package-of-lofty==1.0\n", "no-such-package-of-lofty"),
    "no such version": ("requirements.txt", "six==99.1\n", "six"),
    "not requirements": ("requirements.txt", "this is not a requirement\n", "requirement"),
    "a broken project": (
        "pyproject.toml",
        '[project]\nname = "x"\nversion = "1"\ndependencies = "six"\n',
        "dependencies",
    ),
    "a broken environment": ("environment.yml", "dependencies: [a, {pip: [six\n", "environment.yml"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_made_is_one_clear_error_and_no_task(lofty: Lofty, tmp_path: Path, case: str) -> None:
    name, text, reason = BAD[case]
    folder = make_folder(tmp_path, "work", job_py="print(1)")
    (folder / name).write_text(text)
    before = snapshot(folder)
    for words, code in ((("lab", folder, "-d"), 1), (("run", "job.py"), 125), (("run", "job.py", "--json"), 125)):
        done = lofty(*words, cwd=folder)
        assert done.code == code, done
        said = [line for line in done.err.splitlines() if line.startswith(("lofty:", "  try:"))]
        assert len(said) == 2, done.err
        assert reason in said[0]
        assert "Traceback" not in done.err
        if "--json" in words:
            assert done.json()["error"]["kind"] == "EnvironmentFailed"
    assert lofty.ok("ls", "--json").json() == []
    nothing_left(lofty)
    assert snapshot(folder) == before
    (folder / name).unlink()
    assert lofty.ok("run", "job.py", cwd=folder).out == "1\n"
    assert listed(lofty, "job-1")["state"] == "succeeded"
