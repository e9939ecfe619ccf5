"""What is looked at while a machine works: what may end the work (the person's wish, the deadline, the budget, the
cloud's notice, the idle rule), and where a tunnel ends."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil

from ..drivers.base import MachineSide
from ..errors import LoftyError
from ..model.spec import TaskSpec
from ..model.units import clock
from ..store.records import Records
from .end import End
from .idle import Activity, Worked, last_active
from .pace import Pace
from .probe import fetch
from .report import Report

IDLE_TOLD_SECONDS = 120.0
"""Between words about when the idle rule will strike, which moves on as long as somebody works."""
NOTICE_SECONDS = 5.0
"""Between looks for the cloud's notice, which on the shortest one comes 30 s before the end; asking costs nothing."""


class Watching:
    """One machine's. Whatever is to end the work is handed to `finish`."""

    def __init__(
        self, spec: TaskSpec, records: Records, report: Report, run: Path, pace: Pace, finish: Callable[[End], None]
    ) -> None:
        self._spec, self._records, self._report, self._machine = spec, records, report, report.machine
        self._run_folder, self._pace, self._finish = run, pace, finish
        self._active = time.time()

    def touch(self) -> None:
        """What a person works with is up from now on: nobody was idle before."""
        self._active = time.time()

    async def control(self, nudge: Callable[[], None] | None) -> None:
        """The person's wishes (a file from the panel), the deadline, the budget. `nudge`: what to do when there is
        something new in the store; None where the directory is not kept like it."""
        stop, nudged, since = self._run_folder / "stop", self._run_folder / "nudge", self._pace.deadline
        while True:
            if stop.exists():
                self._finish(End("stopped", "stopped from the panel"))
            if nudge is not None and nudged.exists():
                nudged.unlink(missing_ok=True)
                nudge()
            if self._spec.tunnel:
                self._look_at_tunnel()
            since += self._pace.control
            if since >= self._pace.deadline:
                since = 0.0
                self.look_at_deadline()
            if self.limit() is not None:
                self.look_at_deadline()  # it may have been moved a moment ago
                limit = self.limit()
                if limit is not None:
                    self._finish(limit)
            await asyncio.sleep(self._pace.control)

    async def notice(self, side: MachineSide) -> None:
        """The cloud's word that it is about to take the machine away: time for a last push and a last word."""
        while True:
            notice = await asyncio.to_thread(side.notice)
            if notice is not None:
                self._report.happened("interrupted", notice)
                self._finish(End("interrupted", notice, goes_on=True))
                return
            await asyncio.sleep(NOTICE_SECONDS)

    async def idle(self, ready: asyncio.Event, token: str, others: Callable[[], list[psutil.Process]]) -> None:
        """The idle rule of a workspace, from when it is `ready`: asked with its `token`, and by what `others` of the
        person's processes do."""
        if self._spec.idle is None or self._spec.kind != "workspace":
            return
        await ready.wait()
        worked, told, told_at = Worked(), 0.0, 0.0
        while True:
            await asyncio.sleep(min(self._pace.idle, self._spec.idle / 4))
            now = time.time()
            seen = await asyncio.to_thread(self._activity, token)
            processes = await asyncio.to_thread(others)
            self._active = last_active(seen, worked=worked.look(processes, now), before=self._active, now=now)
            self._machine.idle_at = self._active + self._spec.idle
            if self._machine.idle_at != told and now - told_at >= IDLE_TOLD_SECONDS:
                told, told_at = self._machine.idle_at, now
                self._report.save()
            self._report.facts()
            if now >= self._machine.idle_at:
                self._finish(End("stopped", f"idle for {clock(self._spec.idle)}"))

    def limit(self) -> End | None:
        """The end that the deadline or the budget makes; None while there is some of both left. A workspace has
        stopped then, and can be started again; a job has failed."""
        deadline, budget = self._machine.deadline, self._spec.budget
        if deadline is not None and time.time() >= deadline:
            reason = "the deadline was reached"
        elif budget is not None and self._report.cost() >= budget:
            reason = f"the budget of {budget} USD is spent"
        else:
            return None
        return End("stopped" if self._spec.kind == "workspace" else "failed", reason, error="LimitReached")

    def look_at_deadline(self) -> None:
        """It may have been moved."""
        try:
            deadline = self._records.deadline()
        except LoftyError as error:
            sys.stderr.write(f"deadline: {error}\n")  # the one that is known goes on to count
            return
        if deadline != self._machine.deadline:
            self._machine.deadline = deadline
            self._report.save()

    def _look_at_tunnel(self) -> None:
        """What the tunnel has left word of: the address, or why there is none."""
        try:
            word = msgspec.json.decode((self._run_folder / "tunnel.json").read_bytes(), type=dict[str, str])
        except (OSError, msgspec.MsgspecError):
            word = {}
        url, error = word.get("url", "").rstrip("/"), word.get("error", "")
        if url != self._machine.public:
            self._machine.public = url
            if url:
                self._report.happened("tunnel", f"reached at {url}, through {self._spec.tunnel}")
            self._report.save()
        note = f"{self._spec.tunnel} gives no address: {error}"
        if error and note not in self._machine.notes:
            self._report.note(note)
            self._report.save()

    def _activity(self, token: str) -> Activity:
        raw = fetch(self._spec.port, f"/{self._spec.name}/lofty/api/activity", token)
        try:
            return msgspec.json.decode(raw, type=Activity) if raw else Activity()
        except msgspec.MsgspecError:
            return Activity()
