"""The cloud in memory keeps the contract."""

from __future__ import annotations

import pytest

from lofty.drivers.base import Driver
from lofty.engine.clock import Clock
from lofty.model.spec import TaskSpec
from lofty.model.state import Handle
from lofty.testing import Cloud, DriverContract, FakeClock, FakeDriver, Script
from lofty.testing.contract import SAID


class TestFake(DriverContract):
    pace = 1.0
    patience = 200.0

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture(autouse=True)
    def cloud(self, clock: FakeClock) -> Cloud:
        self.account = Cloud(clock.now)
        self.account.script = Script(output=tuple((i * 0.7, f"{line}\n") for i, line in enumerate(SAID.splitlines())))
        return self.account

    @pytest.fixture
    def driver(self, cloud: Cloud) -> FakeDriver:
        return cloud.driver()

    @pytest.fixture
    def elsewhere(self, cloud: Cloud) -> FakeDriver:
        return cloud.driver()

    def server(self, driver: Driver, clock: Clock, name: str = "one") -> TaskSpec:
        self.account.script = Script(runs=None, output=((0.0, SAID),))
        return super().server(driver, clock, name)

    def running(self, handle: Handle) -> int:
        return len([one for one in self.account.left if one.startswith(f"machine {handle.id} ")])
