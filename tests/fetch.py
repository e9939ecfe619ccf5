"""Fetches everything that tests install, before they start: they run without a network.

`python tests/fetch.py` fills `.cache`: the pinned Jupyter environment, uv's cache with the packages that test projects
ask for, and, where npm is, Azurite.
"""

from __future__ import annotations

import asyncio
import hashlib
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
    asyncio.run(environment.make_tools(lock.with_name("tunnel.lock"), CACHE / "lofty", name="tunnel"))
    subprocess.run([python, "-m", "compileall", "-q", python.parent.parent / "lib"], check=False)
    (python.parent.parent / ".lofty-compiled").touch()
    for old in (CACHE / "lofty" / "envs").glob("tools-*"):
        if old.is_dir() and old != python.parent.parent:
            shutil.rmtree(old)
    with tempfile.TemporaryDirectory() as scratch:
        # Resolved once with a network, so that uv has the metadata and wheels for the same questions without one.
        for packages in FOR_TESTS:
            target = Path(scratch, "venv")
            subprocess.run([find_uv(), "venv", "-q", "--clear", "--python", sys.executable, target], check=True)
            install: list[str | Path] = [find_uv(), "pip", "install", "-q", "--python", target / "bin" / "python"]
            subprocess.run([*install, *packages], check=True, cwd=ROOT)
    # A folder that names no packages has those of the lock, which are not always the newest.
    kernel, held = CACHE / "kernel", lock.with_name("kernel.lock")
    subprocess.run([find_uv(), "venv", "-q", "--clear", "--python", sys.executable, kernel], check=True)
    install = [find_uv(), "pip", "install", "-q", "--python", kernel / "bin" / "python"]
    subprocess.run([*install, "pip", "-c", held], check=True)
    subprocess.run([*install, "--require-hashes", "-r", held], check=True)
    fetch_azurite()
    fetch_wheels()


def fetch_wheels() -> None:
    """What machines of the cloudbox install, whose only index is a folder of wheels, and uv for the agent's bundle."""
    from lofty.agent.uv import find_uv
    from lofty.boot import bundle

    bundle.bundle(CACHE / "lofty", "x86_64")
    names = ("agent/requirements.lock", "jupyter/requirements.lock", "jupyter/kernel.lock")
    locks = [ROOT / "src/lofty" / name for name in names]
    mark = CACHE / "wheels" / f".{hashlib.sha256(b''.join(lock.read_bytes() for lock in locks)).hexdigest()[:16]}"
    if mark.exists():
        return
    shutil.rmtree(mark.parent, ignore_errors=True)
    mark.parent.mkdir(parents=True)
    uv: list[str | Path] = [find_uv(), "pip", "compile", "-q", "--no-deps", "--python-version", MACHINE_PYTHON]
    with tempfile.TemporaryDirectory() as scratch:
        seeded, wanted = Path(scratch, "venv"), Path(scratch, "wanted.txt")
        subprocess.run([find_uv(), "venv", "-q", "--seed", "--python", sys.executable, seeded], check=True)
        download: list[str | Path] = [seeded / "bin" / "python", "-m", "pip", "download", "-q", "--no-deps"]
        download += ["--only-binary", ":all:", "--disable-pip-version-check", "-d", mark.parent]
        for lock in locks:
            subprocess.run([*uv, "--python-platform", "x86_64-manylinux_2_28", lock, "-o", wanted], check=True)
            subprocess.run([*download, "-r", wanted], check=True)
    mark.touch()


MACHINE_PYTHON = "3.11.2"
"""Of the cloudbox's image."""


def fetch_azurite() -> None:
    """The emulator of Azure's blobs; without it the tests that need it are skipped, and say so."""
    place = CACHE / "azurite"
    mark = place / AZURITE
    npm = shutil.which("npm")
    if mark.exists() or npm is None:
        return
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    words: list[str | Path] = [
        npm,
        "install",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--loglevel=error",
        "--prefix",
        place,
    ]
    if subprocess.run([*words, AZURITE], check=False, stdout=subprocess.DEVNULL).returncode == 0:
        mark.touch()


AZURITE = "azurite@3.37.0"

FOR_TESTS = (
    ("ipykernel", "ipywidgets", "pip"),
    ("-r", "examples/quickstart/requirements.txt", "ipykernel", "ipywidgets", "pip"),
    ("six==1.16.0", "ipykernel", "ipywidgets", "pip"),
    ("six==1.17.0", "ipykernel", "ipywidgets", "pip"),
    ("hatchling", "editables"),
)

if __name__ == "__main__":
    main()
