"""Terraform's verbs for `iterative_task`. The work is lofty's own (`Client.script`, `Task`); here is what terraform
adds: an identifier before anything is made, what happens when it is interrupted, and what its state holds."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from ...drivers import registry
from ...errors import AccessError, Conflict, LoftyError, NotFound, UsageError
from ..clients import Clients, patience, remember, remembered
from ..diagnostics import Diagnostic, Refused
from ..resource import Call, Operation, Partial, Plan, Resource
from ..schema import UNKNOWN, Values, known
from . import environment, identity, inheritance, results, storage, words
from .declaration import ARGUMENTS, SCHEMA
from .identity import Identifier
from .journal import Journal, key_of, place_of

if TYPE_CHECKING:
    from ...api import Client
    from ...store.files import Report
    from ...task import Task

RECORD = "terraform"
"""The secret of the task's store that holds the arguments, so that it can be imported with all of them."""
NAMES = (*(one.name for one in ARGUMENTS), "storage")


class IterativeTask(Resource):
    """A script on machines of any cloud."""

    name = "iterative_task"
    schema = SCHEMA
    timeouts: ClassVar[Mapping[Operation, float]] = {"create": 900, "read": 180, "update": 180, "delete": 900}

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._made: set[str] = set()
        """Identifiers that are being made, or were, by this process: one apply."""
        self._lock = threading.Lock()

    def validate(self, config: Values) -> Iterable[Diagnostic]:
        """The storage block, and what goes together."""
        yield from storage.problems(config["storage"])

    def plan(self, call: Call, prior: Values | None, config: Values, proposed: Plan) -> Plan:
        """Where a new task is to be made: whether there is such a machine, with these credentials."""
        asked = {name: proposed.values[name] for name in NAMES}
        if (prior is not None and not proposed.replace) or not known(asked):
            return proposed
        client, place = self._clients.get(), storage.of(asked["storage"])
        if place.workdir is not None and not place.workdir.exists():
            call.warn(
                f"there is no directory {place.workdir} yet", "It has to be there when this is applied.", ("storage",)
            )
            place = storage.Storage()
        _check(place)
        on = words.driver(asked["cloud"], registry.names())
        try:
            there = {"container": place.url("planned"), **words.options(asked, "planned", on)}
            made = client.plan_script(asked["script"], workdir=place.workdir, **there)
        except LoftyError as error:
            raise Refused(_in_configuration(error)) from error
        for note in made.offer.notes:
            call.warn(words.in_configuration(note))
        return proposed

    def create(self, call: Call, planned: Values) -> Values:
        """Make it and start it; its machine comes later, as `read` tells."""
        client = self._clients.get()
        asked = {name: planned[name] for name in NAMES}
        place = place_of(Path.cwd(), client.environ)
        journal = Journal(client.home)
        key = key_of(place, asked)
        text = journal.begin(key, place, lambda: self._identify(client, asked, key))
        found = identity.parsed(text)
        assert found is not None
        self._claim(text, planned["name"])
        try:
            for left in _left_behind(journal, place, key):
                call.warn(f"an apply that was killed has left {left} unfinished", f"Try: lofty down {left} --discard")
            task = self._script(call, client, found, asked)
        except BaseException as error:
            # What was refused made nothing: what is there under that name is somebody else's.
            left_over = not isinstance(error, UsageError | Refused) and _remains(client, found)
            journal.end(text)
            if not left_over:
                self._forget(text)
                raise
            state = {**planned, **results.NOTHING, "id": text}
            raise Partial(state, error if isinstance(error, Exception) else LoftyError("interrupted")) from error
        remember(call, task)
        try:
            seen = results.of(task)
        except LoftyError as error:  # it is made: the next refresh will tell
            call.warn(f"how {text} stands could not be found out: {error}", _try(error))
            seen = results.NOTHING
        journal.end(text)
        return {**planned, "id": text, **seen}

    def _identify(self, client: Client, asked: Values, key: str) -> tuple[str, str]:
        run = identity.run_of(client.environ)
        if asked["name"]:
            found = identity.named(asked["name"])
        elif run:
            with self._lock:
                count = 0
                while identity.of_run(run, key, count).text in self._made:
                    count += 1
                found = identity.of_run(run, key, count)
        else:
            found = identity.fresh()
        return found.text, found.task

    def _claim(self, text: str, name: str | None) -> None:
        with self._lock:
            if text in self._made:
                raise Refused(
                    Diagnostic(
                        f"two tasks of this configuration are named '{name}'",
                        "Both would be the same task. Give one of them another name.",
                        ("name",),
                    )
                )
            self._made.add(text)

    def _forget(self, text: str) -> None:
        with self._lock:
            self._made.discard(text)

    def _script(self, call: Call, client: Client, found: Identifier, asked: Values) -> Task:
        place = storage.of(asked["storage"])
        _check(place)
        on = words.driver(asked["cloud"], registry.names())
        environ = asked["environment"] or {}
        try:
            task = client.script(
                asked["script"],
                workdir=place.workdir,
                variables=environment.resolved(environ, client.environ, asked["region"], asked["machine"]),
                tags={key: value or "" for key, value in (asked["tags"] or {}).items()},
                wait=False,
                progress=patience(call),
                exclude=place.exclude,
                container=place.url(found.salt + found.check),
                **words.options(asked, found.task, on),
            )
        except UsageError as error:
            raise Refused(_in_configuration(error)) from error
        task.records.put_secret(RECORD, msgspec.json.encode(asked, enc_hook=float).decode())
        return task

    def read(self, call: Call, state: Values) -> Values | None:
        """How it stands, and its outputs as they are now."""
        client = self._clients.get()
        try:
            task = self._task(client, call, state)
            if task is None:
                return self._read_inherited(client, call, state)
            if task.record.spec is None:
                return None
            found = results.of(task)
        except (AccessError, UsageError):
            raise
        except LoftyError as error:
            call.warn(f"how {state['id']} stands could not be found out: {error}", _try(error))
            return state
        self._bring(call, task, state)
        return {**state, **found}

    def _read_inherited(self, client: Client, call: Call, state: Values) -> Values | None:
        old = inheritance.of(client, state)
        if old is None:
            return None
        found = inheritance.shown(old)
        _tell_brought(call, state, lambda: inheritance.brought(client, old, state, patience(call)))
        return {**state, **found}

    def _bring(self, call: Call, task: Task, state: Values) -> None:
        place = storage.of(state["storage"])
        how = place.bringing
        if how is not None:
            _tell_brought(call, state, lambda: task.pull(place.workdir, how=how, progress=patience(call)))

    def _task(self, client: Client, call: Call, state: Values) -> Task | None:
        """The task of a state; None where there is none any more."""
        if (handle := remembered(call)) is not None:
            return client.task(handle)
        text = state["id"]
        found = identity.parsed(text)
        task = _named(client, found.task) if found else None
        if task is not None:
            remember(call, task)
        return task

    def update(self, call: Call, prior: Values, planned: Values) -> Values:
        """What comes back is a matter of this side alone: there is nothing to do but to say what an import left
        open."""
        open_ones = [name for name, value in planned.items() if value is UNKNOWN]
        if not open_ones:
            return planned
        task = self._task(self._clients.get(), call, prior)
        found = results.of(task) if task else results.NOTHING
        return {**planned, **{name: found[name] for name in open_ones}}

    def delete(self, call: Call, state: Values) -> None:
        """Bring the outputs, and remove everything. Where they cannot be brought the store is kept."""
        client = self._clients.get()
        task = self._task(client, call, state)
        if task is None:
            self._delete_inherited(client, call, state)
            return
        place = storage.of(state["storage"])
        how = place.bringing
        try:
            if how is None or task.record.spec is None:
                task.down(discard=True, progress=patience(call))
            else:
                report = task.down(to=place.workdir, how=how, progress=patience(call))
                for line in report.told():
                    call.warn(f"{state['id']}: {line}")
        except LoftyError as error:
            if isinstance(error, AccessError) or how is None:
                raise
            raise LoftyError(
                str(error),
                hint="terraform destroy again, once that is mended. To lose the outputs: lofty down "
                f"{task.name} --discard, then terraform destroy. Nothing is running any more, and they are kept",
            ) from error
        self._forget(state["id"])

    def _delete_inherited(self, client: Client, call: Call, state: Values) -> None:
        old = inheritance.of(client, state)
        if old is None:
            return
        try:
            report = inheritance.brought(client, old, state, patience(call))
        except AccessError:
            raise
        except LoftyError as error:
            raise LoftyError(
                f"the outputs of {state['id']} were not brought: {error}",
                hint='terraform destroy again, once that is mended. To lose the outputs: set output = "" first. '
                "Nothing was removed",
            ) from error
        for line in report.told() if report else ():
            call.warn(f"{state['id']}: {line}")
        inheritance.remove(client, old)

    def import_(self, call: Call, id: str) -> Values:  # noqa: A002
        """By identifier, or by the name that `lofty ls` shows. All arguments come back with it."""
        client = self._clients.get()
        found = identity.parsed(id)
        task = _named(client, found.task if found else id)
        if task is None:
            raise NotFound(f"there is no task '{id}'", hint="lofty ls")
        raw = task.records.secret(RECORD)
        if raw is None:
            raise UsageError(
                f"'{id}' was not made by terraform", hint=f"lofty down {task.name}, and let terraform make it"
            )
        remember(call, task)
        asked: dict[str, Any] = msgspec.json.decode(raw)
        text = found.text if found else _identifier_of(task, asked)
        return {**asked, "id": text, **results.NOTHING, "timeouts": None}


def _tell_brought(call: Call, state: Values, bring: Callable[[], Report | None]) -> None:
    """What came back, or why it did not: no reason not to show how a task stands."""
    try:
        report = bring()
    except LoftyError as error:
        call.warn(f"the outputs of {state['id']} were not brought: {error}", _try(error), ("storage",))
        return
    for line in report.told() if report else ():
        call.warn(f"{state['id']}: {line}", "", ("storage",))


def _identifier_of(task: Task, asked: Values) -> str:
    if asked["name"]:
        return identity.named(asked["name"]).text
    raise UsageError(
        f"'{task.name}' has an identifier that is not told by its name", hint="terraform import ADDRESS tpi-…"
    )


def _named(client: Client, name: str) -> Task | None:
    found = next((one for one in client.tasks() if one.name == name), None)
    return client.task(found.handle) if found else None


def _remains(client: Client, found: Identifier) -> bool:
    """Whether anything of a task is there; where that cannot be found out, something may be."""
    try:
        return _named(client, found.task) is not None
    except LoftyError:
        return True


def _left_behind(journal: Journal, place: str, key: str) -> Iterable[str]:
    return [one.task for one in journal.entries().values() if one.place == place and one.key != key and one.orphan]


def _check(place: storage.Storage) -> None:
    """`Refused` unless there is a directory to send."""
    if place.workdir is not None and not place.workdir.is_dir():
        what = "is not a directory" if place.workdir.exists() else "is not there"
        raise Refused(Diagnostic(f"workdir {place.workdir} {what}", f"Try: mkdir -p {place.workdir}", storage.PATH))


def _in_configuration(error: LoftyError) -> Diagnostic:
    message = words.in_configuration(str(error))
    path = ("name",) if isinstance(error, Conflict) else words.place(message)
    if isinstance(error, AccessError):
        path = ("cloud",)
    return Diagnostic(message[:1].upper() + message[1:], words.in_configuration(_try(error)), path)


def _try(error: LoftyError) -> str:
    return f"Try: {error.hint}" if error.hint else ""
