"""A directory and a store kept alike while somebody works: what is saved here is published at once, what is published
there is fetched soon, and at rest little is asked, since each question is a request that somebody pays."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Event, Thread

import msgspec

from ...errors import LoftyError
from .ignore import Rules
from .report import Report
from .sync import Folder


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds between looks."""

    working: float
    """At the store, while somebody works on either side."""
    resting: float
    """At the store, when nobody does: the most that is waited."""
    full: float
    """At the whole directory: what the system did not tell is found then."""
    publish: float
    """From one version to the next, once many have followed each other closely."""


HERE = Pace(working=0.3, resting=1.0, full=60.0, publish=0.0)
"""For a store on a disk, where a look costs nothing."""
CLOUD = Pace(working=1.0, resting=20.0, full=60.0, publish=2.0)
"""For a store that counts requests: at rest 4,320 a day, 0.002 USD. While a program writes without a pause, a version
every two seconds, 0.03 USD an hour: a machine that vanishes takes three seconds of work with it, and no more."""

ACTIVE = 300.0
"""Seconds for which a change on either side counts as work."""
BURST = 120
"""Versions that may follow each other at once; then one for each `publish` seconds."""
SETTLE_MS, STEP_MS = 200, 50
"""A program writes a file in several steps; they are heard of together."""
SCAN_SHARE = 0.01
"""Of a core: a directory so large that a look at all of it costs more is looked at less often."""
RETRY = 30.0
"""Seconds, at most, between tries while the store cannot be reached."""
PATIENCE = 30.0
"""Seconds for which a file that is written whenever it is read is not spoken of: the next look may find it quiet."""
TIDY = 3600.0
"""Seconds between looks for what no version needs any more."""

NUDGE, WATCHING = object(), object()


class Live:
    """Keeps one folder until it is told to stop. Runs in the thread that calls `run`."""

    def __init__(
        self,
        folder: Folder,
        pace: Pace,
        *,
        told: Callable[[Report], None],
        failed: Callable[[LoftyError], None],
        busy: Callable[[], bool] = lambda: False,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        """`told` hears what each look changed, `failed` once of each trouble; `busy` says that somebody works
        although no file changes; `after` is called behind each look at the whole and each change here."""
        self._folder, self._pace = folder, pace
        self._told, self._failed, self._busy, self._after = told, failed, busy, after
        self._events: SimpleQueue[object] = SimpleQueue()
        self._stop, self._watching = Event(), Event()
        self._root = os.path.realpath(folder.root)
        self._undone: tuple[object, ...] = ()
        self._changing: dict[str, float] = {}
        """Since when files are written whenever they are read."""
        self._credit, self._counted = float(BURST), time.monotonic()

    def nudge(self) -> None:
        """The other side has just published: look now."""
        self._events.put(NUDGE)

    def stop(self) -> None:
        """End `run`; what is under way is finished."""
        self._stop.set()
        self._events.put(NUDGE)

    def run(self) -> None:
        """Until `stop`."""
        watcher = Thread(target=self._watch, name="lofty-watch", daemon=True)
        watcher.start()
        dirty: set[str] = set()
        now = time.monotonic()
        full_at, poll_at, active_until, publish_at = now, now, now + ACTIVE, now
        trouble, pause, tidy_at = "", 1.0, now + TIDY
        unheard = True  # what was saved before the system began to tell of it
        while not self._stop.is_set():
            nudged = self._gather(dirty, min(full_at, poll_at, publish_at if dirty else full_at))
            now = time.monotonic()
            if self._stop.is_set():
                break
            if dirty or nudged or self._busy():
                active_until = now + ACTIVE
            watching = self._watching.is_set()
            full = now >= full_at or (unheard and watching)
            if dirty and now < publish_at and not full:
                continue
            if not (dirty or full or nudged or now >= poll_at):
                continue
            try:
                report = self._look(dirty, full=full, nudged=nudged, due=now >= poll_at)
            except LoftyError as error:
                if str(error) != trouble:
                    trouble = str(error)
                    self._failed(error)
                full_at = poll_at = publish_at = time.monotonic() + pause
                pause = min(RETRY, pause * 2)
                continue
            trouble, pause = "", 1.0
            began, now = now, time.monotonic()
            dirty.clear()
            if full:
                unheard = unheard and not watching
                full_at = now + max(self._pace.full, (now - began) / SCAN_SHARE)
            if report is not None:
                active_until = now + ACTIVE if report.changed else active_until
                self._tell(report)
            if now >= tidy_at:
                tidy_at = now + TIDY
                self._tidy()
            poll_at = now + (self._pace.working if now < active_until else self._pace.resting)
            publish_at = self._next_publish(now, published=report is not None and bool(report.sent))
        watcher.join(timeout=5)

    def _tell(self, report: Report) -> None:
        """What was done, and once what could not be."""
        now = time.monotonic()
        self._changing = {path: self._changing.get(path, now) for path in report.changing}
        report.changing = [path for path, since in self._changing.items() if now - since > PATIENCE]
        undone = (report.withheld, *report.skipped, *report.changing)
        if report.changed or report.secrets or undone not in ((0,), self._undone):
            self._told(report)
        self._undone = undone

    def _tidy(self) -> None:
        try:
            self._folder.layout.tidy()
        except LoftyError as error:
            self._failed(error)

    def _look(self, dirty: set[str], *, full: bool, nudged: bool, due: bool) -> Report | None:
        """`due`: it is time to hear of the other side; before that, what was saved here goes out without a question."""
        if not (dirty or full or nudged or self._folder.layout.news()):
            return None
        report = self._folder.sync(only=None if full else set(dirty), ahead=not (full or nudged or due))
        if dirty or full:
            self._after()
        return report

    def _next_publish(self, now: float, *, published: bool) -> float:
        """One file that is written all the time must not cost a version a second for days."""
        if not self._pace.publish:
            return now
        self._credit = min(float(BURST), self._credit + (now - self._counted) / self._pace.publish) - published
        self._counted = now
        return now if self._credit >= 1 else now + self._pace.publish

    def _gather(self, dirty: set[str], until: float) -> bool:
        """Wait for events; gives whether somebody nudged."""
        nudged = False
        block = True
        while True:
            try:
                event = (
                    self._events.get(timeout=max(0.0, until - time.monotonic())) if block else self._events.get_nowait()
                )
            except Empty:
                return nudged
            block = False
            if event is NUDGE:
                nudged = True
            elif event is not WATCHING:
                dirty.update(event)  # type: ignore[arg-type]

    def _watch(self) -> None:
        """Hear of saved files; where the system cannot tell, the look at the whole finds them."""
        import watchfiles

        rules = self._folder.rules()
        try:
            for changes in watchfiles.watch(
                self._root,
                watch_filter=None,
                debounce=SETTLE_MS,
                step=STEP_MS,
                stop_event=self._stop,
                raise_interrupt=False,
                rust_timeout=1000,
                yield_on_timeout=True,  # the first word, be there changes or none, says that it listens
            ):
                if not self._watching.is_set():
                    self._watching.set()
                    self._events.put(WATCHING)
                paths = {os.path.relpath(path, self._root) for _, path in changes}
                if any(Rules.is_rule_file(os.path.basename(path)) for path in paths):
                    rules = self._folder.rules()
                wanted = {path for path in paths if path == "." or rules.excluded(path, folder=False) is None}
                if wanted:
                    self._events.put(wanted)
        except (OSError, RuntimeError) as error:
            self._failed(LoftyError(f"changes in {self._root} are found by looking, each minute: {error}"))
