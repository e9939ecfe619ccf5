"""Fetches everything that tests install, before they start: they run without a network.

`python tests/fetch.py` fills `.cache`: the pinned Jupyter environment, and uv's cache with the packages that test
projects ask for.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
CACHE = Path(os.environ.get("LOFTY_TEST_CACHE") or ROOT / ".cache")


def main() -> None:
    """Make or refresh the cache; quick when nothing has changed."""
    os.environ["UV_CACHE_DIR"] = str(CACHE / "uv")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    from lofty.agent import environment
    from lofty.agent.uv import find_uv

    lock = ROOT / "src/lofty/jupyter/requirements.lock"
    python = asyncio.run(environment.make_tools(lock, CACHE / "lofty"))
    subprocess.run([python, "-m", "compileall", "-q", python.parent.parent / "lib"], check=False)
    (python.parent.parent / ".lofty-compiled").touch()
    for old in (CACHE / "lofty" / "envs").glob("tools-*"):
        if old.is_dir() and old != python.parent.parent:
            shutil.rmtree(old)
    with tempfile.TemporaryDirectory() as scratch:
        # Resolved once with a network, so that uv has the metadata and wheels for the same questions without one.
        for packages in FOR_TESTS:
            target = Path(scratch, "venv")
            subprocess.run(
                [find_uv(), "venv", "-q", "--clear", "--seed", "--python", sys.executable, target], check=True
            )
            install: list[str | Path] = [find_uv(), "pip", "install", "-q", "--python", target / "bin" / "python"]
            subprocess.run([*install, *packages], check=True, cwd=ROOT)


FOR_TESTS = (
    ("ipykernel", "ipywidgets"),
    ("-r", "examples/quickstart/requirements.txt", "ipykernel", "ipywidgets"),
    ("six==1.16.0", "ipykernel", "ipywidgets"),
    ("six==1.17.0", "ipykernel", "ipywidgets"),
    ("hatchling", "editables"),
)

if __name__ == "__main__":
    main()
