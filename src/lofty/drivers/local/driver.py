"""This computer as a cloud: the store is a directory, a machine is an agent process of its own session."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from shutil import disk_usage, rmtree

import msgspec
import psutil

from ...agent import processes
from ...agent.order import Order
from ...errors import LoftyError, Stale, StoreError
from ...model.hardware import check_machine
from ...model.money import FREE
from ...model.spec import Need, TaskSpec
from ...model.state import (
    ALIVE,
    Cursor,
    Endpoint,
    Finding,
    Handle,
    LogLine,
    Machine,
    Observation,
    Offer,
    Record,
    combined,
    latest_start,
    machine_seconds,
)
from ...store.base import Store
from ...store.records import Records
from ..base import Feature, Resource, Settings

SPAWN_GRACE = 5.0
"""Seconds that a machine may be claimed and not yet have a process, while the interpreter starts."""
TERM_GRACE = 15.0
"""Seconds after which asking an agent to end turns into ending it; it needs at most 10 itself."""


class LocalDriver:
    """Machines are processes, the region is this computer, and everything is free."""

    name = "local"
    features: frozenset[Feature] = frozenset({"parallelism", "in-place"})

    def __init__(self, settings: Settings) -> None:
        self._home = Path(settings.home)
        self._cache = settings.cache
        self._environ = dict(settings.environ)

    def check(self) -> Sequence[Finding]:
        """Room on the disk, and uv."""
        from ...agent.uv import find_uv  # brings asyncio along, which no other verb needs

        found: list[Finding] = []
        place = next(p for p in (self._home, *self._home.parents) if p.exists())
        free = disk_usage(place).free / 2**30
        found.append(Finding(ok=free > 2, what=f"{free:.0f} GiB free for lofty in {place}", hint="free at least 2 GiB"))
        found.append(Finding(ok=os.access(place, os.W_OK), what=f"{place} can be written", hint="set LOFTY_HOME"))
        try:
            found.append(Finding(ok=True, what=f"uv at {find_uv()}"))
        except LoftyError as error:
            found.append(Finding(ok=False, what=str(error), hint=error.hint or ""))
        return found

    def offers(self, need: Need) -> Sequence[Offer]:
        """The one machine there is. What only a cloud can give is passed over with a note."""
        check_machine(need.machine)
        asked = {
            "--machine": need.machine,
            "--gpu": need.gpu,
            "--cpus": need.cpus,
            "--memory": need.memory,
            "--region": need.region,
            "--image": need.image,
            "--disk": need.disk,
            "--subnet": need.subnets,
            "--spot": need.spot,
            "--fallback": need.fallback,
            "--max-price": need.max_price,
        }
        passed = [option for option, value in asked.items() if value]
        verbs = "has no meaning and is" if len(passed) == 1 else "have no meaning and are"
        notes = (f"on this machine {', '.join(passed)} {verbs} passed over",) if passed else ()
        memory = psutil.virtual_memory().total / 2**30
        return [
            Offer(
                driver=self.name,
                region="here",
                machine="this-machine",
                cpus=float(os.cpu_count() or 1),
                memory=round(memory, 1),
                price=FREE,
                notes=notes,
            )
        ]

    def _handle(self, task_id: str) -> Handle:
        return Handle(driver=self.name, region="here", id=task_id, store=(self._stores / task_id).as_uri())

    @property
    def _stores(self) -> Path:
        return self._home / "store"

    def resources(self, task: TaskSpec, offer: Offer | None) -> Sequence[Resource]:
        """The store with the record in it, a directory of its own where one was asked for, and the processes."""
        own = [_Directory(self._home / "state" / task.id)]
        if not task.workdir:
            own.append(_OwnPlace(self._home / "work" / task.id, Path(self._cache)))
        return [_TaskStore(self._stores / task.id, task), *own, _Processes((self._stores / task.id).as_uri())]

    def find(self, owner: str) -> Sequence[Record]:
        """Tasks are the directories of the store."""
        if not self._stores.is_dir():
            return []
        found = []
        for path in sorted(self._stores.iterdir()):
            if path.name.startswith("."):
                continue
            try:
                spec = Records(Store(path.as_uri())).spec()
            except StoreError:
                spec = None  # still listed: what cannot be read can be taken down
            if spec is None or spec.owner == owner:
                found.append(Record(handle=self._handle(path.name), spec=spec))
        return found

    def observe(self, handle: Handle) -> Observation:
        """What the agents say, corrected by whether their processes live."""
        records = self._records(handle)
        if records is None or records.spec() is None:
            return Observation(state="gone")
        machines = [self._truth(handle, machine) for machine in records.machines()]
        newest = latest_start(machines)
        return Observation(
            state=combined(newest),
            machines=newest,
            events=records.events(),
            machine_seconds=machine_seconds(machines, time.time()),
            deadline=records.deadline(),
        )

    def _truth(self, handle: Handle, machine: Machine) -> Machine:
        if machine.state not in ALIVE or processes.alive(machine.pid, machine.birth):
            return machine
        if machine.pid is None and time.time() - (machine.started or 0) < SPAWN_GRACE:
            return machine  # claimed, and the interpreter is still starting
        last = self._records(handle)
        newer = last.machine(machine.id) if last else None
        if newer is not None and newer.state not in ALIVE:
            return newer  # it ended between the two looks
        machine.state = "lost"
        machine.reason = "its agent was killed" if machine.pid else "its agent never started"
        return machine

    def scale(self, handle: Handle, machines: int, deadline: float | None) -> Handle:
        """Start agents, or ask them to end; asked again after a while, ends them."""
        records = self._records(handle)
        if records is None:
            return handle
        known = [self._truth(handle, machine) for machine in records.machines()]
        present = latest_start(known)
        if machines == 0:
            self._end(handle, records, present)
            return handle
        records.put_deadline(deadline)
        if not any(machine.state in ALIVE for machine in present):
            number = int(present[0].id.partition(".")[0]) + 1 if present else 1
            # What a killed agent may have left; never what another process, doing the same at this moment, has just
            # started.
            _clear_away(handle.store, present, before=f"{number:04d}")
            for rank in range(machines):
                machine = Machine(id=f"{number:04d}.{rank}", rank=rank, state="starting", started=time.time())
                machine.seconds_before = machine_seconds([one for one in known if one.rank == rank], time.time())
                self._start(handle, records, machine)
        return handle

    def _start(self, handle: Handle, records: Records, machine: Machine) -> None:
        try:
            records.claim_machine(machine)
        except Stale:
            return  # another process starts the same machine at this moment: one is enough
        store = Path(records.store.root or self._home)
        errors = store / "machines" / machine.id / "agent.err"
        order = Order(
            store=handle.store,
            machine=machine.id,
            workdir=str(self._home / "work" / handle.id),
            state=str(self._home / "state" / handle.id),
            cache=self._cache,
            detach=True,
        )
        environ = {**self._environ, processes.TASK_TAG: handle.store, processes.MACHINE_TAG: machine.id}
        with errors.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "lofty.agent", msgspec.json.encode(order).decode()],
                cwd=store,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        process.wait()  # the agent forks away at once; what is waited for is the short-lived first process

    def _end(self, handle: Handle, records: Records, present: tuple[Machine, ...]) -> None:
        for machine in present:
            if machine.state in ALIVE and machine.pid is not None:
                asked = _asked(Path(records.store.root or self._home) / "machines" / machine.id / "asked-to-end")
                if asked > TERM_GRACE:
                    _clear_away(handle.store, [machine])
                    machine.state, machine.reason = (
                        "stopped",
                        "it did not end by itself and was ended by force",
                    )
                    machine.ended = time.time()
                    records.put_machine(machine)
                else:
                    _terminate(machine.pid)
        if not any(machine.state in ALIVE for machine in present):
            _clear_away(handle.store, present)
            for machine in present:
                if machine.state == "lost":
                    records.put_machine(machine)

    def logs(self, handle: Handle, cursor: Cursor) -> Iterator[tuple[LogLine, Cursor]]:
        """The segments that the agents write."""
        records = self._records(handle)
        if records is not None:
            yield from records.log(cursor)

    def reach(self, handle: Handle, port: int, rank: int = 0) -> Endpoint:
        """Straight: the machine is this computer and listens on loopback alone."""
        return Endpoint(how="loopback", host="127.0.0.1", port=port)

    def _records(self, handle: Handle) -> Records | None:
        if not (self._stores / handle.id).is_dir():
            return None
        return Records(Store(handle.store))


class _TaskStore:
    """The task's directory in the store; `task.json` is what makes it a task."""

    kind = "store"

    def __init__(self, path: Path, task: TaskSpec) -> None:
        self.name = path.as_uri()
        self._path, self._task = path, task

    def read(self) -> bool:
        return (self._path / "task.json").exists()

    def create(self) -> None:
        # Private from the first moment: tokens will lie in it.
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path.mkdir(exist_ok=True, mode=0o700)
        Records(Store(self._path.as_uri())).create_spec(self._task)

    def delete(self) -> None:
        Store(self._path.as_uri()).clear() if self._path.exists() else None


class _Directory:
    """A working directory of the task's own, filled from the store."""

    kind = "directory"

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def read(self) -> bool:
        return self._path.is_dir()

    def create(self) -> None:
        self._path.mkdir(parents=True, exist_ok=True, mode=0o700)

    def delete(self) -> None:
        rmtree(self._path, ignore_errors=True)


class _OwnPlace(_Directory):
    """The one that a task works in, with the environment that was made for nothing else."""

    def __init__(self, path: Path, cache: Path) -> None:
        super().__init__(path)
        self._cache = cache

    def delete(self) -> None:
        from ...agent import environment  # brings asyncio along, as above

        environment.remove(environment.user_folder(self._cache, str(self._path)))
        super().delete()


class _Processes:
    """Everything that runs for the task. Nothing runs before `scale`, so there is nothing to create."""

    kind = "processes"

    def __init__(self, store: str) -> None:
        self.name = store

    def read(self) -> bool:
        return next(processes.tagged(self.name), None) is not None

    def create(self) -> None:
        return

    def delete(self) -> None:
        processes.kill_tagged(self.name)
        with suppress(StoreError):  # a damaged record must not keep anything alive
            _clear_away(self.name, Records(Store(self.name)).machines())


def _clear_away(store: str, machines: Sequence[Machine], before: str = "") -> None:
    """End whatever still runs of a task that has no agent, and remove its short-lived directories."""
    processes.kill_tagged(store, before=before)
    for machine in machines:
        if Path(machine.run).name.startswith("lofty-"):
            rmtree(machine.run, ignore_errors=True)


def _asked(marker: Path) -> float:
    """Seconds since the first time this agent was asked to end; 0 the first time."""
    try:
        return time.time() - marker.stat().st_mtime
    except FileNotFoundError:
        marker.touch()
        return 0.0


def _terminate(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return  # it has ended by itself
