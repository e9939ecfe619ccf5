"""`lofty sync`, `history`, `restore`, `push`, `pull` as they are typed and mistyped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ..conftest import Lofty, eventually
from ..stores.s3 import S3
from .conftest import Person


@pytest.fixture
def there(tmp_path: Path) -> str:
    return (tmp_path / "there").as_uri()


def test_there_and_back(person: Person, there: str, tmp_path: Path) -> None:
    first = person.lofty.ok("sync", person.folder, there)
    assert "4 files sent" in first.err
    assert "version 1" in first.err
    assert first.out == ""
    assert "both sides are alike" in person.lofty.ok("sync", person.folder, there).err
    report = person.lofty.ok("sync", tmp_path / "copy", there, "--json").json()
    assert (report["brought"], report["version"], report["skipped"]) == (4, 1, {})
    (tmp_path / "copy/data.csv").write_text("changed")
    (tmp_path / "copy/train.py").unlink()
    assert "1 file sent" in person.lofty.ok("sync", tmp_path / "copy", there).err
    (person.folder / "broken.ipynb").unlink()
    pulled = person.lofty.ok("sync", person.folder, there, "--pull").err
    assert "1 deleted here" in pulled
    assert (person.folder / "broken.ipynb").exists(), "what is missing here is restored"
    assert (person.folder / "data.csv").read_text() == "changed"
    table = person.lofty.ok("history", there).out.splitlines()
    assert table[0].split()[:3] == ["VERSION", "TIME", "BY"]
    assert len(table) == 3
    assert all(len(line) < 80 for line in table)
    person.lofty.ok("restore", there, "--at", "1", "--to", tmp_path / "then", "--", "data.csv")
    assert [path.name for path in (tmp_path / "then").iterdir()] == ["data.csv"]
    assert (tmp_path / "then/data.csv").read_text() == "1,2\n"


def test_secrets_stay_and_are_named_once(person: Person, there: str) -> None:
    (person.folder / ".env").write_text("KEY=1")
    said = person.lofty.ok("sync", person.folder, there).err
    assert "look like secrets: .env" in said
    assert ".env" not in person.lofty.ok("sync", person.folder, there).err
    (person.folder / ".loftyignore").write_text("!.env\n")
    assert "2 files sent" in person.lofty.ok("sync", person.folder, there).err


def test_an_emptied_folder_empties_nothing(person: Person, there: str) -> None:
    person.lofty.ok("sync", person.folder, there)
    for path in person.folder.rglob("*"):
        if path.is_file():
            path.unlink()
    done = person.lofty("sync", person.folder, there)
    assert done.code == 1
    assert "--force" in done.err
    assert "4 files brought" in person.lofty.ok("sync", person.folder, there, "--pull").err


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_cannot_be_read_is_said_at_the_end(person: Person, there: str) -> None:
    (person.folder / "data.csv").chmod(0)
    done = person.lofty("sync", person.folder, there)
    (person.folder / "data.csv").chmod(0o644)
    assert done.code == 1
    assert "data.csv: Permission denied" in done.err
    assert "3 files sent" in done.err


def test_a_watch_in_json_lines(person: Person, there: str, tmp_path: Path) -> None:
    person.lofty.ok("sync", tmp_path / "copy", there)
    with person.lofty.popen("sync", person.folder, there, "--watch", "--json") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["sent"] == 4
        (person.folder / "new.txt").write_text("1")
        assert json.loads(process.stdout.readline())["sent"] == 1
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in out + err
    assert person.lofty.ok("sync", tmp_path / "copy", there, "--json").json()["brought"] == 5


def test_over_http_with_progress(person: Person, tmp_path: Path) -> None:
    (person.folder / "big.bin").write_bytes(os.urandom(20_000_000))
    with S3() as s3:
        person.lofty.environ.update(s3.environ)
        person.lofty.ok("sync", person.folder, f"{s3.url}/a b/ü")
        report = person.lofty.ok("sync", tmp_path / "copy", f"{s3.url}/a b/ü", "--json").json()
        assert report["brought"] == 5
        s3.expire()
        done = person.lofty("sync", tmp_path / "copy", f"{s3.url}/a b/ü")
        assert done.code == 3
        assert "try: " in done.err
        assert s3.environ["AWS_SECRET_ACCESS_KEY"] not in done.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("sync",), 2, "DIR"),
        (("sync", "."), 2, "URL"),
        (("sync", ".", "s3://"), 2, "names no bucket"),
        (("sync", ".", "ftp://x/y"), 2, "not a store that lofty knows"),
        (("sync", ".", "x", "--push", "--watch"), 2, "goes both ways"),
        (("sync", "nowhere", "x", "--push"), 1, "is no folder"),
        (("sync", ".", "x", "--pul"), 2, "did you mean '--pull'"),
        (("history", "file:///nowhere/at/all"), 2, "no version yet"),
        (("restore", "file:///nowhere/at/all", "--at", "1"), 2, "where"),
        (("restore", "file:///nowhere/at/all", "--at", "noon", "--to", "x"), 2, "no point in time"),
        (("restore", "nobody", "--at", "1"), 2, "no task 'nobody'"),
        (("restore",), 2, "--at"),
        (("history", "a", "b"), 2, "stand behind --"),
        (("push", "nobody"), 2, "no task 'nobody'"),
    ],
)
def test_mistyped(person: Person, words: tuple[str, ...], code: int, says: str) -> None:
    person.refused(*words, code=code, says=says)


def test_in_a_terminal_the_transfer_is_drawn(lofty: Lofty, tmp_path: Path) -> None:
    import pty

    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "big").write_bytes(os.urandom(200_000_000))
    leader, follower = pty.openpty()
    words = [sys.executable, "-m", "lofty", "sync", str(folder), (tmp_path / "s").as_uri()]
    process = subprocess.Popen(words, env=lofty.environ, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    shown = b""
    while True:
        try:
            got = os.read(leader, 65536)
        except OSError:
            break
        if not got:
            break
        shown += got
    os.close(leader)
    assert process.wait(30) == 0
    assert b"sending 1 file" in shown
    assert b"MB/s" in shown or b"GB/s" in shown
    assert b"1 file sent (200 MB); version 1" in shown
    eventually(lambda: process.poll() is not None)
