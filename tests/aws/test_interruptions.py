"""Machines that are taken away under a job that writes, with a notice and without: what was acknowledged is there, and
the job comes to its end."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.cloudbox.cloud import Cloudbox
from tests.cloudbox.network import GATEWAY
from tests.conftest import Lofty, eventually

INTERRUPTIONS = 100 if os.environ.get("LOFTY_CAMPAIGN") == "1" else 1
"""One with a notice in `make test`: without one, a lease has to run out first, as in the browser's test."""
SIDE_BY_SIDE = 4
"""Tasks at once in the whole campaign: what takes long is that a lease runs out."""
NOTICE_SECONDS = 30.0 if INTERRUPTIONS > 1 else 20.0
"""The shortest of any cloud is 30, AWS gives 120; `make test` gives less, and waits less for the next machine."""
LOST_SECONDS = 3.0
"""What may be missing after a machine that went without a word."""

pytestmark = [
    pytest.mark.cloudbox,
    pytest.mark.campaign,
    pytest.mark.timeout(400 if INTERRUPTIONS == 1 else 5 * 3600),
]

WRITER = """
import os, socket, sys, time, uuid
host, port, enough = sys.argv[1], int(sys.argv[2]), "enough.txt"
witness = socket.create_connection((host, port), timeout=30)
lines = open("lines.txt", "a+b")
lines.seek(0)
number = len(lines.read().splitlines())
name, start = os.environ["LOFTY_TASK"], uuid.uuid4().hex[:8]
while not os.path.exists(enough):
    lines.write(f"{number} {start}\\n".encode())
    lines.flush()
    os.fsync(lines.fileno())
    witness.sendall(f"{name} {number} {start}\\n".encode())
    number += 1
    time.sleep(0.05)
print(f"written {number}")
"""


class Line(NamedTuple):
    """A line that was on the machine's disk."""

    text: str
    time: float


class Witness:
    """Hears of each line after it was written through to the disk."""

    def __init__(self) -> None:
        self._server = socket.create_server((GATEWAY, 0))
        self.port: int = self._server.getsockname()[1]
        self._lines: dict[str, list[Line]] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._listen, args=(connection,), daemon=True).start()

    def _listen(self, connection: socket.socket) -> None:
        with connection, connection.makefile() as stream:
            try:
                for line in stream:
                    task, _, text = line.rstrip("\n").partition(" ")
                    with self._lock:
                        self._lines.setdefault(task, []).append(Line(text, time.time()))
            except OSError:
                return

    def lines(self, task: str) -> list[Line]:
        """Everything that a task acknowledged."""
        with self._lock:
            return list(self._lines.get(task, []))

    def close(self) -> None:
        """Hear no more."""
        self._server.close()


@contextmanager
def witnessed() -> Iterator[Witness]:
    """A witness in the network of the machines."""
    with closing(Witness()) as witness:
        yield witness


class Struck(NamedTuple):
    """One interruption."""

    notice: bool
    time: float
    before: list[Line]
    """What had been acknowledged when another machine began to write."""
    taken_up: float
    """Seconds until then."""
    lost: float = 0.0
    """Seconds of work that were lost."""


def test_no_line_is_lost_that_was_acknowledged(cloud: Cloudbox, person: Lofty, tmp_path: Path) -> None:
    share = [INTERRUPTIONS] if INTERRUPTIONS == 1 else [INTERRUPTIONS // SIDE_BY_SIDE] * SIDE_BY_SIDE
    outcomes: list[str | list[Struck]] = [""] * len(share)

    def one(number: int, count: int) -> None:
        try:
            with cloud.inside():
                outcomes[number] = campaign(cloud, person, witness, tmp_path / f"job{number}", count, seed + number)
        except BaseException as error:
            outcomes[number] = repr(error)

    seed = int(os.environ.get("LOFTY_SEED", time.time()))
    print(f"LOFTY_SEED={seed}")
    with witnessed() as witness:
        threads = [threading.Thread(target=one, args=(number, count)) for number, count in enumerate(share)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [outcome for outcome in outcomes if isinstance(outcome, str)] == []
    for notice in (True, False) if INTERRUPTIONS > 1 else (True,):
        struck = [one for outcome in outcomes for one in outcome if isinstance(one, Struck) and one.notice is notice]
        pauses, lost = sorted(one.taken_up for one in struck), max(one.lost for one in struck)
        half = pauses[len(pauses) // 2]
        print(f"notice={notice}: {len(struck)}; half work again within {half:.0f} s; at most {lost:.1f} s lost")


def campaign(cloud: Cloudbox, person: Lofty, witness: Witness, folder: Path, count: int, seed: int) -> list[Struck]:
    """One task, struck so many times; AssertionError where a line is missing or it does not come to its end."""
    dice = random.Random(seed)
    folder.mkdir()
    (folder / "writer.py").write_text(WRITER)
    words = ("run", folder / "writer.py", "--workdir", folder, "--spot", "-d", "--json", "--name", folder.name)
    made = person.ok(*words, "--", GATEWAY, str(witness.port), timeout=300).json()
    task = made["id"]
    eventually(lambda: witness.lines(task), 60)
    kinds = [number % 2 == 0 for number in range(count)]
    dice.shuffle(kinds)
    struck: list[Struck] = []
    for notice in kinds:
        time.sleep(dice.uniform(0.5, 20.0 if count > 1 else 6.0))
        struck.append(strike(cloud, witness, task, notice=notice))
    (folder / "enough.txt").write_text("")
    person.ok("push", folder.name, timeout=60)
    done = person("logs", "-f", folder.name, timeout=120)
    assert "written" in done.out, done.err
    (seen,) = (one for one in person.ok("ls", "--json").json() if one["name"] == folder.name)
    assert seen["state"] == "succeeded", seen
    person.ok("down", folder.name, "-y", timeout=200)
    return check(struck, (folder / "lines.txt").read_text().splitlines())


def strike(cloud: Cloudbox, witness: Witness, task: str, *, notice: bool) -> Struck:
    """Take the machine that works, and wait until another one writes."""
    group = {one.id: one for one in cloud.machines(task) if one.state == "running"}
    (working,) = group
    machine, last = cloud.machine(working), witness.lines(task)[-1]
    now = time.time()
    if notice:
        machine.notice(NOTICE_SECONDS)
    else:
        machine.cut()
    start = last.text.split()[1]
    eventually(lambda: witness.lines(task)[-1].text.split()[1] != start, 300)
    lines = witness.lines(task)
    last_before = max(number for number, line in enumerate(lines) if line.text.split()[1] == start)
    return Struck(notice, now, lines[: last_before + 1], lines[last_before + 1].time - now)


def check(struck: list[Struck], kept: list[str]) -> list[Struck]:
    """Each line that is not there was written within the last seconds before a machine went without a word."""
    assert [int(line.split()[0]) for line in kept] == list(range(len(kept))), "no gap, no line twice"
    assert kept
    judged, weighed = set(kept), []
    for one in struck:
        missing = [line for line in one.before if line.text not in judged]
        assert not (one.notice and missing), f"{len(missing)} lines lost although there was a notice"
        lost = max((one.time - line.time for line in missing), default=0.0)
        assert lost <= LOST_SECONDS, f"{lost:.1f} s lost"
        judged |= {line.text for line in missing}
        weighed.append(one._replace(lost=lost))
    return weighed
