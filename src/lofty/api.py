"""What the Python user calls, and the command line too: the same verbs, one page.

import lofty
ws = lofty.lab(".")
ws.url
job = lofty.run("train.ipynb", lr=0.1)
job.wait()
print("".join(line.text + line.end for line in job.logs()))
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from . import config, errors, request
from .bindings import Binding, Bindings
from .drivers import registry
from .drivers.base import Driver, Settings
from .engine import apply, watch
from .engine.plan import Plan, plan
from .errors import (
    Ambiguous,
    Conflict,
    EnvironmentFailed,
    LoftyError,
    NotFound,
    Stale,
    TaskFailed,
    UsageError,
)
from .jupyter import job as jobs
from .jupyter import workspace
from .model import ids
from .model.spec import TaskSpec
from .model.state import ALIVE, Cursor, Finding, LogLine, Observation, Offer, Record
from .model.units import duration
from .reach import loopback
from .store import files
from .store.base import Store
from .store.records import Records

Progress = Callable[["Step"], None]


class Step(NamedTuple):
    """What is going on while a call waits."""

    name: str
    """`create`, `files`, `environment`, `jupyter`, `ready`, …"""
    note: str = ""
    seconds: float | None = None
    """How long it took, once it is over."""


class Clock:
    """The real one."""

    def now(self) -> float:
        """Epoch seconds."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Come back later."""
        time.sleep(seconds)


def _silent(_: Step) -> None:
    return


class Client:
    """lofty on this computer, for one owner."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self.environ = dict(os.environ if environ is None else environ)
        self.home = Path(self.environ.get("LOFTY_HOME") or _default("state"))
        self.cache = Path(self.environ.get("LOFTY_CACHE") or _default("cache"))
        self.owner = self.environ.get("LOFTY_OWNER") or _user()
        self.clock = Clock()
        self.bindings = Bindings(self.home)
        self._drivers: dict[str, Driver] = {}

    # --- making tasks -----------------------------------------------------------------------------------------

    def lab(self, path: str | os.PathLike[str] = ".", *, progress: Progress = _silent, **options: Any) -> Task:
        """A workspace on a directory, ready to be opened; the one that is there already when there is one."""
        source, chosen = self._lab_request(path, options)
        name = ids.check_name(chosen.name) if chosen.name else ids.slug(source.name)
        spec = request.workspace_spec(source, chosen, self._identity(name, chosen.on))
        present = self._same(spec, chosen)
        if present is not None:
            return present.start(progress=progress)
        port = chosen.port or loopback.free_port(spec.id)
        if not loopback.is_free(port):
            raise _port_taken(port, "choose another with --port, or leave --port out")
        try:
            return self._bring_up(msgspec.structs.replace(spec, port=port), chosen, progress)
        except Stale:  # another process made the same workspace at this moment
            return self.get(name).start(progress=progress)

    def run(
        self,
        file: str | os.PathLike[str],
        *args: str,
        progress: Progress = _silent,
        parameters: Mapping[str, jobs.Value] | None = None,
        **options: Any,
    ) -> Task:
        """A job that runs a file, started. Keywords that are no option are parameters of the notebook;
        `parameters` takes those whose names are options."""
        values = dict(parameters or {})
        known = {option.name for option in config.OPTIONS if "run" in option.verbs}
        values.update({key: options.pop(key) for key in list(options) if key not in known})
        spec, chosen = self.job_request(file, args, values, options)
        return self._bring_up(spec, chosen, progress)

    def plan_lab(self, path: str | os.PathLike[str], options: Mapping[str, Any]) -> Plan:
        """What `lab` would make."""
        source, chosen = self._lab_request(path, options)
        name = ids.check_name(chosen.name) if chosen.name else ids.slug(source.name)
        spec = request.workspace_spec(source, chosen, self._identity(name, chosen.on))
        return plan(self.driver(chosen.on), spec)

    def plan_run(
        self,
        file: str | os.PathLike[str],
        args: Sequence[str],
        values: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> Plan:
        """What `run` would make."""
        spec, chosen = self.job_request(file, args, values, options)
        return plan(self.driver(chosen.on), spec)

    def _lab_request(self, path: str | os.PathLike[str], options: Mapping[str, Any]) -> tuple[Path, config.Options]:
        source = request.folder(path)
        return source, config.resolve("lab", source, options, self.environ)

    def job_request(
        self,
        file: str | os.PathLike[str],
        args: Sequence[str],
        values: Mapping[str, jobs.Value],
        options: Mapping[str, Any],
    ) -> tuple[TaskSpec, config.Options]:
        """What a job asks for, checked; nothing is made yet."""
        path = Path(file).expanduser().absolute()
        jobs.check_file(path)
        path = path.resolve()
        source = request.workdir(path, options.get("workdir"))
        chosen = config.resolve("run", source, options, self.environ)
        source = request.workdir(path, chosen.workdir)
        if chosen.name:
            name = ids.check_name(chosen.name)
            if self._find(name, self.driver(chosen.on)):
                raise Conflict(f"there is a task '{name}' already", hint=f"lofty down {name}, or another --name")
        else:
            taken = [record.spec.name for record in self.driver(chosen.on).find(self.owner) if record.spec]
            name = ids.numbered(path.stem, taken)
        identity = self._identity(name, chosen.on)
        return request.job_spec(path, source, chosen, identity, args, values), chosen

    def _identity(self, name: str, on: str) -> request.Identity:
        in_place = "in-place" in self.driver(on).features
        return request.Identity(self.owner, name, self.clock.now(), self.environ, in_place=in_place)

    def _same(self, spec: TaskSpec, chosen: config.Options) -> Task | None:
        record = self._find(spec.name, self.driver(chosen.on))
        if record is None or record.spec is None:
            return None
        request.check_same(record.spec, spec)
        return Task(self, record)

    def _bring_up(self, spec: TaskSpec, chosen: config.Options, progress: Progress) -> Task:
        """Create, fill and start a task, and wait until it is up; when that fails, nothing of it is left."""
        driver = self.driver(spec.on)
        made = plan(driver, spec)
        task = Task(self, Record(handle=made.handle, spec=made.spec))
        for note in (*made.offer.notes, *_unused(spec, driver)):
            progress(Step("note", note))
        began = self.clock.now()
        progress(Step("create"))
        self._private_home()
        apply.create(made.resources, self.clock)
        try:
            self._fill(task, made.spec)
            progress(Step("create", seconds=self.clock.now() - began))
            return task.start(progress=progress)
        except BaseException as error:
            # Ctrl-C only detaches, and a job's own failure is its outcome; what lofty could not do is undone.
            if not isinstance(error, KeyboardInterrupt):
                tail = task.tail()
                task.discard()
                if tail and isinstance(error, TaskFailed):
                    error.add_note(tail)
            raise

    def _fill(self, task: Task, spec: TaskSpec) -> None:
        records = task.records
        if spec.kind == "workspace":
            import secrets

            records.put_secret("token", secrets.token_urlsafe(32))
        values = config.variables(spec.secrets, self.environ)
        if values:
            records.put_secret("env", msgspec.json.encode(values).decode())
        if not spec.workdir:
            report = files.push(Path(spec.source), records.store, spec.exclude)
            if report.skipped:
                raise LoftyError(f"these files could not be read: {', '.join(report.skipped[:5])}", hint="--exclude")
            self.bindings.put(spec.id, Binding(directory=spec.source, version=1))

    def _private_home(self) -> None:
        try:
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LoftyError(f"{error.filename} cannot be made: {error.strerror}", hint="set LOFTY_HOME") from error

    # --- finding tasks ----------------------------------------------------------------------------------------

    def driver(self, name: str) -> Driver:
        """A driver, made once."""
        if name not in self._drivers:
            settings = Settings(home=str(self.home), cache=str(self.cache), environ=self.environ)
            self._drivers[name] = registry.load(name, settings)
        return self._drivers[name]

    def _everywhere(self) -> list[Driver]:
        named = self.environ.get("LOFTY_ON")
        return [self.driver(name) for name in {*registry.names(), *([named] if named else [])}]

    def tasks(self) -> list[Task]:
        """Every task of this owner, everywhere."""
        return [Task(self, record) for driver in self._everywhere() for record in driver.find(self.owner)]

    def get(self, name: str | None = None, kind: str | None = None) -> Task:
        """The task of that name, or whose name begins so; without a name, the only one there is."""
        tasks = [task for task in self.tasks() if kind is None or task.kind == kind]
        fitting = [task for task in tasks if task.name == name] or [
            task for task in tasks if name is None or task.name.startswith(name)
        ]
        if len(fitting) == 1:
            return fitting[0]
        what = kind or "task"
        if len(fitting) > 1:
            names = ", ".join(sorted(task.name for task in fitting)[:8])
            fits = f"'{name}' fits several: {names}" if name else f"there are several: {names}"
            raise Ambiguous(fits, hint="name one of them")
        if not tasks:
            raise NotFound(f"there is no {what}" + (f" '{name}'" if name else ""), hint="lofty lab")
        known = sorted(task.name for task in tasks)
        raise NotFound(errors.unknown_choice(what, name or "", known), hint="lofty ls")

    def _find(self, name: str, driver: Driver) -> Record | None:
        task_id = ids.identifier(self.owner, name)
        return next((record for record in driver.find(self.owner) if record.handle.id == task_id), None)

    def check(self) -> list[tuple[str, Finding]]:
        """What works here and on each cloud, and what to do about the rest."""
        return [(driver.name, finding) for driver in self._everywhere() for finding in driver.check()]

    def offers(self, options: Mapping[str, Any]) -> list[Offer]:
        """Machines that fit, cheapest first."""
        chosen = config.resolve("lab", Path.cwd(), options, self.environ)
        spec = request.workspace_spec(Path.cwd(), chosen, self._identity("price", chosen.on))
        return list(self.driver(chosen.on).offers(spec.need))


class Task:
    """One workspace or job."""

    def __init__(self, client: Client, record: Record) -> None:
        self._client, self.handle, self._spec = client, record.handle, record.spec
        self._driver = client.driver(record.handle.driver)

    def __repr__(self) -> str:
        return f"<lofty {self.kind} {self.name}>"

    @property
    def spec(self) -> TaskSpec:
        """What was asked for. Raises `LoftyError` where only remains are left."""
        if self._spec is None:
            raise LoftyError(f"{self.handle.id} has no readable record", hint=f"lofty down {self.handle.id}")
        return self._spec

    @property
    def name(self) -> str:
        """Its name; the identifier where the record is lost."""
        return self._spec.name if self._spec else self.handle.id

    @property
    def kind(self) -> str:
        """`workspace` or `job`."""
        return self._spec.kind if self._spec else "remains"

    @property
    def records(self) -> Records:
        """The task's records in the store."""
        return Records(Store(self.handle.store))

    @property
    def _pace(self) -> float:
        return 0.05 if "in-place" in self._driver.features else 2.0

    def observe(self) -> Observation:
        """How it stands now."""
        return self._driver.observe(self.handle)

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
        """Where the workspace is; None for a job."""
        if self.kind != "workspace":
            return None
        end = self._driver.reach(self.handle, self.spec.port)
        return workspace.addresses(end.host, end.port, self.name, self.token)

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

    def start(self, *, progress: Progress = _silent) -> Task:
        """Get a machine unless there is one, and wait until the workspace answers or the job runs."""
        seen = self.observe()
        if seen.state == "gone":
            raise NotFound(f"'{self.name}' is gone", hint="lofty ls")
        if seen.state not in ALIVE:
            if self.kind == "job" and seen.machines:
                raise UsageError(f"the job '{self.name}' has ended ({seen.state})", hint="lofty run FILE")
            if self.spec.port and not loopback.is_free(self.spec.port):
                hint = f"end that program, or: lofty down {self.name}, then lofty lab {self.spec.source}"
                raise _port_taken(self.spec.port, hint)
            deadline = self._client.clock.now() + self.spec.timeout if self.spec.timeout else None
            self._driver.scale(self.handle, self.spec.parallelism, deadline)
        self._await_up(progress)
        return self

    def _await_up(self, progress: Progress) -> None:
        reporter = _Reporter(progress)
        for seen in watch.watch(self._driver, self.handle, self._client.clock, watch.is_up, self._pace):
            reporter.look(seen)
        failed = next((machine for machine in seen.machines if machine.error), None)
        if seen.state == "failed" and failed is not None and failed.exit_code is None:
            kind = getattr(errors, failed.error, TaskFailed)
            raise kind(failed.reason, hint=_HINTS.get(failed.error, f"lofty logs {self.name}"))
        if self.kind == "workspace" and seen.state != "running":
            raise TaskFailed(
                f"'{self.name}' did not start: {seen.reason or seen.state}",
                hint=f"lofty lab {self.spec.source}",
            )

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end of a job and give its exit code (the highest, of several machines); None when it has
        none: it was lost, or the time ran out."""
        limit = self._client.clock.now() + timeout if timeout is not None else float("inf")
        clock = self._client.clock
        for seen in watch.watch(
            self._driver,
            self.handle,
            clock,
            lambda seen: watch.is_over(seen) or clock.now() >= limit,
            self._pace,
        ):
            pass
        codes = [machine.exit_code for machine in seen.machines if machine.exit_code is not None]
        if not watch.is_over(seen) or len(codes) < len(seen.machines):
            return None
        return max(codes, default=None)

    def logs(self, *, follow: bool = False) -> Iterator[LogLine]:
        """Output so far; with `follow`, also what is still to come, to the end of the task."""
        if follow:
            return watch.follow(self._driver, self.handle, self._client.clock, Cursor(), self._pace * 2)
        return (line for line, _ in self._driver.logs(self.handle, Cursor()))

    def tail(self, lines: int = 12) -> str:
        """The end of the output, for an error message."""
        try:
            return "\n".join(line.text for line in list(self.logs())[-lines:])
        except LoftyError:
            return ""

    def stop(self) -> Task:
        """End the machine; the files, the token and the address stay."""
        watch.stop(self._driver, self.handle, self._client.clock, self._pace)
        return self

    def extend(self, more: str | float) -> Task:
        """Move the deadline: so many seconds (or `2h`) from now; it may come nearer too."""
        seconds = duration(more) if isinstance(more, str) else float(more)
        seen = self.observe()
        if seen.state not in ALIVE:
            raise UsageError(f"'{self.name}' is not running", hint=f"lofty start {self.name}")
        self._driver.scale(self.handle, self.spec.parallelism, self._client.clock.now() + seconds)
        return self

    def pull(self, to: str | os.PathLike[str] | None = None) -> files.Report:
        """Bring files back that a copy has changed; what was changed here too is kept, the other written beside."""
        if self.spec.workdir:
            return files.Report()  # it works in the directory itself
        binding = self._client.bindings.get(self.handle.id)
        if to is None and binding is None:
            raise UsageError(f"no directory here belongs to '{self.name}'", hint=f"lofty pull {self.name} --to DIR")
        store = self.records.store
        base = files.manifest(store, binding.version) if binding else None
        root = Path(to).expanduser().resolve() if to is not None else Path(binding.directory if binding else "")
        report = files.pull(store, root, base, suffix=self.name)
        if to is None and binding is not None:
            version = files.newest(store)
            self._client.bindings.put(self.handle.id, Binding(directory=binding.directory, version=version))
        return report

    def down(self, *, discard: bool = False, to: str | os.PathLike[str] | None = None) -> files.Report:
        """Bring back what there is to bring, and remove everything. The store is kept when that fails, unless
        `discard`."""
        report = files.Report()
        if self._spec is not None:
            self.stop()
            if not discard:
                try:
                    report = self.pull(to)
                except LoftyError as error:
                    hint = f"lofty down {self.name} --to DIR, or --discard to lose them"
                    raise LoftyError(f"the files were not brought: {error}", hint=hint) from error
        self.discard()
        return report

    def discard(self) -> None:
        """Remove everything as it is."""
        spec = self._spec or TaskSpec(
            id=self.handle.id, name=self.handle.id, owner="", kind="job", created=0, on="", processes=()
        )
        left = apply.destroy(self._driver.resources(spec, None), self._client.clock)
        if left:
            raise LoftyError(f"not everything could be removed: {'; '.join(left)}", hint=f"lofty down {self.name}")
        self._client.bindings.remove(self.handle.id)


class _Reporter:
    """Turns observations into steps, each told when it begins and when it is over."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._begun: set[str] = set()
        self._over: set[str] = set()
        self._notes: set[str] = set()

    def look(self, seen: Observation) -> None:
        for machine in seen.machines:
            for note in machine.notes:
                if note not in self._notes:
                    self._notes.add(note)
                    self._progress(Step("note", note))
            for stage in machine.stages:
                if stage.name not in self._begun:
                    self._begun.add(stage.name)
                    self._progress(Step(stage.name, stage.note))
                if stage.ended is not None and stage.name not in self._over:
                    self._over.add(stage.name)
                    self._progress(Step(stage.name, stage.note, stage.ended - stage.started))


_HINTS = {"EnvironmentFailed": "mend the requirements of the folder and run the command again"}


def _port_taken(port: int, hint: str) -> Conflict:
    who = loopback.holder(port)
    return Conflict(f"port {port} is in use" + (f" by {who}" if who else ""), hint=hint)


def _unused(spec: TaskSpec, driver: Driver) -> tuple[str, ...]:
    if spec.tunnel and "in-place" in driver.features:
        return ("on this machine --tunnel has no meaning and is passed over",)
    return ()


def _default(what: str) -> str:
    import platformdirs

    return platformdirs.user_state_dir("lofty") if what == "state" else platformdirs.user_cache_dir("lofty")


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "user"


__all__ = ["Client", "EnvironmentFailed", "Plan", "Step", "Task"]
