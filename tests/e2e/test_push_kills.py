"""A process that publishes a changing directory is killed with -9 at random moments: every HEAD that was ever seen
restores completely, numbers never go back, and the next process goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lofty.store import files
from lofty.store.base import Store
from lofty.store.files import Packed, history

KILLS = 200 if os.environ.get("LOFTY_CAMPAIGN") else 20

PUSHER = """
import os, random, sys
from pathlib import Path
from lofty.store import files
from lofty.store.base import Store
root, url, memory, seed = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
chance = random.Random(seed)
while True:
    for _ in range(chance.randrange(1, 6)):
        path = root / f"d{chance.randrange(4)}" / f"f{chance.randrange(12)}"
        path.parent.mkdir(exist_ok=True)
        if chance.random() < 0.15 and path.exists():
            path.unlink()
        else:
            large = 9_000_000 if chance.random() < 0.1 else 70
            path.write_bytes(os.urandom(chance.choice([0, 10, 5000, 300_000, large])))
    files.folder(root, Store(url), memory, side="a").sync(force=True)
    print("published", flush=True)
"""


@pytest.mark.campaign
@pytest.mark.timeout(900)
def test_every_head_restores_whatever_was_killed(tmp_path: Path) -> None:
    chance = random.Random(20261124)
    root, store = tmp_path / "root", Store((tmp_path / "store").as_uri())
    root.mkdir()
    versions, newest = Packed(store).versions, 0
    seen: dict[str, dict[str, bytes]] = {}
    for number in range(KILLS):
        words = [sys.executable, "-c", PUSHER, str(root), store.url, str(tmp_path / "memory.db"), str(number)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"published\n", process.stderr and process.stderr.read()
            time.sleep(chance.random() * 0.12)
            process.send_signal(signal.SIGKILL)
            process.wait()
        view = versions.look()
        assert view is not None
        now = int(view.head.version.partition("-")[0])
        assert now > newest, "what was said to be published is there"
        newest = now
        seen[view.head.version] = whole(store, view.head.version)
        copy = tmp_path / f"copy{number}"
        report = files.folder(copy, store, tmp_path / f"copy{number}.db", side="b").sync("pull")
        assert not report.skipped
        assert contents(copy) == seen[view.head.version]
    kept = {one.name for one in history.versions(versions)}
    assert len(kept & seen.keys()) > 3
    for name in kept & seen.keys():
        assert whole(store, name) == seen[name]
    files.folder(root, store, tmp_path / "memory.db", side="a").sync(force=True)
    last = versions.look()
    assert last is not None
    assert whole(store, last.head.version) == contents(root)
    assert not list(root.rglob(".lofty-*"))


def whole(store: Store, name: str) -> dict[str, bytes]:
    """Every file of a version, checked against its hash."""
    layout = Packed(store)
    rows = [row for row in layout.versions.rows(layout.versions.manifest(name)) if not row.path.endswith(b"/")]
    found = {row.name: layout.content(row) for row in rows}
    assert None not in found.values(), {path for path, content in found.items() if content is None}
    return {path: content for path, content in found.items() if content is not None}


def contents(root: Path) -> dict[str, bytes]:
    """What a directory holds."""
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
