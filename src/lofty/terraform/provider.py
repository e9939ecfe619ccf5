"""From a request's bytes to a method of a resource, and back. Whatever goes wrong is a diagnostic in the answer."""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import msgspec

from ..errors import LoftyError, Unsupported
from . import planning, timeouts, wire
from .diagnostics import Diagnostic, Path, errors, of
from .resource import Call, DataSource, Level, Operation, Partial, Resource
from .schema import UNKNOWN, Attribute, Block, Schema, Unknown, Value, Values, known
from .values import Misfit, decode, encode, fit_all

Message = dict[str, Any]
CAPABILITIES = {"plan_destroy": True, "get_provider_schema_optional": True, "move_resource_state": True}


class Provider:
    """The one table of what terraform can manage and look up here, and the answers to its questions."""

    def __init__(
        self,
        *,
        resources: Iterable[Resource] = (),
        sources: Iterable[DataSource] = (),
        say: Callable[[Level, str], None] = lambda level, text: None,
    ) -> None:
        self.stopping = threading.Event()
        self._say = say
        self._schema = Schema(description="Jupyter and jobs on a machine of any cloud, or on this one.")
        self._resources = {one.name: one for one in resources}
        self._sources = {one.name: one for one in sources}
        self._schemas = {one.name: _with_timeouts(one) for one in self._resources.values()}
        self._methods: dict[str, Callable[[Message, list[Diagnostic]], Message]] = {
            "GetMetadata": self._metadata,
            "GetProviderSchema": self._provider_schema,
            "ValidateProviderConfig": self._validate_provider,
            "ValidateResourceConfig": self._validate_resource,
            "ValidateDataResourceConfig": self._validate_source,
            "ConfigureProvider": self._validate_provider,
            "UpgradeResourceState": self._upgrade,
            "ReadResource": self._read,
            "PlanResourceChange": self._plan,
            "ApplyResourceChange": self._apply,
            "ImportResourceState": self._import,
            "MoveResourceState": self._move,
            "ReadDataSource": self._look_up,
            "GetFunctions": lambda request, told: {},
        }

    def answer(self, method: str, request: Message) -> Message:
        """The answer to one question. Blocks as long as it takes; may be called from several threads. Never raises:
        an exception is a diagnostic, and its traceback a line of the log at level debug."""
        if method == "StopProvider":
            self.stopping.set()
            return {}
        told: list[Diagnostic] = []
        try:
            response = self._methods[method](request, told)
        except BaseException as error:  # noqa: BLE001 (a thread's SystemExit too would end all other calls)
            told += self._failed(error)
            # Without a state in this answer, terraform would take the resource out of the state file.
            response = {}
            if method == "ApplyResourceChange":
                response = {"new_state": request["prior_state"], "private": request["planned_private"]}
        return {**response, "diagnostics": [wire.diagnostic(one) for one in told]}

    def _failed(self, error: BaseException, at: Path = ()) -> Iterable[Diagnostic]:
        self._say("debug", "".join(traceback.format_exception(error)))
        return of(error, at)

    def _resource(self, name: str) -> tuple[Resource, Schema]:
        if name not in self._resources:
            known_ones = ", ".join(self._resources)
            raise Unsupported(f"this lofty does not know the resource '{name}'", hint=f"one of {known_ones}")
        return self._resources[name], self._schemas[name]

    def _source(self, name: str) -> DataSource:
        if name not in self._sources:
            raise Unsupported(
                f"this lofty does not know the data source '{name}'", hint=f"one of {', '.join(self._sources)}"
            )
        return self._sources[name]

    def _call(self, timeout: float | None = None, private: bytes = b"") -> Call:
        return Call(cancelled=self.stopping, timeout=timeout, private=private, say=self._say)

    def _metadata(self, request: Message, told: list[Diagnostic]) -> Message:
        return {
            "server_capabilities": CAPABILITIES,
            "resources": [{"type_name": name} for name in self._resources],
            "data_sources": [{"type_name": name} for name in self._sources],
        }

    def _provider_schema(self, request: Message, told: list[Diagnostic]) -> Message:
        return {
            "provider": wire.schema(self._schema),
            "resource_schemas": {name: wire.schema(one) for name, one in self._schemas.items()},
            "data_source_schemas": {name: wire.schema(one.schema) for name, one in self._sources.items()},
            "server_capabilities": CAPABILITIES,
        }

    def _validate_provider(self, request: Message, told: list[Diagnostic]) -> Message:
        _values(self._schema, request["config"])
        return {}

    def _validate_resource(self, request: Message, told: list[Diagnostic]) -> Message:
        resource, schema = self._resource(request["type_name"])
        told += self._wrong(schema, resource.validate, _there(schema, request["config"]))
        return {}

    def _validate_source(self, request: Message, told: list[Diagnostic]) -> Message:
        source = self._source(request["type_name"])
        told += self._wrong(source.schema, source.validate, _there(source.schema, request["config"]))
        return {}

    def _wrong(
        self, schema: Schema, whole: Callable[[Values], Iterable[Diagnostic]], config: Values
    ) -> Iterable[Diagnostic]:
        """What attributes say about themselves, then what the resource says about all of them together."""
        for at, one, value in _arguments(schema, config):
            if one.validate is not None and value is not None and known(value):
                yield from self._asked(one.validate, value, at)
        yield from self._asked(whole, config, ())

    def _asked(self, question: Callable[[Any], Iterable[Diagnostic]], value: Value, at: Path) -> Iterable[Diagnostic]:
        try:
            yield from (one.under(at) for one in question(value))
        except Exception as error:  # noqa: BLE001 (shown at its place, and the others are asked too)
            yield from self._failed(error, at)

    def _upgrade(self, request: Message, told: list[Diagnostic]) -> Message:
        resource, schema = self._resource(request["type_name"])
        state = _from_json(request["raw_state"])
        if state is None:
            return {"upgraded_state": _dynamic(schema, None)}
        call = self._call()
        upgraded = resource.upgrade(call, request["version"], state)
        told += call.warnings
        return {"upgraded_state": _dynamic(schema, upgraded)}

    def _read(self, request: Message, told: list[Diagnostic]) -> Message:
        resource, schema = self._resource(request["type_name"])
        state = _values(schema, request["current_state"])
        if state is None:
            return {"new_state": _dynamic(schema, None), "private": request["private"]}
        call = self._call(timeouts.limit(resource.timeouts, "read", state), request["private"])
        try:
            now = resource.read(call, state)
        finally:
            told += call.warnings
        if now is not None:
            now = _settled({**state, **now}, resource.name, told)
        return {"new_state": _dynamic(schema, now), "private": call.private}

    def _plan(self, request: Message, told: list[Diagnostic]) -> Message:
        resource, schema = self._resource(request["type_name"])
        if _values(schema, request["proposed_new_state"]) is None:
            return {"planned_state": _dynamic(schema, None), "planned_private": request["prior_private"]}
        prior, config = _values(schema, request["prior_state"]), _there(schema, request["config"])
        call = self._call(private=request["prior_private"])
        try:
            planned = resource.plan(call, prior, config, planning.plan(schema, prior, config))
        finally:
            told += call.warnings
        return {
            "planned_state": _dynamic(schema, planned.values),
            "requires_replace": [wire.path(one) for one in planned.replace],
            "planned_private": call.private,
        }

    def _apply(self, request: Message, told: list[Diagnostic]) -> Message:
        """An answer without a state would take the resource out of the state file: whatever fails, what is known to
        exist is given back."""
        resource, schema = self._resource(request["type_name"])
        prior, planned = _values(schema, request["prior_state"]), _values(schema, request["planned_state"])
        operation: Operation = "delete" if planned is None else "create" if prior is None else "update"
        call = self._call(
            timeouts.limit(resource.timeouts, operation, planned or prior or {}), request["planned_private"]
        )
        now: Values | None
        try:
            now = self._carry_out(resource, call, prior, planned)
            if now is not None:
                now = _settled(now, resource.name, told)
            state = _dynamic(schema, now)
        except BaseException as error:  # noqa: BLE001 (as in `answer`, and the state must not be lost)
            told += self._failed(error.error if isinstance(error, Partial) else error)
            now = {**(planned or prior or {}), **error.state} if isinstance(error, Partial) else prior
            state = _dynamic(schema, None if now is None else _without_unknown(now))
        told += call.warnings
        return {"new_state": state, "private": call.private}

    def _carry_out(self, resource: Resource, call: Call, prior: Values | None, planned: Values | None) -> Values | None:
        if planned is not None:
            done = resource.create(call, planned) if prior is None else resource.update(call, prior, planned)
            return {**planned, **done}
        if prior is not None:
            resource.delete(call, prior)
        return None

    def _import(self, request: Message, told: list[Diagnostic]) -> Message:
        resource, schema = self._resource(request["type_name"])
        call = self._call(resource.timeouts.get("read"))
        state = resource.import_(call, request["id"])
        told += call.warnings
        imported = {"type_name": resource.name, "state": _dynamic(schema, state), "private": call.private}
        return {"imported_resources": [imported]}

    def _move(self, request: Message, told: list[Diagnostic]) -> Message:
        resource, schema = self._resource(request["target_type_name"])
        call = self._call()
        moved = resource.move(
            call,
            request["source_provider_address"],
            request["source_type_name"],
            request["source_schema_version"],
            _from_json(request["source_state"]) or {},
        )
        told += call.warnings
        return {"target_state": _dynamic(schema, moved), "target_private": call.private}

    def _look_up(self, request: Message, told: list[Diagnostic]) -> Message:
        source = self._source(request["type_name"])
        config = planning.plan(source.schema, None, _there(source.schema, request["config"])).values
        call = self._call()
        try:
            found = source.read(call, config)
        finally:
            told += call.warnings
        return {"state": _dynamic(source.schema, _settled({**config, **found}, source.name, told))}


def _with_timeouts(resource: Resource) -> Schema:
    if not resource.timeouts:
        return resource.schema
    blocks = (*resource.schema.blocks, timeouts.block(resource.timeouts))
    return msgspec.structs.replace(resource.schema, blocks=blocks)


def _arguments(schema: Schema, config: Values) -> Iterable[tuple[Path, Attribute, Value]]:
    """Each attribute with its value and its place, those of blocks included. The place of what is in a set is that of
    the set."""
    yield from (((one.name,), one, config[one.name]) for one in schema.attributes)
    for block in schema.blocks:
        yield from _of_block(block, config[block.name])


def _of_block(block: Block, value: Value) -> Iterable[tuple[Path, Attribute, Value]]:
    if block.nesting == "single":
        if isinstance(value, dict):
            yield from (((block.name, one.name), one, value[one.name]) for one in block.attributes)
    elif value is not UNKNOWN:
        for element in value:
            if element is not UNKNOWN:
                yield from (((block.name,), one, element[one.name]) for one in block.attributes)


def _values(schema: Schema, dynamic: Message | None) -> Values | None:
    if dynamic is None:
        return None
    if dynamic["json"] and not dynamic["msgpack"]:
        return fit_all(schema, _json(dynamic["json"]))
    return decode(schema, dynamic["msgpack"])


def _there(schema: Schema, dynamic: Message | None) -> Values:
    values = _values(schema, dynamic)
    if values is None:
        raise Misfit((), "a configuration was expected")
    return values


def _dynamic(schema: Schema, values: Values | None) -> Message:
    return {"msgpack": encode(schema, values)}


def _from_json(raw_state: Message | None) -> Values | None:
    if raw_state and raw_state["flatmap"]:
        raise LoftyError(
            "the state was written by terraform 0.11 or earlier", hint="apply it with terraform 0.12 first"
        )
    state = _json(raw_state["json"] if raw_state else b"null")
    if state is not None and not isinstance(state, dict):
        raise Misfit((), "a state was expected")
    return state


def _json(raw: bytes) -> object:
    """Numbers keep every digit: msgspec would make floats of those beyond 64 bits."""
    try:
        value: object = json.loads(raw, parse_float=Decimal)
    except ValueError as error:
        raise Misfit((), f"these bytes are no JSON: {error}") from error
    return value


def _settled(values: Values, name: str, told: list[Diagnostic]) -> Values:
    """Values where nothing is UNKNOWN; what still was is an error, and None."""
    left = [key for key, value in values.items() if not known(value)]
    if left and not errors(told):
        told.append(Diagnostic(f"lofty has left {', '.join(left)} of {name} open", "This is a fault of lofty's."))
    settled: Values = _without_unknown(values)
    return settled


def _without_unknown(value: Value) -> Value:
    if isinstance(value, Unknown):
        return None
    if isinstance(value, dict):
        return {key: _without_unknown(one) for key, one in value.items()}
    return [_without_unknown(one) for one in value] if isinstance(value, list) else value
