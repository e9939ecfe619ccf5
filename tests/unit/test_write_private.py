"""Files that are replaced in one step, whoever else does the same."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lofty.agent.paths import write_private


def test_several_at_once_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "known_hosts"
    texts = [bytes([65 + number]) * 4096 for number in range(8)]
    with ThreadPoolExecutor(len(texts)) as pool:
        for _ in range(50):
            list(pool.map(lambda text: write_private(path, text), texts))
            assert path.read_bytes() in texts
    assert list(tmp_path.iterdir()) == [path]


def test_it_is_private_and_a_failure_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    write_private(path, b"old")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_private(path, b"new")
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"old", [path])
