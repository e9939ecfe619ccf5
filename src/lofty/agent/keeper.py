"""What happens when the agent itself is killed: a second small process that outlives it, ends what it left running
and says so in the store. Without it Jupyter would go on, holding its port, with nobody to watch the deadline."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import NamedTuple

from ..model.state import ALIVE
from ..store.base import Store
from ..store.records import Records
from .order import Order
from .processes import kill_tagged

IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Keeper(NamedTuple):
    """The agent's end of the pipe that tells whether it lives."""

    pid: int
    pipe: int

    def dismiss(self) -> None:
        """The agent ends in good order; there is nothing to clean up."""
        with suppress(OSError):  # it may have been killed before us
            os.write(self.pipe, b"x")
        os.close(self.pipe)
        with suppress(OSError):
            os.waitpid(self.pid, 0)


def start(order: Order, run: Path) -> Keeper:
    """Fork the keeper off. Must be called before any thread is started and before the store is used."""
    receive, send = os.pipe()
    # Held back until the keeper ignores them: what asks the agent to end must not end its keeper first.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, IGNORED)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(receive)
        return Keeper(pid, send)
    status = 1
    try:
        os.close(send)
        os.setsid()
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if not os.read(receive, 1):
            _clean_up(order, run)
        status = 0
    finally:
        os._exit(status)


def _clean_up(order: Order, run: Path) -> None:
    kill_tagged(order.store, order.machine)
    rmtree(run, ignore_errors=True)
    records = Records(Store(order.store))
    spec, machine = records.spec(), records.machine(order.machine)
    missing = ""
    if spec is not None and not spec.workdir and Path(order.workdir).is_dir():
        from .mirror import LAST_SECONDS, Mirror  # here: the keeper itself stays small

        missing = Mirror(order, spec, say=lambda _: None).leave(LAST_SECONDS)
    if machine is not None and machine.state in ALIVE:
        machine.unsaved = missing
        machine.state, machine.reason = "lost", "its agent was killed; what it had started was ended"
        machine.ended = time.time()
        records.put_machine(machine)
