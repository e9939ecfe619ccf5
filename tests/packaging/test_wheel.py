"""What people install: everything a workspace needs is in the wheel, and nothing else comes along."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FROM_THE_WHEEL = """
import sys
sys.path.insert(0, sys.argv[1])
import lofty
from lofty.cli.main import run
print(lofty.__file__)
sys.exit(run(["--version"]))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as a release is."""
    target = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    return next(target.glob("*.whl"))


def test_it_holds_what_runs_inside_jupyter(wheel: Path) -> None:
    """The parts that no import names, and that would be missed only on somebody else's computer."""
    names = zipfile.ZipFile(wheel).namelist()
    for part in (
        "lofty/jupyter/requirements.lock",
        "lofty/jupyter/kernel.lock",
        "lofty/jupyter/inside/launch.py",
        "lofty/jupyter/inside/labextensions/lofty-panel/package.json",
        "lofty/jupyter/inside/labextensions/lofty-panel/static/remoteEntry.js",
        "lofty/py.typed",
    ):
        assert part in names
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests")]


def test_it_is_light(wheel: Path) -> None:
    """Without Jupyter and without the clouds' libraries; a quarter are the hashes of four locks. It is a budget,
    not a measurement."""
    assert wheel.stat().st_size < 600_000


def test_it_works_where_it_is_all_there_is(wheel: Path, tmp_path: Path) -> None:
    """Run from the wheel itself, not from the source tree beside it."""
    command = [sys.executable, "-I", "-c", FROM_THE_WHEEL, str(wheel)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert str(wheel) in done.stdout
    assert "lofty 0." in done.stdout
