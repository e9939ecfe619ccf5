"""The agent's life: make ready, start, have it watched, end, report. Whatever happens, the last word is written."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import traceback
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import Any

import msgspec
import psutil

from ..drivers.base import MachineSide
from ..drivers.registry import load_machine
from ..errors import LoftyError, Stale
from ..model.spec import KERNEL, TUNNEL, Process, TaskSpec
from ..model.state import Machine, last_market
from ..model.units import clock
from ..store.base import Store
from ..store.files import Moved
from ..store.records import Records
from . import child, environment, keeper, pace, paths, recipe, warning
from .arrival import end_for_good, publish_host_key
from .claim import RENEW_SECONDS, Claim, resume
from .end import End, is_failure, of_job
from .hosts import address, hosts
from .log import Log
from .mirror import HURRIED_SECONDS, LAST_SECONDS, Mirror
from .order import Order
from .probe import fetch
from .processes import kill_tagged, tagged
from .report import Report
from .watching import Watching

HEARTBEAT_SECONDS = 5.0
"""Where no lease is renewed, which is a heartbeat too."""

RESTARTS, RESTART_WINDOW = 3, 600.0
"""A server that dies is started again, but not for ever: so often within so many seconds."""

PROBE_SECONDS = 0.02
START_SECONDS = 300.0
"""A server that does not answer by then is taken for dead: a cold disk and a first start need one tenth of it."""

UNFINISHED_SECONDS = 0.2
"""A prompt or a progress bar has no end of line; it is shown after so long."""
UNWRITABLE_SECONDS = 1.0
"""Between tries to write the log into a store that refuses it."""


class Agent:
    """One machine of a task."""

    def __init__(
        self, order: Order, records: Records, spec: TaskSpec, machine: Machine, run: Path, side: MachineSide
    ) -> None:
        self._order, self._records, self._spec, self._run_folder, self._side = order, records, spec, run, side
        self._pace = pace.of(records.store)
        self._output = asyncio.Event()
        self._log = Log(records.store, machine.id, self._output.set)
        self._claim = resume(Store(order.states), order.holder, machine) if order.holder else None
        show = self._claim.show if self._claim else _hidden
        self._report = Report(records, spec, machine, run, self._log, show)
        self._machine = machine
        self._token = records.secret("token") or ""
        self._secrets = msgspec.json.decode(records.secret("env") or "{}", type=dict[str, str])
        self._children: dict[str, child.Child] = {}
        self._ready: dict[str, asyncio.Event] = {p.name: asyncio.Event() for p in spec.processes}
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[End] = self._loop.create_future()
        self._tasks: list[asyncio.Task[None]] = []
        self._watching = Watching(spec, records, self._report, run, self._pace, self._finish)
        self._mirror: Mirror | None = None
        if not spec.workdir:
            self._mirror = Mirror(order, spec, say=self._say_from_thread, moved=self._alive_while_moving)
        self._arrived = False
        self._hosts: tuple[str, ...] = ()
        self._hurry = asyncio.Event()

    # --- the whole life ---

    async def live(self, watch: keeper.Keeper) -> None:
        """From start to last word."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_end)
        shipping = asyncio.create_task(self._guarded(self._ship_log()))
        watching, main = self._watching, self._ready[self._spec.processes[0].name]
        for work in (
            watching.control(self._mirror.nudge if self._mirror is not None else None),
            watching.notice(self._side),
            self._heartbeat() if self._claim is None else self._hold(self._claim),
            watching.idle(main, self._token, self._other_processes),
            self._work(),
        ):
            self._begin(work)
        end = await self._end
        self._machine.state, self._machine.reason = "stopping", end.reason
        self._report.save()
        if end.state == "interrupted":
            await self._warn(end.reason)
        await _cancelled(*self._tasks)
        codes = await asyncio.gather(*(one.end() for one in self._children.values()))
        kill_tagged(self._order.store, self._machine.id, spare=(watch.pid,))
        if end.exit_code is None and self._spec.kind == "job" and codes:
            end = msgspec.structs.replace(end, exit_code=codes[0])
        if self._mirror is not None and self._arrived and not (self._claim and self._claim.lost):
            end = await self._bring_back(self._mirror, end)
        await _cancelled(shipping)
        self._log.close()
        self._log.flush()
        watch.dismiss()
        rmtree(self._run_folder, ignore_errors=True)
        machine = self._machine
        machine.state, machine.reason, machine.error = end.state, end.reason, end.error
        machine.exit_code, machine.hint = end.exit_code, end.hint
        if self._claim is not None and self._spec.keep_on_error and is_failure(end):
            await self._stay(self._claim)
        self._report.last_word()
        if self._claim is not None:
            await asyncio.to_thread(self._leave, self._claim, end)

    async def _stay(self, claim: Claim) -> None:
        """Be there for a person to look at, until the deadline, the budget or a `down`. The work is over: nobody is to
        take it up, whatever becomes of the machine."""
        machine, name = self._machine, self._spec.name
        await asyncio.to_thread(claim.give_back, over=True)
        failed, machine.kept = machine.reason, True
        machine.reason = f"{failed}; its machine stays until the deadline: lofty ssh {name}, lofty down {name}"
        self._report.last_word()
        while not self._hurry.is_set() and self._watching.limit() is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.deadline):
                    await self._hurry.wait()
            await asyncio.to_thread(self._watching.look_at_deadline)
        machine.reason, machine.kept = failed, False

    def _told_to_end(self) -> None:
        """On this computer a person wants it; in a cloud the machine goes down, and the task may go on elsewhere."""
        if self._claim is None:
            self._finish(End("stopped"))
        else:
            self._hurry.set()
            self._finish(End("interrupted", "the machine was shut down", goes_on=True))

    async def _warn(self, reason: str) -> None:
        """Give what runs here a moment to save: a longer one, unless the machine is going down already."""
        processes = await asyncio.to_thread(self._other_processes)
        await asyncio.to_thread(warning.warn, self._run_folder, reason, processes)
        await asyncio.sleep(warning.HURRIED_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(warning.WARNED_SECONDS - warning.HURRIED_SECONDS):
                await self._hurry.wait()

    def _leave(self, claim: Claim, end: End) -> None:
        """Let the next machine begin at once, or have the cloud end this one for good."""
        claim.give_back(over=self._spec.kind == "job" and not end.goes_on)
        if not end.goes_on and not self._hurry.is_set():  # otherwise it is going already
            end_for_good(self._side)

    def _finish(self, end: End) -> None:
        """Begin the end; only the first reason counts."""
        if not self._end.done():
            self._end.set_result(end)

    def _begin(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(self._guarded(work))
        self._tasks.append(task)
        return task

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        """Whatever breaks in the agent itself ends the task with a reason, instead of leaving it half alive."""
        try:
            await work
        except LoftyError as error:
            self._log.say(f"error: {error}")
            self._finish(End("failed", str(error), error=error.kind, hint=error.hint or ""))
        except Exception as error:  # noqa: BLE001 (the last resort: a bug of ours must end the task, not hide)
            traceback.print_exc()
            self._finish(End("failed", f"the agent broke: {error!r}", error="LoftyError"))

    async def _bring_back(self, mirror: Mirror, end: End) -> End:
        missing = await asyncio.to_thread(mirror.leave, HURRIED_SECONDS if end.goes_on else LAST_SECONDS)
        self._machine.unsaved = missing
        if not missing:
            return end
        self._log.say(f"files: {missing}")
        return msgspec.structs.replace(end, reason=f"{end.reason}; files were not brought: {missing}".strip("; "))

    def _say_from_thread(self, text: str) -> None:
        self._loop.call_soon_threadsafe(self._log.say, text)

    # --- getting ready and working ---

    async def _work(self) -> None:
        places = await self._prepare()
        if self._mirror is not None:
            self._mirror.keep()
        tunnel = self._records.secret("tunnel") if self._spec.tunnel else None
        recipe.lay_out(places, self._spec, self._token, tunnel or "")
        self._report.facts()
        self._hosts = await asyncio.to_thread(
            hosts, self._records, self._machine, self._spec.parallelism, self._pace.log
        )
        for process in self._spec.processes:
            self._begin(self._run(process, places))

    async def _prepare(self) -> recipe.Places:
        """Files and environments. Nothing of the files decides what the tools are, which therefore do not wait."""
        spec = self._spec
        making = asyncio.create_task(self._make_tools())
        tunneling = asyncio.create_task(self._make_tunnel())
        try:
            workdir = await self._fetch_files()
            self._report.stage("environment")
            user, tools, tunnel = await asyncio.gather(
                environment.make_user(
                    workdir,
                    Path(self._order.cache),
                    spec.source or str(workdir),
                    active=spec.python,
                    kernel=spec.kernel,
                    lock=recipe.PACKAGE / KERNEL,
                ),
                making,
                tunneling,
            )
        finally:
            await _cancelled(making, tunneling)
        for note in user.notes:
            self._report.note(note)
        self._report.end_stage(user.label)
        state = Path(self._order.state)
        return recipe.Places(
            tools=tools or user.python,
            user=user,
            workdir=workdir,
            run=self._run_folder,
            state=state,
            tunnel=tunnel or Path(),
        )

    async def _make_tools(self) -> Path | None:
        if not self._spec.tools:
            return None
        return await environment.make_tools(recipe.PACKAGE / self._spec.tools, Path(self._order.cache))

    async def _make_tunnel(self) -> Path | None:
        if not self._spec.tunnel:
            return None
        return await environment.make_tools(recipe.PACKAGE / TUNNEL, Path(self._order.cache), name="tunnel")

    async def _fetch_files(self) -> Path:
        """The working directory, filled where it is a copy."""
        workdir = Path(self._spec.workdir or self._order.workdir)
        if self._mirror is not None:
            self._report.stage("files")
            report = await asyncio.to_thread(self._mirror.arrive)
            self._arrived = True
            self._report.end_stage(f"{report.brought} files")
        if not workdir.is_dir():
            raise LoftyError(f"{workdir} is not there any more", hint=f"lofty down {self._spec.name}")
        return workdir

    async def _run(self, process: Process, places: recipe.Places) -> None:
        """A process of the spec, started again when it is a server and dies."""
        if process.after:
            await self._ready[process.after].wait()
        main = process is self._spec.processes[0]
        if main:
            self._report.stage(process.name)
        deaths: list[float] = []
        while True:
            code = await self._run_once(process, places, main=main)
            if not process.restart:
                if main:
                    self._finish(of_job(code))
                return
            deaths = [moment for moment in deaths if moment > time.time() - RESTART_WINDOW] + [time.time()]
            never_was = main and not self._ready[process.name].is_set()
            if len(deaths) > RESTARTS or never_was:
                self._report.happened(f"{process.name}-gave-up", f"{process.name} ended with exit code {code}")
                if main:
                    self._finish(End("failed", f"{process.name} ended with exit code {code}", error="TaskFailed"))
                return
            self._report.happened(f"{process.name}-died", f"{process.name} ended with exit code {code}; started again")
            await asyncio.sleep(0.2 * 2 ** len(deaths))

    async def _run_once(self, process: Process, places: recipe.Places, *, main: bool) -> int:
        """Start it and wait for its end; gives the exit code as a shell does."""
        argv, env = recipe.command(process, self._spec, self._machine, places, self._secrets, self._hosts)
        try:
            one = await child.start(argv, env, places.workdir, self._log.feed)
        except OSError as error:
            self._log.say(f"{process.name}: {argv[0]}: {error.strerror}")
            return 126 if isinstance(error, PermissionError) else 127
        self._children[process.name] = one
        waiting = self._begin(self._await_ready(process, one, places, main=main))
        code = await one.wait()
        await _cancelled(waiting)
        self._tasks.remove(waiting)
        if not self._end.done():
            del self._children[process.name]
        if main and process.restart:
            self._machine.state = "starting"
            self._report.save()
        return code

    async def _await_ready(self, process: Process, one: child.Child, places: recipe.Places, *, main: bool) -> None:
        if process.ready:
            path = process.ready.replace("{name}", self._spec.name)
            limit = time.time() + START_SECONDS
            while await asyncio.to_thread(fetch, self._spec.port, path, self._token) is None:
                if time.time() > limit:
                    self._log.say(f"{process.name} did not answer within {clock(START_SECONDS)}")
                    await one.end()
                    return
                await asyncio.sleep(PROBE_SECONDS)
        first = not self._ready[process.name].is_set()
        self._ready[process.name].set()
        if main and not self._end.done():
            self._report.end_stage()
            self._machine.state = "running"
            self._watching.touch()
            self._report.save()
            if first:
                self._begin(self._after_ready(places))

    async def _after_ready(self, places: recipe.Places) -> None:
        """What a person need not wait for."""
        try:
            found = await environment.installed(places.user.python, places.workdir)
            self._records.store.put(f"machines/{self._machine.id}/environment.txt", found.encode())
        except LoftyError as error:
            self._log.say(f"what is installed could not be recorded: {error}")
        await recipe.compile_tools(places)

    def _other_processes(self) -> list[psutil.Process]:
        """What runs for the person: everything but Jupyter and TensorBoard themselves."""
        spare = {one.pid for one in self._children.values()}
        return list(tagged(self._order.store, self._machine.id, spare))

    # --- signs of life ---

    async def _ship_log(self) -> None:
        """Woken by output, so that a quiet workspace costs nothing."""
        while True:
            await self._output.wait()
            self._output.clear()
            await asyncio.sleep(self._pace.log)
            if self._log.dirty and not self._log.flush():
                self._output.set()
                await asyncio.sleep(UNWRITABLE_SECONDS)
            elif self._log.unfinished and not self._output.is_set():
                await asyncio.sleep(UNFINISHED_SECONDS)
                if not self._output.is_set():
                    self._log.settle()

    async def _heartbeat(self) -> None:
        while True:
            self._report.save()
            await asyncio.sleep(HEARTBEAT_SECONDS)

    def _alive_while_moving(self, moved: Moved) -> None:
        """A long transfer is work, not silence."""
        if self._claim is None and time.time() - (self._machine.heartbeat or 0) > HEARTBEAT_SECONDS:
            self._loop.call_soon_threadsafe(self._report.save)

    async def _hold(self, claim: Claim) -> None:
        """Keep the lease, which is the heartbeat too. Who loses it was taken for dead, and another machine works:
        touch nothing more."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                await asyncio.to_thread(claim.renew, time.time())
            except Stale:
                self._finish(End("lost", "another machine has taken the task up", goes_on=True))
            except LoftyError as error:
                sys.stderr.write(f"lease: {error}\n")  # the next renewal may still be in time


async def _cancelled(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _hidden(_: Machine) -> None:
    """Nobody lists."""


def run(order_text: str) -> None:
    """Be the agent; returns never."""
    order = msgspec.json.decode(order_text, type=Order)
    folder = paths.make_run_folder(order.machine)
    watch = keeper.start(order, folder)
    records = Records(Store(order.store))
    spec, machine = records.spec(), records.machine(order.machine)
    if spec is None or machine is None:
        sys.stderr.write(f"{order.store} holds no task with a machine {order.machine}\n")
        watch.dismiss()
        rmtree(folder, ignore_errors=True)
        sys.exit(1)
    machine.pid, machine.birth, machine.run = os.getpid(), psutil.Process().create_time(), str(folder)
    machine.booted = order.began
    machine.address = address(alone=not order.holder)
    if order.holder:
        publish_host_key(records, machine)
    if spec.on_demand is not None and last_market(records.events()) == "on-demand":
        machine.extra_per_hour = spec.on_demand.usd_per_hour - (spec.price.usd_per_hour if spec.price else 0.0)
    records.put_machine(machine)

    async def live() -> None:
        await Agent(order, records, spec, machine, folder, load_machine(spec.on)).live(watch)

    asyncio.run(live())
    sys.stderr.flush()
    os._exit(0)  # the last word is written: nothing may delay the end of the process
