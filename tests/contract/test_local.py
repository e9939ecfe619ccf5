"""This computer keeps the contract, with real agents and real processes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lofty.agent import processes
from lofty.drivers.base import Settings
from lofty.drivers.local.driver import LocalDriver
from lofty.model.state import Handle
from lofty.testing import DriverContract

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
