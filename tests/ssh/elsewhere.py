"""A cloud for tests whose machines are reached over ssh: its records are files, so every process sees the same, and
where its machine is stands in `machine.json`, which the test replaces as a cloud replaces a machine. It imports as a
plugin, by an entry point of its own."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from lofty.drivers.base import Feature, Settings
from lofty.drivers.local.driver import LocalDriver
from lofty.errors import Unavailable
from lofty.model.state import ALIVE, Endpoint, Handle
from lofty.model.state import Machine as Status
from lofty.store.base import Store
from lofty.store.records import Records


class Elsewhere(LocalDriver):
    """Machines are what the test says."""

    name = "elsewhere"
    features: frozenset[Feature] = frozenset({"ssh", "parallelism"})

    def __init__(self, settings: Settings) -> None:
        self._place = Path(settings.home) / "elsewhere"
        super().__init__(msgspec.structs.replace(settings, home=str(self._place)))

    def scale(self, handle: Handle, machines: int, deadline: float | None) -> Handle:
        records = Records(Store(handle.store))
        for rank in range(machines):
            made = Status(id=f"0001.{rank}", rank=rank, state="running", started=time.time())
            if (self._place / "slow").exists():  # the test says when it is ready
                made.state, made.host_key = "starting", self._ends()[rank].host_key
            records.put_machine(made)
        for machine in records.machines() if machines == 0 else []:
            machine.state = "stopped"
            records.put_machine(machine)
        return handle

    def _truth(self, handle: Handle, machine: Status) -> Status:
        return machine

    def reach(self, handle: Handle, port: int, rank: int = 0) -> Endpoint:
        alive = any(machine.state in ALIVE for machine in self.observe(handle).machines)
        ends = self._ends()
        if not alive or rank >= len(ends):
            raise Unavailable("there is no machine yet", hint="lofty ls", retry_after=1)
        return ends[rank]

    def _ends(self) -> list[Endpoint]:
        try:
            return msgspec.json.decode((self._place / "machine.json").read_bytes(), type=list[Endpoint])
        except FileNotFoundError:
            return []
