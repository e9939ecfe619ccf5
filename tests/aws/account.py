"""A person's side of an account on the API alone: several computers that share nothing but the account."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest
from botocore.loaders import Loader

from lofty.api import Client
from lofty.boot import bundle
from lofty.drivers.aws.place import Place
from lofty.drivers.aws.session import Clients
from lofty.model.state import Machine
from lofty.store.base import Store
from lofty.store.states import LEASE_SECONDS, Lease, Shown, lease_key
from lofty.task import Task
from lofty.testing import FakeClock
from tests.cloudbox.api import Call
from tests.cloudbox.cloud import Cloudbox
from tests.cloudbox.protocol import Lost

_LOADER = Loader(extra_search_paths=[str(Path(boto3.__file__).parent / "data")])
NAME = "one"
PORT = 18_765


class Clock(FakeClock):
    """Nobody waits for long, but the cloud, which lives in real time, gets on a little."""

    def __init__(self) -> None:
        super().__init__(time.time())

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        time.sleep(min(0.04, seconds / 10))


def hurry(cloud: Cloudbox) -> None:
    """Everything takes effect at once; what does not is the subject of tests of its own."""
    for name in ("pending", "shutting_down", "launch_delay", "group_delete", "invisible"):
        setattr(cloud.rules, name, 0.0)


class Account:
    """One person's; every `computer` is a new one."""

    def __init__(self, cloud: Cloudbox, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cloud, self._root, self._patch = cloud, root, monkeypatch
        self._numbers = iter(range(1, 100_000))
        self.environ: dict[str, str] = {}
        """Of the newest computer."""
        self.work = root / "work"
        self.work.mkdir(exist_ok=True)
        (self.work / "data.txt").write_text("1\n")
        self.cache = root / "cache"
        pinned = hashlib.sha256(bundle._lock(uv=True)).hexdigest()[:16]
        (self.cache / "bundles").mkdir(parents=True, exist_ok=True)
        for arch in bundle.PLATFORMS:
            (self.cache / "bundles" / f"uv-{arch}-{pinned}").write_bytes(b"not uv\n")
        monkeypatch.setattr(bundle, "wheel", functools.cache(bundle.wheel))
        monkeypatch.setattr("tests.cloudbox.cloud._TICK", 0.02)
        # The descriptions of services, which take most of the time of making a client, are read once.
        core = Clients._core.func  # type: ignore[attr-defined]

        def shared(self: Clients) -> Any:
            made = core(self)
            made.register_component("data_loader", _LOADER)
            return made

        replaced = functools.cached_property(shared)
        replaced.__set_name__(Clients, "_core")
        monkeypatch.setattr(Clients, "_core", replaced)
        # What a machine has to say, nobody says here: it was asked for, and that is all.
        monkeypatch.setattr(Task, "_await_up", lambda *_: None)
        monkeypatch.setattr(Task, "connect", lambda self, *_: self)
        monkeypatch.setenv("HOME", str(root))

    def computer(self, **environ: str) -> Client:
        """lofty on a computer that has never seen the account. Its credentials are its own: see `dies`."""
        mine = self.cloud.session(3600) | {
            "HOME": str(self._root),
            "PATH": os.environ["PATH"],
            "LOFTY_HOME": str(self._root / f"home-{next(self._numbers)}"),
            "LOFTY_CACHE": str(self.cache),
            "LOFTY_OWNER": "ada",
            "LOFTY_ON": "aws",
        }
        mine |= environ
        for name, value in mine.items():
            if name.startswith("AWS_"):
                self._patch.setenv(name, value)  # the store's library reads them there
        self.environ = mine
        client = Client(mine)
        client.clock = Clock()
        return client

    def lab(self, client: Client | None = None, **options: Any) -> Task:
        """A workspace whose machine is asked for."""
        return (client or self.computer()).lab(
            self.work, **{"on": "aws", "name": NAME, "port": PORT, "timeout": 3600.0, "spot": True, **options}
        )

    def dies(self, call: Call) -> None:
        """Kill the computer that made this call: from now on nothing of what it does, its clearing up included, gets
        anywhere, and this call has no answer."""
        self.cloud.account.keys.forget(call.key)
        raise Lost

    def kill(self, number: int, *, after: bool = False) -> None:
        """`dies` at the n-th request from now."""
        self.cloud.at_call(number, self.dies, after=after)

    def leftovers(self) -> list[str]:
        """All that is left but the account's bucket and the agents in it."""
        return [one for one in self.cloud.leftovers() if not re.match(r"bucket |object [^/]+/agents/", one)]

    @contextmanager
    def noting(self) -> Iterator[list[Call]]:
        """The calls made meanwhile."""
        first, found = len(self.cloud.calls), list[Call]()
        yield found
        found += self.cloud.calls[first:]


def agent_says(task: Task, machine_id: str, **said: Any) -> Machine:
    """What the agent of a machine would: its word, and the lease that makes it the one of its rank."""
    now = time.time()
    fields = {"rank": int(machine_id[-1]), "started": now, "heartbeat": now, **said}
    machine = Machine(id=machine_id, **fields)
    task.records.put_machine(machine)
    shown = Store(Place.at(task.handle).states)
    lease = Lease(machine=machine.id, holder=machine.holder, until=now + LEASE_SECONDS)
    shown.put(lease_key(machine.rank), msgspec.json.encode(lease))
    Shown(shown, machine.rank).show(machine)
    return machine
