"""The agent's life: make ready, start, watch, end, report. Whatever happens, the last word is written."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from shutil import rmtree

import msgspec
import psutil

from ..errors import LoftyError
from ..model.spec import Process, TaskSpec
from ..model.state import Event, Machine, Stage, State
from ..model.units import clock
from ..store.base import Store
from ..store.files import pull, push
from ..store.records import Records
from . import child, environment, keeper, paths, recipe
from .idle import Activity, Worked, last_active
from .log import Log
from .order import Order
from .probe import fetch
from .processes import TASK_TAG, kill_tagged, tagged


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds between looks. On a disk a look is free; in a cloud each is a request that somebody pays."""

    log: float
    control: float
    deadline: float
    heartbeat: float
    idle: float


HERE = Pace(log=0.1, control=0.25, deadline=1.0, heartbeat=5.0, idle=5.0)
CLOUD = Pace(log=2.0, control=0.25, deadline=30.0, heartbeat=60.0, idle=10.0)

RESTARTS, RESTART_WINDOW = 3, 600.0
"""A server that dies is started again, but not for ever: so often within so many seconds."""


PROBE_SECONDS = 0.02
START_SECONDS = 300.0
"""A server that does not answer by then is taken for dead: a cold disk and a first start need one tenth of it."""


class End(msgspec.Struct, frozen=True):
    """How the machine's work came to its end."""

    state: State
    reason: str = ""
    exit_code: int | None = None
    error: str = ""


class Agent:
    """One machine of a task."""

    def __init__(self, order: Order, records: Records, spec: TaskSpec, machine: Machine, run: Path) -> None:
        self._order, self._records, self._spec, self._machine = order, records, spec, machine
        self._cache, self._run_folder = Path(order.cache), run
        self._pace = HERE if records.store.root is not None else CLOUD
        self._log = Log(records.store, machine.id)
        self._children: dict[str, child.Child] = {}
        self._ready: dict[str, asyncio.Event] = {p.name: asyncio.Event() for p in spec.processes}
        self._end: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._active = time.time()
        self._token = records.secret("token") or ""
        self._places: recipe.Places | None = None

    # --- the whole life ---------------------------------------------------------------------------------------

    async def live(self, watch: keeper.Keeper) -> None:
        """From start to last word."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.finish, End("stopped"))
        watchers = [self._ship_log(), self._control(), self._heartbeat(), self._watch_idle(), self._work()]
        tasks = [asyncio.create_task(self._guarded(watcher)) for watcher in watchers]
        end = await self._end
        self._machine.state, self._machine.reason = "stopping", end.reason
        self._save()
        for task in tasks[1:]:  # the log goes on being shipped
            task.cancel()
        await asyncio.gather(*tasks[1:], return_exceptions=True)
        codes = await asyncio.gather(*(one.end() for one in self._children.values()))
        if end.exit_code is None and self._spec.kind == "job" and codes:
            end = msgspec.structs.replace(end, exit_code=codes[0])
        kill_tagged(self._spec.id, self._machine.id, spare=(watch.pid,))
        if not self._spec.workdir:
            end = await self._bring_back(end)
        tasks[0].cancel()
        await asyncio.gather(tasks[0], return_exceptions=True)
        self._log.settle()
        self._log.flush()
        watch.dismiss()
        rmtree(self._run_folder, ignore_errors=True)
        self._last_word(end)

    def finish(self, end: End) -> None:
        """Begin the end; only the first reason counts."""
        if not self._end.done():
            self._end.set_result(end)

    async def _guarded(self, work: object) -> None:
        """Whatever breaks in the agent itself ends the task with a reason, instead of leaving it half alive."""
        try:
            await work  # type: ignore[misc]  # every caller hands over a coroutine
        except LoftyError as error:
            self._log.say(f"error: {error}")
            self.finish(End("failed", str(error), error=error.kind))
        except Exception as error:
            import traceback

            traceback.print_exc()
            self.finish(End("failed", f"the agent broke: {error!r}", error="LoftyError"))

    def _last_word(self, end: End) -> None:
        machine = self._machine
        machine.state, machine.reason, machine.error = end.state, end.reason, end.error
        machine.exit_code, machine.ended = end.exit_code, time.time()
        machine.idle_at = None
        for attempt in range(50):
            try:
                self._records.put_machine(machine)
                break
            except LoftyError as error:  # a full disk may have room again in a moment
                sys.stderr.write(f"last word, attempt {attempt}: {error}\n")
                time.sleep(0.2)

    # --- getting ready and working ----------------------------------------------------------------------------

    async def _work(self) -> None:
        await self._prepare()
        running = [asyncio.create_task(self._guarded(self._run(process))) for process in self._spec.processes]
        try:
            await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()

    async def _prepare(self) -> None:
        spec = self._spec
        workdir = Path(spec.workdir or self._order.workdir)
        if not spec.workdir:
            self._stage("files")
            report = await asyncio.to_thread(pull, self._records.store, workdir, None)
            self._stage_note(f"{report.written} files")
        if not workdir.is_dir():
            raise LoftyError(f"{workdir} is not there any more", hint=f"lofty down {spec.name}")
        self._stage("environment")
        key = spec.source or spec.id
        lofty = recipe.PACKAGE
        lock = lofty / (spec.tools or "jupyter/requirements.lock")
        constraint = await asyncio.to_thread(_without_hashes, lock, self._run_folder)
        tools, user = await asyncio.gather(
            environment.make_tools(lock, self._cache) if spec.tools else _nothing(),
            environment.make_user(
                workdir, self._cache, key, active=spec.python, kernel=spec.kernel, constraint=constraint
            ),
        )
        for note in user.notes:
            self._note(note)
        self._stage_note(user.label)
        self._places = recipe.Places(
            tools=tools or user.python,
            user=user,
            workdir=workdir,
            run=self._run_folder,
            state=Path(self._order.state),
        )
        recipe.lay_out(self._places, spec, self._token)
        self._write_facts()

    async def _run(self, process: Process) -> None:
        assert self._places is not None
        if process.after:
            await self._ready[process.after].wait()
        argv, env = recipe.command(process, self._spec, self._machine, self._places)
        main = process is self._spec.processes[0]
        if main:
            self._stage(process.name)
        deaths: list[float] = []
        while True:
            code = await self._run_once(process, argv, env, main=main)
            if not process.restart:
                if main:
                    self.finish(_job_end(code))
                return
            deaths = [moment for moment in deaths if moment > time.time() - RESTART_WINDOW] + [time.time()]
            if len(deaths) > RESTARTS or (main and not self._ready[process.name].is_set()):
                if main:
                    self.finish(End("failed", f"{process.name} ended with exit code {code}", error="TaskFailed"))
                return
            self._happened(f"{process.name}-died", f"{process.name} ended with exit code {code}; started again")
            await asyncio.sleep(0.2 * 2 ** len(deaths))

    async def _run_once(self, process: Process, argv: list[str], env: dict[str, str], *, main: bool) -> int:
        assert self._places is not None
        try:
            one = await child.start(argv, env, self._places.workdir, self._log.feed)
        except OSError as error:
            self._log.say(f"{process.name}: {argv[0]}: {error.strerror}")
            return 126 if isinstance(error, PermissionError) else 127
        self._children[process.name] = one
        try:
            waiting = asyncio.create_task(self._await_ready(process, one, main=main))
            code = await one.wait()
            waiting.cancel()
        finally:
            if not self._end.done():
                self._children.pop(process.name, None)
        if main and process.restart:
            self._machine.state = "starting"
            self._save()
        return code

    async def _await_ready(self, process: Process, one: child.Child, *, main: bool) -> None:
        if process.ready:
            path = process.ready.replace("{name}", self._spec.name)
            limit = time.time() + START_SECONDS
            while await asyncio.to_thread(fetch, self._spec.port, path, self._token) is None:
                if time.time() > limit:
                    self._log.say(f"{process.name} did not answer within {clock(START_SECONDS)}")
                    await one.end()
                    return
                await asyncio.sleep(PROBE_SECONDS)
        self._ready[process.name].set()
        if main and not self._end.done():
            self._end_stage()
            self._machine.state = "running"
            self._active = time.time()
            self._save()
            self._afterwards = asyncio.create_task(self._guarded(self._after_ready()))

    async def _after_ready(self) -> None:
        """What a person need not wait for."""
        assert self._places is not None
        python = self._places.user.python
        try:
            found = await environment.installed(python, self._places.workdir)
        except LoftyError as error:
            self._log.say(f"what is installed could not be listed: {error}")
            return
        self._records.store.put(f"machines/{self._machine.id}/environment.txt", found.encode())
        await recipe.compile_tools(self._places)

    # --- watching ---------------------------------------------------------------------------------------------

    async def _ship_log(self) -> None:
        tick = 0
        while True:
            await asyncio.sleep(self._pace.log)
            tick += 1
            if tick % 3 == 0:
                self._log.settle()
            if self._log.dirty and not self._log.flush():
                await asyncio.sleep(1.0)

    async def _control(self) -> None:
        """The person's wishes (a file from the panel), the deadline, the cloud's notice."""
        stop, since = self._run_folder / "stop", self._pace.deadline
        while True:
            if stop.exists():
                self.finish(End("stopped", "stopped from the panel"))
            since += self._pace.control
            if since >= self._pace.deadline:
                since = 0.0
                deadline = self._records.deadline()
                if deadline != self._machine.deadline:
                    self._machine.deadline = deadline
                    self._save()
            if self._machine.deadline is not None and time.time() >= self._machine.deadline:
                self.finish(_limit(self._spec, "the deadline was reached"))
            await asyncio.sleep(self._pace.control)

    async def _heartbeat(self) -> None:
        while True:
            self._save()
            await asyncio.sleep(self._pace.heartbeat)

    async def _watch_idle(self) -> None:
        if self._spec.idle is None or self._spec.kind != "workspace":
            return
        main = self._spec.processes[0]
        await self._ready[main.name].wait()
        worked = Worked()
        while True:
            await asyncio.sleep(min(self._pace.idle, self._spec.idle / 4))
            now = time.time()
            seen = await asyncio.to_thread(self._activity)
            spare = {one.pid for one in self._children.values()}
            others = await asyncio.to_thread(lambda: list(tagged(self._spec.id, self._machine.id, spare)))
            self._active = last_active(seen, worked=worked.look(others, now), before=self._active, now=now)
            self._machine.idle_at = self._active + self._spec.idle
            self._write_facts()
            if now >= self._machine.idle_at:
                self.finish(End("stopped", f"idle for {clock(self._spec.idle)}"))

    def _activity(self) -> Activity:
        raw = fetch(self._spec.port, f"/{self._spec.name}/lofty/api/activity", self._token)
        try:
            return msgspec.json.decode(raw, type=Activity) if raw else Activity()
        except msgspec.MsgspecError:
            return Activity()

    # --- saying -----------------------------------------------------------------------------------------------

    def _stage(self, name: str) -> None:
        self._end_stage()
        self._machine.stages.append(Stage(name=name, started=time.time()))
        self._save()

    def _end_stage(self) -> None:
        if self._machine.stages and self._machine.stages[-1].ended is None:
            self._machine.stages[-1].ended = time.time()

    def _stage_note(self, note: str) -> None:
        self._machine.stages[-1].note = note

    def _note(self, text: str) -> None:
        self._machine.notes.append(text)
        self._log.say(text)

    def _happened(self, code: str, text: str) -> None:
        self._log.say(text)
        try:
            self._records.add_event(Event(time=time.time(), code=code, text=text))
        except LoftyError as error:
            sys.stderr.write(f"event: {error}\n")

    def _save(self) -> None:
        self._machine.heartbeat = time.time()
        try:
            self._records.put_machine(self._machine)
            self._write_facts()
        except (LoftyError, OSError) as error:
            # A full disk must not end the work; the next heartbeat tries again.
            sys.stderr.write(f"status: {error}\n")

    def _write_facts(self) -> None:
        price = self._spec.price.usd_per_hour if self._spec.price else 0.0
        facts = {
            "name": self._spec.name,
            "state": self._machine.state,
            "deadline": self._machine.deadline,
            "idle_at": self._machine.idle_at,
            "price_per_hour": price,
            "cost": price * (time.time() - (self._machine.started or time.time())) / 3600,
            "message": self._machine.reason or None,
            "updated": time.time(),
        }
        paths.write_private(self._run_folder / "facts.json", msgspec.json.encode(facts))

    async def _bring_back(self, end: End) -> End:
        assert self._spec.workdir == ""
        if self._places is None:
            return end
        try:
            await asyncio.to_thread(push, self._places.workdir, self._records.store, self._spec.exclude)
        except LoftyError as error:
            self._log.say(f"files could not be brought into the store: {error}")
            return msgspec.structs.replace(end, reason=f"{end.reason}; files were not brought: {error}".strip("; "))
        return end


def _job_end(code: int) -> End:
    return End("succeeded" if code == 0 else "failed", "" if code == 0 else f"exit code {code}", code)


def _limit(spec: TaskSpec, reason: str) -> End:
    """A workspace that reaches its limit has stopped, and can be started again; a job has failed."""
    return End("stopped" if spec.kind == "workspace" else "failed", reason, error="LimitReached")


async def _nothing() -> None:
    return None


def _without_hashes(lock: Path, folder: Path) -> Path:
    """A lock as a constraints file: with hashes in it, uv would demand them for the user's packages too."""
    lines = [line.partition("\\")[0] for line in lock.read_text().splitlines() if "==" in line.split("#")[0]]
    target = folder / "constraints.txt"
    target.write_text("\n".join(lines))
    return target


def run(order_text: str) -> None:
    """Be the agent; returns never."""
    order = msgspec.json.decode(order_text, type=Order)
    folder = paths.make_run_folder(order.machine)
    watch = keeper.start(order.store, os.environ[TASK_TAG], order.machine, folder)
    records = Records(Store(order.store))
    spec, machine = records.spec(), records.machine(order.machine)
    if spec is None or machine is None:
        sys.stderr.write(f"{order.store} holds no task with a machine {order.machine}\n")
        watch.dismiss()
        rmtree(folder, ignore_errors=True)
        sys.exit(1)
    machine.pid, machine.birth, machine.run = os.getpid(), psutil.Process().create_time(), str(folder)
    records.put_machine(machine)

    async def live() -> None:
        await Agent(order, records, spec, machine, folder).live(watch)

    asyncio.run(live())
    sys.stderr.flush()
    os._exit(0)  # the last word is written: nothing may delay the end of the process
