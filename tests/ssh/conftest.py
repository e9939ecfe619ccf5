"""Workspaces on machines that are reached over a real ssh server; without one the tests are skipped."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psutil
import pytest

from lofty.model import ids

from ..conftest import GUARD, Lofty, required
from ..e2e.conftest import lofty  # noqa: F401 (the fixture)
from .support import SSHD, Machine, Page


class Site:
    """A person's computer, and the cloud with the machines."""

    def __init__(self, command: Lofty, place: Path) -> None:
        self.lofty, self._place = command, place
        self.home = command.home
        self.machines: list[Machine] = []
        self.pages: list[Page] = []
        self._numbers = itertools.count()
        plugin = place / "plugin"
        (plugin / "lt_elsewhere-1.dist-info").mkdir(parents=True)
        (plugin / "lt_elsewhere-1.dist-info" / "METADATA").write_text("Name: lt_elsewhere\nVersion: 1\n")
        points = "[lofty.drivers]\nelsewhere = lt_elsewhere:Elsewhere\n"
        (plugin / "lt_elsewhere-1.dist-info" / "entry_points.txt").write_text(points)
        (plugin / "lt_elsewhere.py").write_text((Path(__file__).parent / "elsewhere.py").read_text())
        command.environ |= {"PYTHONPATH": f"{GUARD}{os.pathsep}{plugin}", "LOFTY_ON": "elsewhere"}
        self.folder = place / "project"
        self.folder.mkdir()
        (self.home / "elsewhere").mkdir(parents=True)

    def page(self, name: str) -> Page:
        """A web server somewhere."""
        self.pages.append(Page(name))
        return self.pages[-1]

    def machine(self, name: str = "first", authorized: Path | None = None) -> Machine:
        """A new machine, which nobody knows of yet. It lets the task's key in, as soon as there is one."""
        folder = self._place / f"machine-{next(self._numbers)}"
        self.machines.append(Machine(folder, self.page(name), authorized or self.store / "private" / "ssh.pub"))
        return self.machines[-1]

    def publish(self, *ends: Any) -> None:
        """This is where the machines are now."""
        path = self.home / "elsewhere" / "machine.json"
        path.with_suffix(".part").write_bytes(msgspec.json.encode([getattr(end, "end", end) for end in ends]))
        path.with_suffix(".part").replace(path)

    def lab(self) -> tuple[Machine, int]:
        """A workspace on a first machine, and its port here."""
        machine = self.machine()
        self.publish(machine)
        url = self.lofty.ok("lab", self.folder, "-d", "--json").json()["url"]
        return machine, urlsplit(url).port or 0

    @property
    def task(self) -> str:
        """The identifier of the one task there is."""
        return ids.identifier(self.lofty.environ["LOFTY_OWNER"], "project")

    @property
    def store(self) -> Path:
        """Its records."""
        return self.home / "elsewhere" / "store" / self.task

    def processes(self, word: str) -> list[psutil.Process]:
        """What runs for this home, by a word of its command line."""
        return [one for one in self.lofty.processes() if word in one.cmdline()]

    def close(self) -> None:
        for machine in self.machines:
            machine.kill()
        for page in self.pages:
            page.close()


@pytest.fixture
def site(lofty: Lofty, tmp_path: Path) -> Iterator[Site]:  # noqa: F811
    """With blanks and a percent sign in its paths, as on macOS or worse."""
    if not SSHD.exists():
        (pytest.fail if required("sshd") else pytest.skip)("no ssh server here: apt-get install openssh-server")
    lofty.home = tmp_path / "my home 100%h"
    lofty.environ |= {"LOFTY_HOME": str(lofty.home), "LT_HOME": str(lofty.home)}
    made = Site(lofty, tmp_path)
    yield made
    made.close()
