"""This computer keeps the contract, with real agents and real processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lofty.agent import processes
from lofty.drivers.base import Settings
from lofty.drivers.local.driver import LocalDriver
from lofty.model.state import Handle
from lofty.testing import DriverContract
from lofty.testing.contract import Make, RealClock

from ..conftest import CACHE, clean_environ


class TestLocal(DriverContract):
    @pytest.fixture
    def settings(self, tmp_path: Path) -> Iterator[Settings]:
        runtime = Path(tempfile.mkdtemp(prefix="lt-", dir="/tmp"))  # short: sockets lie in it
        home = tmp_path / "home"
        environ = {**clean_environ(home), "XDG_RUNTIME_DIR": str(runtime)}
        yield Settings(home=str(home), cache=str(CACHE / "lofty"), environ=environ)
        left = list(runtime.iterdir())
        shutil.rmtree(runtime)
        assert not left

    @pytest.fixture
    def driver(self, settings: Settings) -> LocalDriver:
        return LocalDriver(settings)

    @pytest.fixture
    def elsewhere(self, settings: Settings) -> LocalDriver:
        return LocalDriver(settings)

    def running(self, handle: Handle) -> int:
        return len(list(processes.tagged(handle.store)))

    def test_a_start_clears_away_what_is_left_and_not_what_starts_at_this_moment(
        self, driver: LocalDriver, make: Make
    ) -> None:
        """Two terminals may start one task together: neither takes the other's machine for remains."""
        clock = RealClock()
        planned = make(self.job(driver, clock))
        remains, other = (
            subprocess.Popen(
                ["sleep", "600"],
                env={**os.environ, processes.TASK_TAG: planned.handle.store, processes.MACHINE_TAG: machine},
            )
            for machine in ("0000.0", "0001.1")
        )
        try:
            driver.scale(planned.handle, 1, None)
            remains.wait(5)  # its code went to whoever waited first
            self.until(driver, planned, clock, "succeeded")
            assert other.poll() is None
        finally:
            for process in (remains, other):
                process.kill()
                process.wait()
