"""A provider with one resource and one data source of the tests' own, served as lofty serves its own: for everything
that is true whatever the resource. The things lie in the folder THINGS as files; what goes wrong is named in `mode`."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from lofty.errors import Conflict, SpecError, Unavailable
from lofty.terraform.diagnostics import Diagnostic, Refused
from lofty.terraform.plugin import main
from lofty.terraform.progress import say
from lofty.terraform.provider import Provider
from lofty.terraform.resource import Call, DataSource, Operation, Partial, Plan, Resource
from lofty.terraform.schema import (
    BOOL,
    NUMBER,
    STRING,
    UNKNOWN,
    Attribute,
    Block,
    List,
    Map,
    Object,
    Schema,
    Set,
    Values,
)


def lower(value: str) -> Iterable[Diagnostic]:
    if value != value.lower():
        yield Diagnostic("A name is in lower case", "write it so")


def positive(value: float) -> Iterable[Diagnostic]:
    if value <= 0:
        raise SpecError("a size is more than nothing", hint="size = 1")
    return ()


class Thing(Resource):
    name = "test_thing"
    schema = Schema(
        attributes=(
            Attribute(name="id", type=STRING, computed=True),
            Attribute(name="name", type=STRING, required=True, replace=True, validate=lower),
            Attribute(name="mode", type=STRING, optional=True),
            Attribute(name="size", type=NUMBER, default=1, validate=positive),
            Attribute(name="ratio", type=NUMBER, optional=True),
            Attribute(name="open", type=BOOL, default=False),
            Attribute(name="region", type=STRING, optional=True, computed=True, replace=True),
            Attribute(name="tags", type=Map(STRING), optional=True),
            Attribute(name="words", type=List(STRING), optional=True),
            Attribute(name="marks", type=Set(STRING), optional=True),
            Attribute(name="secret", type=STRING, optional=True, sensitive=True),
            Attribute(name="made", type=NUMBER, computed=True),
            Attribute(name="status", type=Map(NUMBER), computed=True),
        ),
        blocks=(
            Block(
                name="storage",
                nesting="set",
                max_items=1,
                attributes=(
                    Attribute(name="workdir", type=STRING, default="", replace=True),
                    Attribute(name="output", type=STRING, default=""),
                    Attribute(name="exclude", type=List(STRING), optional=True),
                ),
            ),
        ),
    )
    timeouts: ClassVar[Mapping[Operation, float]] = {"create": 900, "delete": 60}

    def validate(self, config: Values) -> Iterable[Diagnostic]:
        if config["mode"] == "crash at validate":
            raise ZeroDivisionError("never mind")
        if config["mode"] == "two at once":
            raise Refused(Diagnostic("First", path=("size",)), Diagnostic("Second", path=("tags",)))
        return ()

    def plan(self, call: Call, prior: Values | None, config: Values, proposed: Plan) -> Plan:
        if config["mode"] == "no credentials":
            raise Conflict("there are no credentials", hint="lofty check")
        if prior is not None and prior["size"] != proposed.values["size"]:
            proposed.values["status"] = UNKNOWN
        return proposed

    def create(self, call: Call, planned: Values) -> Values:
        mode = planned["mode"] or ""
        state = {**planned, "id": f"thing-{planned['name']}", "made": 1, "status": {"ready": 1}}
        state["region"] = "here" if planned["region"] is UNKNOWN else planned["region"]
        if mode == "fail":
            raise Unavailable("the cloud is down", hint="wait")
        if mode == "crash":
            raise ZeroDivisionError("never mind")
        if mode == "exit":
            sys.exit(3)
        if mode == "print":
            print("1|6|unix|/tmp/elsewhere|grpc|")
            sys.stdout.flush()
        call.say("info", f"making {planned['name']}, {call.timeout:g} s at most")
        self._write(state)
        if mode == "partly":
            raise Partial({"id": state["id"]}, Unavailable("the second half is missing", hint="apply again"))
        if mode == "open":
            del state["status"]
        if mode.startswith("slow"):
            (_things() / f"{state['id']}.begun").touch()
            limit = time.monotonic() + float(mode.split()[1])
            while time.monotonic() < limit and not (call.cancelled.wait(0.02) and mode.split()[2:] != ["deaf"]):
                pass
            if call.cancelled.is_set():
                (_things() / f"{state['id']}.stopped").touch()
                raise Partial({"id": state["id"]}, Unavailable("it was stopped", hint="apply again"))
        call.private = b"kept"
        return state

    def read(self, call: Call, state: Values) -> Values | None:
        if state["mode"] == "unreachable":
            call.warn("The cloud did not answer", "The state is as it was.")
            return state
        try:
            found: Values = json.loads(_file(state["id"]).read_text())
        except FileNotFoundError:
            return None
        return {**found, "private": call.private.decode()}

    def update(self, call: Call, prior: Values, planned: Values) -> Values:
        if planned["mode"] == "fail":
            raise Unavailable("the cloud is down", hint="wait")
        filled = {"made": 1, "region": "here", "status": {"ready": planned["size"]}}
        state = {**planned, "status": filled["status"]}
        state = {name: filled[name] if value is UNKNOWN else value for name, value in state.items()}
        self._write(state)
        return state

    def delete(self, call: Call, state: Values) -> None:
        if state["mode"] == "stays":
            raise Unavailable("it does not go away", hint="wait")
        _file(state["id"]).unlink(missing_ok=True)

    def import_(self, call: Call, id: str) -> Values:  # noqa: A002
        if not _file(id).exists():
            raise Unavailable(f"there is no {id}", hint="look again")
        return {"id": id}

    def upgrade(self, call: Call, version: int, state: Values) -> Values:
        if "called" in state:
            state["name"] = state.pop("called")
        return state

    def move(self, call: Call, source: str, type_name: str, version: int, state: Values) -> Values:
        if type_name != "terraform_data":
            return super().move(call, source, type_name, version, state)
        return {"id": "thing-moved", "name": "moved"}

    @staticmethod
    def _write(state: Values) -> None:
        file = _file(state["id"])
        written = file.with_suffix(f".{os.getpid()}")
        written.write_text(json.dumps(state, default=float))
        written.replace(file)


class Things(DataSource):
    name = "test_things"
    schema = Schema(
        attributes=(
            Attribute(name="prefix", type=STRING, default="thing-"),
            Attribute(name="found", type=List(Object({"id": STRING, "size": NUMBER})), computed=True),
        )
    )

    def read(self, call: Call, config: Values) -> Values:
        files = sorted(_things().glob(f"{config['prefix']}*.json"))
        return {"found": [{"id": file.stem, "size": json.loads(file.read_text())["size"]} for file in files]}


def _things() -> Path:
    return Path(os.environ["THINGS"])


def _file(id: str) -> Path:  # noqa: A002
    return _things() / f"{id}.json"


def provider() -> Provider:
    return Provider(resources=[Thing()], sources=[Things()], say=say)


if __name__ == "__main__":
    os._exit(main("__main__"))
