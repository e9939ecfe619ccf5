"""`lofty_workspace`: what `lofty lab` makes, kept by terraform."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from .. import config
from ..errors import AccessError, Conflict, LoftyError, NotFound, UsageError
from ..model import ids
from . import options
from .clients import Clients, patience, remember, remembered
from .resource import Call, Operation, Partial, Plan, Resource
from .schema import NUMBER, STRING, UNKNOWN, Attribute, Schema, Values, known

if TYPE_CHECKING:
    from ..api import Client
    from ..task import Task

ASKED = tuple(option.name for option in config.OPTIONS if "lab" in option.verbs)
RECORD = "terraform"
NEAR_SECONDS = 10.0
"""How long a refresh waits for the way to a machine to open."""
_RESULTS = (
    ("id", "The identifier of the task.", False),
    ("state", "`running`, `stopped`, …, as `lofty ls` shows it.", False),
    ("url", "JupyterLab's address on this computer; it opens without a login. Null while there is no machine.", True),
    ("notebook_url", "The classic page's.", True),
    ("tensorboard_url", "TensorBoard's.", True),
    ("token", "The secret in the addresses.", True),
)


class Workspace(Resource):
    """Lab, Notebook and TensorBoard on a directory."""

    name = "lofty_workspace"
    timeouts: ClassVar[Mapping[Operation, float]] = {"create": 1800, "read": 180, "delete": 900}
    schema = Schema(
        attributes=(
            Attribute(
                name="path",
                type=STRING,
                default=".",
                replace=True,
                description="Directory of this computer; relative to terraform's.",
            ),
            *options.arguments(ASKED, replace=True),
            *(
                Attribute(name=name, type=STRING, computed=True, sensitive=sensitive, description=text)
                for name, text, sensitive in _RESULTS
            ),
            Attribute(
                name="price_per_hour",
                type=NUMBER,
                computed=True,
                description="USD that a machine costs; null where it is not known.",
            ),
        ),
        description="JupyterLab, Notebook and TensorBoard on a machine of any cloud, or on this computer.",
    )

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._made: set[str] = set()
        """Names of what was made by this process: one apply."""
        self._lock = threading.Lock()

    def plan(self, call: Call, prior: Values | None, config: Values, proposed: Plan) -> Plan:
        """Where a new one is to be made: whether there is such a machine, with these credentials."""
        asked = {name: proposed.values[name] for name in ("path", *ASKED)}
        if (prior is not None and not proposed.replace) or not known(asked) or not Path(asked["path"]).exists():
            return proposed
        made = self._clients.get().plan_lab(asked["path"], options.given(asked, ASKED))
        for note in made.offer.notes:
            call.warn(note)
        return proposed

    def create(self, call: Call, planned: Values) -> Values:
        """Made and ready to be opened; one that `lofty lab` would go on with is taken over."""
        client = self._clients.get()
        asked = {name: planned[name] for name in ("path", *ASKED)}
        name = planned["name"] or ids.slug(Path(planned["path"]).resolve().name)
        self._claim(name)
        before = _named(client, name)
        try:
            task = client.lab(planned["path"], progress=patience(call), **options.given(planned, ASKED))
        except LoftyError as error:
            left = None if before else _named(client, name)  # what was there already is not ours to remove
            if left is None:
                raise
            raise Partial({**planned, **_nothing(left.handle.id)}, error) from error
        task.records.put_secret(RECORD, msgspec.json.encode(asked).decode())
        remember(call, task)
        return {**planned, **_results(task)}

    def _claim(self, name: str) -> None:
        with self._lock:
            if name in self._made:
                raise Conflict(
                    f"two workspaces of this configuration are named '{name}'", hint='name = "another", in one of them'
                )
            self._made.add(name)

    def read(self, call: Call, state: Values) -> Values | None:
        """How it stands. Where it runs, the way to it is opened again."""
        client = self._clients.get()
        try:
            task = _task(client, call, state["id"])
            if task is None or task.record.spec is None:
                return None
            found = _results(task)
        except (AccessError, UsageError):
            raise
        except LoftyError as error:
            call.warn(f"how {state['id']} stands could not be found out: {error}", f"Try: {error.hint or 'lofty ls'}")
            return state
        if found["url"]:
            try:
                task.connect(NEAR_SECONDS)
            except LoftyError as error:
                call.warn(f"the way to '{task.name}' is not open: {error}", f"Try: lofty url {task.name}")
        return {**state, **found}

    def update(self, call: Call, prior: Values, planned: Values) -> Values:
        """Only what an import left open; every argument makes a new one."""
        task = _task(self._clients.get(), call, prior["id"])
        found = _results(task) if task else _nothing(prior["id"])
        return {**planned, **{name: found[name] for name, value in planned.items() if value is UNKNOWN}}

    def delete(self, call: Call, state: Values) -> None:
        """As `lofty down`: what was worked on in a copy comes back first."""
        task = _task(self._clients.get(), call, state["id"])
        if task is None:
            return
        if task.record.spec is None:
            task.down(discard=True)
            return
        report = task.down(progress=patience(call))
        for line in report.told():
            call.warn(f"{task.name}: {line}")

    def import_(self, call: Call, id: str) -> Values:  # noqa: A002
        """By the name or identifier that `lofty ls` shows."""
        client = self._clients.get()
        found = next((one for one in client.tasks() if id in (one.name, one.handle.id)), None)
        if found is None or found.kind != "workspace":
            raise NotFound(f"there is no workspace '{id}'", hint="lofty ls")
        task = client.task(found.handle)
        raw = task.records.secret(RECORD)
        asked: dict[str, Any] = msgspec.json.decode(raw) if raw else {"path": task.spec.source}
        remember(call, task)
        return {**dict.fromkeys(("path", *ASKED)), **asked, **_results(task)}


def _results(task: Task) -> Values:
    seen = task.observe()
    running = seen.state == "running"
    price = task.spec.price
    return {
        "id": task.handle.id,
        "state": seen.state,
        "url": task.url if running else None,
        "notebook_url": task.notebook_url if running else None,
        "tensorboard_url": task.tensorboard_url if running else None,
        "token": task.token,
        "price_per_hour": price.usd_per_hour if price else None,
    }


def _nothing(task_id: str) -> Values:
    return {**{name: None for name, _, _ in _RESULTS}, "id": task_id, "price_per_hour": None}


def _task(client: Client, call: Call, task_id: str) -> Task | None:
    if (handle := remembered(call)) is not None:
        return client.task(handle)
    found = next((one for one in client.tasks() if one.handle.id == task_id), None)
    return client.task(found.handle) if found else None


def _named(client: Client, name: str) -> Task | None:
    return next((one for one in client.tasks() if one.name == name), None)
