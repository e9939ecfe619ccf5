"""One workspace or job, from any process of this computer: what there is to ask of it and to do with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Protocol

from . import errors
from .bindings import Bindings
from .bringing import ALL, Bringing, Copy, Where
from .drivers.base import Driver, Settings
from .engine import apply, watch
from .engine.clock import Clock
from .engine.retry import retried
from .errors import Conflict, LimitReached, LoftyError, NotFound, TaskFailed, Unsupported, UsageError
from .jupyter import workspace
from .model.spec import Need, TaskSpec
from .model.state import ALIVE, Cursor, Endpoint, LogLine, Observation, Record
from .model.units import duration
from .progress import Progress, Reporter, Step, silent
from .reach import loopback
from .store.base import Store
from .store.records import Records

if TYPE_CHECKING:
    from .store.files.history import Version
    from .store.files.merge import Mode
    from .store.files.report import Report


class Context(Protocol):
    """What a task needs of the client that found it."""

    clock: Clock
    bindings: Bindings
    home: Path
    side: str
    settings: Settings

    def driver(self, name: str) -> Driver:
        """The driver of that name."""


START_PACE = 0.5
"""Seconds between looks at a task that gets ready, for which a person waits."""
ATTACHED_SECONDS = 60.0
"""Between looks of who only waits for the end of a task on a cloud: 1,440 a day, each of four reads, 0.0023 USD."""
FALLBACK_SECONDS = 60.0
"""Without a spot machine, before one on demand is asked for: a group tries all zones several times in it."""


class Task:
    """One workspace or job."""

    def __init__(self, context: Context, record: Record) -> None:
        self._context, self.record, self.handle = context, record, record.handle
        self._driver = context.driver(record.handle.driver)
        self._copy = Copy(context.bindings, context.home, context.side, record)

    def __repr__(self) -> str:
        return f"<lofty {self.kind} {self.name}>"

    @property
    def spec(self) -> TaskSpec:
        """What was asked for. Raises `LoftyError` where only remains are left."""
        return self.record.asked

    @property
    def name(self) -> str:
        """Its name; the identifier where the record is lost."""
        return self.record.name

    @property
    def kind(self) -> str:
        """`workspace` or `job`."""
        return self.record.spec.kind if self.record.spec else "remains"

    @property
    def records(self) -> Records:
        """The task's records in the store."""
        return Records(Store(self.handle.store))

    @property
    def _pace(self) -> float:
        return 0.05 if "in-place" in self._driver.features else 2.0

    def observe(self) -> Observation:
        """How it stands now."""
        return retried(lambda: self._driver.observe(self.handle), self._context.clock)

    def _scale(self, machines: int, deadline: float | None) -> None:
        retried(lambda: self._driver.scale(self.handle, machines, deadline), self._context.clock)

    @property
    def state(self) -> str:
        """`running`, `stopped`, `succeeded`, …: see `lofty.model.state.State`."""
        return self.observe().state

    @property
    def token(self) -> str:
        """The secret that opens a workspace."""
        return self.records.secret("token") or ""

    @property
    def addresses(self) -> workspace.Addresses | None:
        """Where the workspace is, be there a way to it now or not (see `connect`); None for a job, and where a tunnel
        is the only way and has none yet."""
        if self.kind != "workspace":
            return None
        if self.spec.tunnel:
            public = self._public()
            if public or "in-place" not in self._driver.features:
                return workspace.addresses(public, self.name, self.token) if public else None
        host, port = self._near
        return workspace.addresses(f"http://{host}:{port}", self.name, self.token)

    def _public(self) -> str:
        """The origin that a tunnel gives to the newest machine; empty where there is none."""
        newest = self.records.machines()[-1:]
        return next((machine.public for machine in newest if machine.state in ALIVE), "")

    @property
    def _over_ssh(self) -> bool:
        """Whether machines are reached so: not where a tunnel is the way, and nobody is let in."""
        return "ssh" in self._driver.features and not (self.record.spec and self.record.spec.tunnel)

    @property
    def _near(self) -> tuple[str, int]:
        """Host and port of the workspace as this computer's programs see it."""
        if self._over_ssh:
            return "127.0.0.1", self.spec.port
        end = self._driver.reach(self.handle, self.spec.port)
        return end.host, end.port

    def connect(self, patience: float = 45.0) -> Task:
        """See to it that the addresses of a running workspace can be opened on this computer, and wait for that so
        many seconds. Where the machine is another one, a process in the background holds the way to it."""
        if self.kind == "workspace" and self.spec.tunnel:
            self._await_tunnel(patience)
        elif self.kind == "workspace" and self._over_ssh:
            from .reach import forward

            end, port = self._reach(), self.spec.port
            key, settings = self._ssh_key, self._context.settings
            forward.ensure(settings, self.handle, end, key, name=self.name, port=port, patience=patience)
        return self

    def _connect_early(self, seen: Observation) -> bool:
        """Have the way made while the machine still gets ready, as soon as that tells its host key; whether it was
        tried. What is in the way is told by `connect`, when it counts."""
        if not any(machine.host_key and machine.state in ALIVE for machine in seen.machines):
            return False
        from .reach import forward

        with suppress(LoftyError):
            end = self._driver.reach(self.handle, self.spec.port)
            forward.begin(self._context.settings, self.handle, end, self._ssh_key, name=self.name, port=self.spec.port)
        return True

    def _disconnect(self) -> None:
        if self._over_ssh:
            from .reach import forward

            forward.end(self._context.home, self.handle.id)

    def _await_tunnel(self, patience: float) -> None:
        """Until there is an address. Raises `TaskFailed` with the third party's reason, or when it takes too long."""
        clock, kind = self._context.clock, self.spec.tunnel
        limit = clock.now() + patience
        while not self._public():
            newest = next(iter(self.records.machines()[-1:]), None)
            since, notes = (newest.started or 0.0, newest.notes) if newest else (0.0, [])
            gave_up = any(one.code == "tunnel-gave-up" and one.time >= since for one in self.records.events())
            if gave_up or clock.now() >= limit:
                why = next((note for note in notes if note.startswith(f"{kind} ")), f"{kind} has given no address")
                raise TaskFailed(why, hint=f"lofty logs {self.name}")
            clock.sleep(self._pace)

    def _reach(self, rank: int = 0) -> Endpoint:
        return retried(lambda: self._driver.reach(self.handle, self.spec.port, rank), self._context.clock)

    @property
    def _ssh_key(self) -> str:
        from .reach import ssh

        key = self.records.secret(ssh.RECORD)
        if key is None:
            raise LoftyError(f"the key of '{self.name}' is not in its store", hint=f"lofty down {self.name}")
        return key

    def ssh(self, words: Sequence[str] = (), *, rank: int = 0, terminal: bool = False) -> int:
        """Run a command on a machine of the task, or a shell, on this process's own input and output; its exit code.
        With `terminal`, the machine gives it one too."""
        from .reach import ssh

        if self.spec.tunnel and not self._over_ssh:
            raise Unsupported(
                f"'{self.name}' is reached through {self.spec.tunnel} alone: its machine lets nobody in, ssh neither",
                hint=f"lofty url {self.name}, and open a terminal there",
            )
        if not self._over_ssh:
            raise Unsupported(
                f"'{self.name}' runs on '{self.handle.driver}', whose machines are not reached over ssh",
                hint=f"lofty url {self.name}" if self.kind == "workspace" else f"lofty logs {self.name}",
            )
        seen = self.observe()
        if seen.state not in ALIVE and not any(machine.kept for machine in seen.machines):
            hint = f"lofty start {self.name}" if self.kind == "workspace" else f"lofty logs {self.name}"
            raise UsageError(f"'{self.name}' is {seen.state}", hint=hint)
        if rank not in {machine.rank for machine in seen.machines}:
            raise UsageError(f"'{self.name}' has no machine {rank}", hint=f"lofty ssh {self.name} --rank 0")
        folder = ssh.folder_of(self._context.home, self.handle.id)
        return ssh.run(folder, self._reach(rank), self._ssh_key, words, name=self.name, terminal=terminal)

    @property
    def url(self) -> str | None:
        """The workspace's address, which opens without a further login; None for a job."""
        return self.addresses.lab if self.addresses else None

    @property
    def notebook_url(self) -> str | None:
        """The classic page's address."""
        return self.addresses.notebook if self.addresses else None

    @property
    def tensorboard_url(self) -> str | None:
        """TensorBoard's address."""
        return self.addresses.tensorboard if self.addresses else None

    @property
    def output(self) -> Path | None:
        """Where the executed notebook of a job is, or will be; None for anything else."""
        return Path(self.spec.source, self.spec.outputs[0]) if self.spec.outputs else None

    def start(self, *, progress: Progress = silent, wait: bool = True) -> Task:
        """Get a machine unless there is one, and wait until the workspace answers or the job runs, unless told not
        to."""
        asked: float | None = None
        seen = self.observe()
        if seen.state == "gone":
            raise NotFound(f"'{self.name}' is gone", hint="lofty ls")
        if seen.state not in ALIVE:
            if self.kind == "job" and seen.machines:
                raise UsageError(f"the job '{self.name}' has ended ({seen.state})", hint="lofty run FILE")
            # What a killed agent left behind may hold the port; the driver ends that before it starts anything.
            if self.spec.port and seen.state != "lost" and self._port_taken():
                hint = f"end that program, or: lofty down {self.name}, then lofty lab {self.spec.source}"
                raise port_taken(self.spec.port, hint)
            asked = self._context.clock.now()
            self._scale(self.spec.parallelism, asked + self.spec.timeout if self.spec.timeout else None)
        if not wait:
            return self
        ready = self._await_up(progress, asked if self._over_ssh else None)
        self.connect()
        if ready is not None and self._over_ssh and self.kind == "workspace":
            progress(Step("reach", seconds=self._context.clock.now() - ready))
        return self

    def _port_taken(self) -> bool:
        """Whether a program holds the port that is not the task's own forward."""
        if loopback.is_free(self.spec.port):
            return False
        if not self._over_ssh:
            return True
        from .reach import forward

        return not forward.runs(self._context.home, self.handle.id)

    def _await_up(self, progress: Progress, asked: float | None) -> float | None:
        """Wait until it is up, or will not be; gives when its last stage was over, by the machine's clock. `asked` is
        when a machine was asked for; None where none was, or it is this computer."""
        reporter, drought = Reporter(progress, asked), watch.Drought(self._context.clock, FALLBACK_SECONDS)
        pace = min(self._pace, START_PACE)
        connected = self.kind != "workspace" or not self._over_ssh
        for seen in watch.watch(self._driver, self.handle, self._context.clock, watch.is_up, pace):
            reporter.look(seen)
            connected = connected or self._connect_early(seen)
            if self.spec.need.fallback and drought.lasts(seen):
                self._scale(self.spec.parallelism, seen.deadline)
        failed = next((machine for machine in seen.machines if machine.error), None)
        if seen.state not in ALIVE and failed is not None and failed.exit_code is None:
            self._disconnect()
            kind = getattr(errors, failed.error, TaskFailed)
            hint = (
                f"lofty down {self.name}, then again with more" if kind is LimitReached else f"lofty logs {self.name}"
            )
            raise kind(failed.reason, hint=failed.hint or hint)
        if self.kind == "workspace" and seen.state != "running":
            self._disconnect()
            raise TaskFailed(
                f"'{self.name}' did not start: {seen.reason or seen.state}",
                hint=f"lofty lab {self.spec.source}",
            )
        return max((stage.ended for one in seen.machines for stage in one.stages if stage.ended), default=None)

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end of a job and give its exit code (the highest, of several machines); None when it has
        none: it was lost, or the time ran out."""
        limit = self._context.clock.now() + timeout if timeout is not None else float("inf")
        clock = self._context.clock
        seen = watch.wait(
            self._driver,
            self.handle,
            clock,
            lambda seen: watch.is_over(seen) or clock.now() >= limit,
            self._pace,
        )
        codes = [machine.exit_code for machine in seen.machines if machine.exit_code is not None]
        if not watch.is_over(seen) or len(codes) < len(seen.machines):
            return None
        return max(codes, default=None)

    def logs(self, *, follow: bool = False) -> Iterator[LogLine]:
        """Output so far; with `follow`, also what is still to come, to the end of the task."""
        if follow:
            return watch.follow(self._driver, self.handle, self._context.clock, Cursor(), self._pace * 2)
        return (line for line, _ in self._driver.logs(self.handle, Cursor()))

    def tail(self, lines: int = 12) -> str:
        """The end of the output, for an error message."""
        try:
            return "\n".join(line.text for line in list(self.logs())[-lines:])
        except LoftyError:
            return ""

    def stop(self) -> Task:
        """End the machine; the files, the token and the address stay."""
        watch.stop(self._driver, self.handle, self._context.clock, self._pace)
        self._disconnect()
        return self

    def extend(self, more: str | float) -> Task:
        """Move the deadline: so many seconds (or `2h`) from now; it may come nearer too."""
        seconds = duration(more) if isinstance(more, str) else float(more)
        seen = self.observe()
        if seen.state not in ALIVE:
            raise UsageError(f"'{self.name}' is not running", hint=f"lofty start {self.name}")
        self._scale(self.spec.parallelism, self._context.clock.now() + seconds)
        return self

    # --- files ---

    @property
    def in_place(self) -> bool:
        """Whether it works in the directory itself, so that there is nothing to bring."""
        return bool(self.record.spec and self.record.spec.workdir)

    def pull(
        self,
        to: str | os.PathLike[str] | None = None,
        *,
        progress: Progress = silent,
        force: bool = False,
        how: Bringing = ALL,
    ) -> Report:
        """Bring the files as the machine last published them, and what is missing here; what was changed here too is
        kept, the other written beside. Commits come back under `refs/lofty/NAME/`."""
        return self._bring("pull", to, progress, how, force=force)

    def push(
        self,
        source: str | os.PathLike[str] | None = None,
        *,
        progress: Progress = silent,
        force: bool = False,
        git: bool = True,
    ) -> Report:
        """Send what was changed here; what was changed there too is kept, ours put beside. Without `git`, what
        `.gitignore` names goes along."""
        from .store.files.report import Report

        if self.in_place:
            return Report()
        return self._copy.folder(source, progress, git=git).sync("push", force=force)

    def _bring(self, mode: Mode, to: Where, progress: Progress, how: Bringing, *, force: bool) -> Report:
        from .store.files.report import Report

        return Report() if self.in_place else self._copy.bring(mode, to, progress, how, force=force)

    def attach(
        self,
        *,
        told: Callable[[Report], None],
        failed: Callable[[LoftyError], None],
    ) -> None:
        """Keep the directory here and the machine's alike, as long as it runs. Ctrl-C leaves it running."""
        from .store.files.live import CLOUD, HERE, Live

        def tell(report: Report) -> None:
            if report.sent or report.deleted_there:
                self._nudge()
            told(report)

        store = Store(self.handle.store)
        live = Live(
            self._copy.folder(None, silent), HERE if store.root is not None else CLOUD, told=tell, failed=failed
        )
        thread = Thread(target=live.run, name="lofty-live", daemon=True)
        thread.start()
        try:
            pace = 1.0 if "in-place" in self._driver.features else ATTACHED_SECONDS
            watch.wait(self._driver, self.handle, self._context.clock, watch.is_over, pace)
        finally:
            live.stop()
            thread.join(timeout=30)

    def _nudge(self) -> None:
        """Tell the machine that there is something new; without it, it finds out by itself."""
        from .reach.loopback import post

        with suppress(LoftyError, OSError):
            if self.spec.port:
                self.connect(3.0)  # before the token goes out: without its forward, the port may be anybody's
                post(*self._near, f"/{self.name}/lofty/api/nudge", self.token)

    def history(self, path: str = "") -> list[Version]:
        """The versions that are kept, oldest first; with a path, those in which it changed."""
        return self._copy.history(path)

    def restore(
        self, at: Callable[[float, int], bool], paths: Sequence[str] = (), to: str | os.PathLike[str] | None = None
    ) -> tuple[Version, Report]:
        """Bring back what was there at that time, into the directory here or `to` another. What was not sent yet is
        kept beside."""
        return self._copy.restore(at, paths, to)

    def down(
        self,
        *,
        discard: bool = False,
        to: str | os.PathLike[str] | None = None,
        progress: Progress = silent,
        how: Bringing = ALL,
    ) -> Report:
        """Bring back what there is to bring, and remove everything. The store is kept when that fails, unless
        `discard`."""
        from .store.files.report import Report

        if discard:
            with suppress(LoftyError):  # what cannot be stopped in good order is removed all the same
                self.stop()
            self._remove()
            return Report()
        if self.record.spec is None:
            hint = f"lofty down {self.name} --discard"
            raise LoftyError(f"the record of {self.name} cannot be read; files may hang on it", hint=hint)
        self.stop()
        hint = f"lofty down {self.name} --to DIR, or --discard to lose them"
        try:
            report = self._bring("bring", to, progress, how, force=False)
        except LoftyError as error:
            raise LoftyError(f"the files were not brought: {error}", hint=hint) from error
        unsaved = "; ".join(machine.unsaved for machine in self.observe().machines if machine.unsaved)
        missing = [f"{path}: {report.skipped.get(path, 'withheld')}" for path in report.waiting[:5]]
        if unsaved or report.waiting:
            what = "; ".join([*missing, *([unsaved] if unsaved else [])])
            raise LoftyError(f"{len(report.waiting) or 'some'} files were not brought: {what}", hint=hint)
        self._remove()
        return report

    def _remove(self) -> None:
        spec = self.record.spec or TaskSpec(
            id=self.handle.id, name=self.handle.id, owner="", kind="job", created=0, on="", processes=(),
            need=Need(region=self.handle.region),
        )  # fmt: skip
        left = apply.destroy(self._driver.resources(spec, None), self._context.clock)
        if left:
            raise LoftyError(f"not everything could be removed: {'; '.join(left)}", hint=f"lofty down {self.name}")
        self._copy.forget()
        if self._over_ssh:
            from .reach import forward

            forward.forget(self._context.home, self.handle.id)


def port_taken(port: int, hint: str) -> Conflict:
    """The error for a port that something else holds, with its holder where the system tells."""
    who = loopback.holder(port)
    return Conflict(f"port {port} is in use" + (f" by {who}" if who else ""), hint=hint)
