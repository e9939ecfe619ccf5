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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from . import config, errors, request
from .bindings import Binding, Bindings
from .computer import Computer
from .drivers import registry
from .drivers.base import Driver, Noted, Settings
from .engine import apply, sweep
from .engine.clock import Clock
from .engine.plan import Plan, plan
from .engine.retry import retried
from .errors import (
    Ambiguous,
    Conflict,
    EnvironmentFailed,
    LoftyError,
    NotFound,
    Stale,
    TaskFailed,
)
from .jupyter import job as jobs
from .model import ids
from .model.spec import TaskSpec
from .model.state import Finding, Handle, Offer, Record
from .progress import Progress, Step, silent
from .reach import loopback
from .store.base import Store
from .store.records import Records
from .task import Task, port_taken


class SystemClock:
    """The real one."""

    def now(self) -> float:
        """Epoch seconds."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Come back later."""
        time.sleep(seconds)


class Client:
    """lofty on this computer, for one owner."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self.environ = dict(os.environ if environ is None else environ)
        computer = Computer.here(self.environ)
        self.home, self.cache, self.side = computer.home, computer.cache, computer.side
        self.owner = self.environ.get("LOFTY_OWNER") or _user()
        self.clock: Clock = SystemClock()
        self.bindings = Bindings(self.home)
        region = self.environ.get("LOFTY_REGION", "")
        self.settings = Settings(home=str(self.home), cache=str(self.cache), region=region, environ=self.environ)
        self._drivers: dict[str, Driver] = {}

    # --- making tasks -----------------------------------------------------------------------------------------

    def lab(self, path: str | os.PathLike[str] = ".", *, progress: Progress = silent, **options: Any) -> Task:
        """A workspace on a directory, or on that of a notebook, ready to be opened; the one that is there already when
        there is one."""
        spec, port = self._lab_request(path, options)
        present = self._same(spec)
        if present is not None:
            return present.start(progress=progress)
        port = port or loopback.free_port(spec.id)
        if not loopback.is_free(port):
            raise port_taken(port, "choose another with --port, or leave --port out")
        try:
            return self._bring_up(msgspec.structs.replace(spec, port=port), progress)
        except Stale:  # another process made the same workspace at this moment
            return self.get(spec.name).start(progress=progress)

    def run(
        self,
        file: str | os.PathLike[str],
        *args: str,
        progress: Progress = silent,
        parameters: Mapping[str, jobs.Value] | None = None,
        **options: Any,
    ) -> Task:
        """A job that runs a file, started. Keywords that are no option are parameters of the notebook;
        `parameters` takes those whose names are options."""
        values = dict(parameters or {})
        known = {option.name for option in config.OPTIONS if "run" in option.verbs}
        values.update({key: options.pop(key) for key in list(options) if key not in known})
        return self._bring_up(self._job_request(file, args, values, options), progress)

    def script(
        self,
        text: str,
        *,
        workdir: str | os.PathLike[str] | None = None,
        variables: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        wait: bool = True,
        progress: Progress = silent,
        **options: Any,
    ) -> Task:
        """A job that runs the text of a script, started; as the administrator where the machine is its own alone. It
        works on a copy of `workdir`, what `.gitignore` names included, or in an empty directory. `variables` are kept
        out of every record, `tags` are for what the cloud makes, the options are those of `run`. Without `wait`, it
        need not have a machine yet.

        With a name it is the same job again when it is there already, and one that was only half made is finished:
        whoever dies here and comes back gets what was meant."""
        values = dict(variables or {})
        spec = self._script_request(text, workdir, values, tags or {}, options)
        record = self._find(spec.name, self.driver(spec.on)) if options.get("name") else None
        if record is None:
            return self._bring_up(spec, progress, values, git=False, wait=wait)
        task = self.task(record.handle)
        request.check_same_script(task.spec, spec)
        if task.state != "pending":
            return task
        return self._bring_up(task.spec, progress, values, git=False, wait=wait)

    def plan_script(self, text: str, *, workdir: str | os.PathLike[str] | None = None, **options: Any) -> Plan:
        """What `script` would make."""
        return self._plan(self._script_request(text, workdir, {}, {}, options))

    def plan_lab(self, path: str | os.PathLike[str], options: Mapping[str, Any]) -> Plan:
        """What `lab` would make."""
        return self._plan(self._lab_request(path, options)[0])

    def plan_run(
        self,
        file: str | os.PathLike[str],
        args: Sequence[str],
        values: Mapping[str, Any],
        options: Mapping[str, Any],
    ) -> Plan:
        """What `run` would make."""
        return self._plan(self._job_request(file, args, values, options))

    def _lab_request(self, path: str | os.PathLike[str], options: Mapping[str, Any]) -> tuple[TaskSpec, int]:
        """What a workspace asks for, checked, and the port named for it, 0 where none was; nothing is made yet."""
        source = request.folder(request.opened(path)[0])
        chosen = config.resolve("lab", source, options, self.environ)
        name = ids.check_name(chosen.name) if chosen.name else ids.slug(source.name)
        return request.workspace_spec(source, chosen, self._identity(name, chosen.on)), chosen.port or 0

    def _job_request(
        self,
        file: str | os.PathLike[str],
        args: Sequence[str],
        values: Mapping[str, jobs.Value],
        options: Mapping[str, Any],
    ) -> TaskSpec:
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
            taken = [record.spec.name for record in self._records(self.driver(chosen.on)) if record.spec]
            name = ids.numbered(path.stem, taken)
        identity = self._identity(name, chosen.on)
        return request.job_spec(path, source, chosen, identity, args, values)

    def _script_request(
        self,
        text: str,
        workdir: str | os.PathLike[str] | None,
        variables: Mapping[str, str],
        tags: Mapping[str, str],
        options: Mapping[str, Any],
    ) -> TaskSpec:
        """What a script asks for, checked; nothing is made yet."""
        source = request.folder(workdir) if workdir is not None else None
        chosen = config.resolve("run", source, {**options, "copy": True}, self.environ)
        if chosen.name:
            name = ids.check_name(chosen.name)
        else:
            taken = [record.spec.name for record in self._records(self.driver(chosen.on)) if record.spec]
            name = ids.numbered("script", taken)
        identity = self._identity(name, chosen.on)
        return request.script_spec(text, source, chosen, identity, sorted(variables), tags)

    def _identity(self, name: str, on: str) -> request.Identity:
        in_place = "in-place" in self.driver(on).features
        return request.Identity(self.owner, name, self.clock.now(), self.environ, in_place=in_place)

    def _same(self, spec: TaskSpec) -> Task | None:
        record = self._find(spec.name, self.driver(spec.on))
        if record is None or record.spec is None:
            return None
        present = Task(self, record)
        request.check_same(present.records.spec() or record.spec, spec)
        return present

    def _bring_up(
        self,
        spec: TaskSpec,
        progress: Progress,
        variables: Mapping[str, str] | None = None,
        *,
        git: bool = True,
        wait: bool = True,
    ) -> Task:
        """Create, fill and start a task, and wait until it is up; when that fails, nothing of it is left. Secret
        variables are this computer's unless they are given."""
        driver = self.driver(spec.on)
        made = self._plan(spec)
        task = Task(self, Record(handle=made.handle, spec=made.spec))
        for note in (*made.offer.notes, *_told(spec, driver)):
            progress(Step("note", note))
        keys = self._keys(made.spec, driver)
        began = self.clock.now()
        progress(Step("create"))
        self._private_home()
        apply.create(made.resources, self.clock)
        for note in (note for one in made.resources if isinstance(one, Noted) for note in one.notes):
            progress(Step("note", note))
        try:
            self._fill(task, made.spec, keys, progress, variables, git=git)
            progress(Step("create", seconds=self.clock.now() - began))
            return task.start(progress=progress, wait=wait)
        except BaseException as error:
            # Ctrl-C only detaches, and a job's own failure is its outcome; what lofty could not do is undone.
            if not isinstance(error, KeyboardInterrupt):
                tail = task.tail()
                task.down(discard=True)
                if tail and isinstance(error, TaskFailed):
                    error.add_note(tail)
            raise

    def _keys(self, spec: TaskSpec, driver: Driver) -> str:
        """Public keys of others that may log in. Looked up before anything is made: a wrong name costs nothing."""
        if not spec.ssh_keys or "ssh" not in driver.features:
            return ""
        from .reach import keys

        return retried(lambda: keys.authorized(spec.ssh_keys, self.environ), self.clock)

    def _fill(
        self,
        task: Task,
        spec: TaskSpec,
        keys: str,
        progress: Progress,
        variables: Mapping[str, str] | None,
        *,
        git: bool,
    ) -> None:
        records = task.records
        if spec.kind == "workspace":
            import secrets

            records.put_secret("token", secrets.token_urlsafe(16))
        if "ssh" in self.driver(spec.on).features:
            from .reach import ssh

            key = ssh.new_key()
            records.put_secret(ssh.RECORD, key.private)
            records.put_secret(f"{ssh.RECORD}.pub", key.public)
        if keys:
            records.put_secret("authorized_keys", keys)
        if spec.tunnel:
            records.put_secret("tunnel", request.tunnel_token(spec.tunnel, self.environ))
        values = config.variables(spec.secrets, self.environ) | dict(variables or {})
        if values:
            records.put_secret("env", msgspec.json.encode(values).decode())
        if spec.source and not spec.workdir:
            self._send_files(task, spec, progress, git=git)

    def _send_files(self, task: Task, spec: TaskSpec, progress: Progress, *, git: bool) -> None:
        from .store import repository

        self.bindings.put(spec.id, Binding(directory=spec.source))
        report = task.push(progress=progress, git=git)
        sent = repository.send(Path(spec.source), Store(task.handle.store))
        for note in (*report.told(), *(sent.notes if sent else ())):
            progress(Step("note", note))

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
            self._drivers[name] = registry.load(name, self.settings)
        return self._drivers[name]

    def _everywhere(self) -> list[Driver]:
        named = self.environ.get("LOFTY_ON")
        return [self.driver(name) for name in {*registry.used(self.environ), *([named] if named else [])}]

    def everything(self) -> tuple[list[Task], list[str]]:
        """Every task of this owner, everywhere, and what could not be asked."""
        tasks: list[Task] = []
        problems: list[str] = []
        for driver in self._everywhere():
            try:
                tasks += [Task(self, record) for record in self._records(driver)]
            except LoftyError as error:
                problems.append(f"{driver.name}: {error}")
        return tasks, problems

    def tasks(self) -> list[Task]:
        """Every task of this owner, everywhere. Raises the first error where something could not be asked."""
        return [Task(self, record) for driver in self._everywhere() for record in self._records(driver)]

    def task(self, handle: Handle) -> Task:
        """The task of a handle, wherever it was made, with the whole of its record."""
        return Task(self, Record(handle=handle, spec=Records(Store(handle.store)).spec()))

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

    def _records(self, driver: Driver) -> Sequence[Record]:
        return retried(lambda: driver.find(self.owner), self.clock)

    def _plan(self, spec: TaskSpec) -> Plan:
        return retried(lambda: plan(self.driver(spec.on), spec), self.clock)

    def _find(self, name: str, driver: Driver) -> Record | None:
        task_id = ids.identifier(self.owner, name)
        return next((record for record in self._records(driver) if record.handle.id == task_id), None)

    def sweep(self, *, dry_run: bool = False) -> tuple[list[str], list[str]]:
        """Remove what was left behind; gives what was removed (or would be), and what was only found."""
        from .agent import environment

        removed: list[str] = []
        kept: list[str] = []
        for driver in self._everywhere():
            for leftover in sweep.leftovers(driver, self._records(driver), self.clock):
                left = [] if dry_run or not leftover.safe else sweep.remove(leftover, self.clock)
                text = f"{leftover.text} (not removed: {'; '.join(left)})" if left else leftover.text
                (removed if leftover.safe and not left else kept).append(text)
        for folder in environment.stale(self.cache):
            removed.append(f"the environment of a folder that is gone ({folder.name})")
            if not dry_run:
                environment.remove(folder)
        return removed, kept

    def check(self, on: str | None = None) -> list[tuple[str, Finding]]:
        """What works here and on each cloud, or on the one named, and what to do about the rest."""
        drivers = [self.driver(on)] if on else self._everywhere()
        return [(driver.name, finding) for driver in drivers for finding in driver.check()]

    def offers(self, options: Mapping[str, Any]) -> list[Offer]:
        """Machines that fit, cheapest first."""
        chosen = config.resolve("lab", Path.cwd(), options, self.environ)
        spec = request.workspace_spec(Path.cwd(), chosen, self._identity("price", chosen.on))
        return list(self.driver(chosen.on).offers(spec.need))


def _told(spec: TaskSpec, driver: Driver) -> tuple[str, ...]:
    """What a person should know of a request before it is carried out."""
    told = _unused(spec) if "in-place" in driver.features else ()
    if spec.tunnel:
        seen = f"{spec.tunnel}, a third party, sees all that goes through its tunnel, the workspace's token too"
        told = (*told, seen)
    return told


def _unused(spec: TaskSpec) -> tuple[str, ...]:
    asked = {"--keep-on-error": spec.keep_on_error, "--ssh-keys": spec.ssh_keys, "--role": spec.role}
    passed = (option for option, value in asked.items() if value)
    return tuple(f"on this machine {option} has no meaning and is passed over" for option in passed)


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "user"


__all__ = ["Client", "EnvironmentFailed", "Plan", "Step", "Task"]
