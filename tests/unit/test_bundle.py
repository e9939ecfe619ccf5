"""The agent as one file: the same for the same lofty, nothing unpinned, and a wheel that installs."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from lofty.agent.uv import find_uv
from lofty.boot import bundle
from lofty.drivers.aws.userdata import LIMIT, user_data
from lofty.errors import EnvironmentFailed


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """One in which uv for the machine lies already."""
    folder = tmp_path / "cache"
    pinned = hashlib.sha256(bundle._lock(uv=True)).hexdigest()[:16]
    (folder / "bundles").mkdir(parents=True)
    (folder / "bundles" / f"uv-x86_64-{pinned}").write_bytes(b"#!/bin/sh\n")
    return folder


def test_it_holds_what_a_machine_needs_and_is_made_once(cache: Path) -> None:
    made = bundle.bundle(cache, "x86_64")
    with tarfile.open(made) as archive:
        modes = {entry.name: entry.mode for entry in archive}
    assert modes == {
        "boot.py": 0o644,
        bundle.wheel()[0]: 0o644,
        "requirements.lock": 0o644,
        "uv": 0o755,
    }
    before = made.stat().st_mtime_ns
    assert bundle.bundle(cache, "x86_64") == made
    assert made.stat().st_mtime_ns == before
    content = made.read_bytes()
    made.unlink()
    assert bundle.bundle(cache, "x86_64").read_bytes() == content, "and made again it is the same"


def test_all_that_it_installs_is_pinned_by_hash() -> None:
    for uv in (True, False):
        entries = [line for line in bundle._lock(uv=uv).decode().splitlines() if line and line[0] not in " #"]
        assert entries
        assert all("==" in entry and entry.endswith("\\") for entry in entries)
        assert any(entry.startswith("uv==") for entry in entries) is uv


def test_the_wheel_installs_and_is_the_lofty_of_here(tmp_path: Path) -> None:
    name, content = bundle.wheel()
    assert bundle.wheel() == (name, content)
    wheel = tmp_path / name
    wheel.write_bytes(content)
    target = tmp_path / "target"
    words: list[str | Path] = [find_uv(), "pip", "install", "-q", "--no-deps", "--no-index", "--target", target, wheel]
    subprocess.run(words, check=True, timeout=60)
    ask = "import sys, lofty.boot.bundle as b; sys.stdout.write(b.wheel()[0] + b.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", ask], env={"PYTHONPATH": str(target)}, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == f"{name}{target}/lofty/boot/bundle.py", done.stderr
    with zipfile.ZipFile(wheel) as archive:
        assert not [path for path in archive.namelist() if "__pycache__" in path]
        assert "lofty/jupyter/requirements.lock" in archive.namelist()


def test_without_a_network_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "empty"))
    with pytest.raises(EnvironmentFailed) as caught:
        bundle.bundle(tmp_path / "cache", "arm64")
    assert "UV_DEFAULT_INDEX" in (caught.value.hint or "")
    assert not [path for path in (tmp_path / "cache" / "bundles").iterdir() if path.suffix == ".tgz"]


def test_user_data_fits_and_too_much_is_refused() -> None:
    names = ("region", "bucket", "endpoint", "agent", "sha256", "store", "task", "name", "user", "index")
    text = user_data(dict.fromkeys(names, "x" * 60))
    assert len(text.encode()) <= LIMIT
    compile(text, "user-data", "exec")
    with pytest.raises(ValueError, match="more than"):
        user_data({"region": "x" * LIMIT})
