"""The machine's copy of the working directory: filled at the start, kept alike while it runs, brought home at the end.
The repository goes along beside the files."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Thread

from ..errors import LoftyError
from ..model.spec import TaskSpec
from ..store import files, repository
from ..store.base import Store
from ..store.files.live import CLOUD, HERE, Live
from ..store.files.report import Moved, Report
from .order import Order

SIDE = "machine"
LAST_SECONDS = 60.0
"""For the last push, when the machine may take its time."""
HURRIED_SECONDS = 20.0
"""For the last push, when the cloud takes the machine away: the shortest notice is 30 s, and a report follows."""

Say = Callable[[str], None]


class Mirror:
    """The files of one machine."""

    def __init__(
        self, order: Order, spec: TaskSpec, *, say: Say, moved: Callable[[Moved], None] = lambda _: None
    ) -> None:
        self._root, self._spec, self._say = Path(order.workdir), spec, say
        self._store = Store(order.store)
        self._files = Store(spec.files(order.store))
        memory = Path(order.state) / "files.db"
        self._folder = files.folder(
            self._root,
            self._files,
            memory,
            side=SIDE,
            plain=bool(spec.container),
            exclude=spec.exclude,
            include=spec.outputs,
            git=False,
            watcher=moved,
        )
        self._commits = repository.Sender(self._root, self._store)
        self._live: Live | None = None
        self._thread: Thread | None = None

    def arrive(self) -> Report:
        """Bring the files, and the repository around them."""
        report = self._folder.sync("pull")
        with suppress(repository.GitError):  # no git on this machine: the files are what counts
            repository.receive(self._store, self._root)
        self._tell(report)
        return report

    def keep(self) -> None:
        """From now on publish what is saved here, and fetch what is published elsewhere."""
        pace = HERE if self._store.root is not None else CLOUD
        self._live = Live(self._folder, pace, told=self._tell, failed=self._trouble, after=self._send_commits)
        self._thread = Thread(target=self._live.run, name="lofty-live", daemon=True)
        self._thread.start()

    def nudge(self) -> None:
        """Somebody has just published."""
        if self._live is not None:
            self._live.nudge()

    def leave(self, seconds: float) -> str:
        """The last push, changed files first, newest first; gives what could not be brought, in words, or nothing."""
        began = time.monotonic()
        if self._live is not None and self._thread is not None:
            self._live.stop()
            self._thread.join(timeout=seconds)
        if not self._root.is_dir():
            return ""
        left = max(1.0, seconds - (time.monotonic() - began))
        try:
            report = self._folder.sync("push", seconds=left)
            self._send_commits()
        except LoftyError as error:
            return str(error)
        self._tell(report)
        undone = [*report.skipped, *report.changing]
        missing = [*report.left, *undone]
        if report.withheld:
            missing.append(f"{report.withheld} deletions")
        if set(missing) <= set(undone):
            return ""
        return f"{len(missing)} not brought: {', '.join(missing[:5])}"

    def _send_commits(self) -> None:
        if (self._root / ".git").exists():
            try:
                self._commits.send()
            except LoftyError as error:
                self._trouble(error)

    def _tell(self, report: Report) -> None:
        for line in report.told():
            self._say(line)

    def _trouble(self, error: LoftyError) -> None:
        self._say(f"files: {error}")
