"""Questions and answers, over the real socket: errors at their place, states that are never lost, stopping."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lofty.terraform.provider import _with_timeouts
from lofty.terraform.schema import UNKNOWN, Schema, Values
from lofty.terraform.values import decode, encode, fit_all

from ..conftest import eventually
from .client import Plugin
from .thing import Thing, Things

SCHEMA = _with_timeouts(Thing())


def dynamic(values: Values | None, schema: Schema = SCHEMA) -> dict[str, bytes]:
    return {"msgpack": encode(schema, None if values is None else fit_all(schema, values))}


def state_of(message: dict[str, Any] | None, schema: Schema = SCHEMA) -> Values | None:
    assert message is not None
    return decode(schema, message["msgpack"])


def told(answer: dict[str, Any]) -> list[tuple[str, str, tuple[Any, ...]]]:
    """Summary, detail and place of each message."""
    return [(one["summary"], one["detail"], place(one["attribute"])) for one in answer["diagnostics"]]


def place(path: dict[str, Any] | None) -> tuple[Any, ...]:
    return tuple(next(v for v in step.values() if v is not None) for step in path["steps"]) if path else ()


def plan(plugin: Plugin, prior: Values | None, config: Values | None, private: bytes = b"") -> dict[str, Any]:
    return plugin.ask(
        "PlanResourceChange",
        type_name="test_thing",
        prior_state=dynamic(prior),
        proposed_new_state=dynamic(config),
        config=dynamic(config),
        prior_private=private,
    )


def apply(plugin: Plugin, prior: Values | None, planned: Values | None, private: bytes = b"") -> dict[str, Any]:
    return plugin.ask(
        "ApplyResourceChange",
        type_name="test_thing",
        prior_state=dynamic(prior),
        planned_state=dynamic(planned),
        config=dynamic(planned),
        planned_private=private,
    )


def create(plugin: Plugin, **config: Any) -> dict[str, Any]:
    planned = plan(plugin, None, config)
    assert told(planned) == []
    return apply(plugin, None, state_of(planned["planned_state"]))


def test_a_life(plugin: Plugin) -> None:
    made = create(plugin, name="a", ratio=0.1, tags={"x": ""}, marks=["b", "a"], size=2**70)
    assert told(made) == []
    state = state_of(made["new_state"])
    assert state is not None
    assert (state["id"], state["ratio"], state["tags"], state["marks"]) == ("thing-a", 0.1, {"x": ""}, ["a", "b"])
    assert state["size"] == 2**70
    assert made["private"] == b"kept"
    read = plugin.ask("ReadResource", type_name="test_thing", current_state=dynamic(state), private=made["private"])
    assert read["private"] == b"kept"
    again = plan(plugin, state, {"name": "a", "ratio": 0.1, "tags": {"x": ""}, "marks": ["a", "b"], "size": 2**70})
    assert state_of(again["planned_state"]) == state
    assert again["requires_replace"] == []
    changed = plan(plugin, state, {"name": "a", "size": 2})
    planned = state_of(changed["planned_state"])
    assert planned is not None
    assert planned["status"] is UNKNOWN
    assert planned["id"] == "thing-a"
    updated = state_of(apply(plugin, state, planned)["new_state"])
    assert updated is not None
    assert updated["status"] == {"ready": 2}
    replaced = plan(plugin, updated, {"name": "b"})
    assert [place(one) for one in replaced["requires_replace"]] == [("name",)]
    gone = plan(plugin, updated, None, b"kept")
    assert state_of(gone["planned_state"]) is None
    assert gone["planned_private"] == b"kept"
    deleted = apply(plugin, updated, None)
    assert state_of(deleted["new_state"]) is None
    assert told(deleted) == []
    read = plugin.ask("ReadResource", type_name="test_thing", current_state=dynamic(updated))
    assert state_of(read["new_state"]) is None


def test_the_schema_and_the_metadata(plugin: Plugin) -> None:
    said = plugin.ask("GetProviderSchema")
    assert told(said) == []
    block = said["resource_schemas"]["test_thing"]["block"]
    by_name = {one["name"]: one for one in block["attributes"]}
    assert (by_name["name"]["required"], by_name["name"]["computed"]) == (True, False)
    assert (by_name["size"]["optional"], by_name["size"]["computed"]) == (True, True)  # a default
    assert by_name["secret"]["sensitive"]
    assert json.loads(by_name["status"]["type"]) == ["map", "number"]
    nested = {one["type_name"]: (one["nesting"], one["max_items"]) for one in block["block_types"]}
    assert nested == {"storage": (3, 1), "timeouts": (1, 0)}
    found = said["data_source_schemas"]["test_things"]["block"]["attributes"]
    assert json.loads(found[-1]["type"]) == ["list", ["object", {"id": "string", "size": "number"}]]
    capable = {"plan_destroy": True, "get_provider_schema_optional": True, "move_resource_state": True}
    assert said["server_capabilities"] == capable == plugin.ask("GetMetadata")["server_capabilities"]
    assert plugin.ask("GetFunctions") == {"diagnostics": []}
    for method in ("ValidateProviderConfig", "ConfigureProvider"):
        assert told(plugin.ask(method, config=dynamic({}, Schema()))) == []


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"name": "A"}, [("A name is in lower case", "write it so", ("name",))]),
        ({"name": "a", "size": -1}, [("A size is more than nothing", "Try: size = 1", ("size",))]),
        ({"name": UNKNOWN, "size": UNKNOWN, "storage": UNKNOWN, "mode": UNKNOWN}, []),
        ({"name": "A", "size": 0, "mode": "two at once"}, [("A name is in lower case", "write it so", ("name",)),
          ("A size is more than nothing", "Try: size = 1", ("size",)),
          ("First", "", ("size",)), ("Second", "", ("tags",))]),
        ({"name": "a", "timeouts": {"create": "soon"}},
         [("'soon' is no duration", 'Try: write it like "15m", "90s" or "1h30m"', ("timeouts", "create"))]),
        ({"name": "a", "timeouts": {"create": "1h30m", "delete": "1.5s"}}, []),
        ({"name": "a", "timeouts": {"create": UNKNOWN}}, []),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_where_it_is(plugin: Plugin, config: Values, expected: list[Any]) -> None:
    assert told(plugin.ask("ValidateResourceConfig", type_name="test_thing", config=dynamic(config))) == expected


@pytest.mark.parametrize(
    ("method", "request_", "words"),
    [
        ("ValidateResourceConfig", {"type_name": "test_none"}, "does not know the resource 'test_none'"),
        ("ReadDataSource", {"type_name": "test_none"}, "does not know the data source 'test_none'"),
        ("ValidateResourceConfig", {"type_name": "test_thing"}, "a configuration was expected"),
        ("ValidateResourceConfig", {"type_name": "test_thing", "config": {"msgpack": b"\xc1"}}, "no values"),
        (
            "ReadResource",
            {"type_name": "test_thing", "current_state": {"msgpack": b"\x81\xa4name\x01"}},
            "a string was",
        ),
        ("UpgradeResourceState", {"type_name": "test_thing", "raw_state": {"json": b"{"}}, "no JSON"),
        ("UpgradeResourceState", {"type_name": "test_thing", "raw_state": {"json": b"[]"}}, "a state was expected"),
        ("UpgradeResourceState", {"type_name": "test_thing", "raw_state": {"flatmap": {"a": "b"}}}, "terraform 0.11"),
        ("ImportResourceState", {"type_name": "test_thing", "id": "thing-none"}, "There is no thing-none"),
        ("MoveResourceState", {"target_type_name": "test_thing", "source_type_name": "x_y"}, "x_y cannot become"),
    ],
)
def test_every_failure_is_a_message(plugin: Plugin, method: str, request_: dict[str, Any], words: str) -> None:
    said = plugin.ask(method, **request_)
    assert len(said["diagnostics"]) == 1
    assert said["diagnostics"][0]["severity"] == 1
    assert words in said["diagnostics"][0]["summary"] + said["diagnostics"][0]["detail"]
    assert plugin.ask("GetMetadata")["resources"]


@pytest.mark.parametrize("mode", ["crash", "exit"])
def test_a_fault_of_ours_ends_one_call_and_its_traceback_is_in_the_log(plugin: Plugin, mode: str) -> None:
    made = create(plugin, name="a", mode=mode)
    ((summary, detail, _),) = told(made)
    assert summary == "lofty has failed in a way that it did not expect"
    assert "Traceback" not in detail
    assert ("ZeroDivisionError: never mind" if mode == "crash" else "SystemExit: 3") in detail
    assert state_of(made["new_state"]) is None
    assert told(create(plugin, name="b")) == []
    lines = [json.loads(line) for line in plugin.log.read_text().splitlines()]
    assert [line["@level"] for line in lines if "Traceback" in line["@message"]] == ["debug"]
    assert [line["@message"] for line in lines if line["@level"] == "info"] == ["making b, 900 s at most"]


def test_what_is_printed_does_not_reach_terraform(plugin: Plugin) -> None:
    assert told(create(plugin, name="a", mode="print")) == []
    plugin.end()
    assert plugin.stdout.read() == b""
    assert b"elsewhere" in plugin.log.read_bytes()


def test_a_failure_never_takes_a_resource_out_of_the_state(plugin: Plugin) -> None:
    nothing = create(plugin, name="a", mode="fail")
    assert told(nothing) == [("The cloud is down", "Try: wait", ())]
    assert state_of(nothing["new_state"]) is None
    partly = create(plugin, name="a", mode="partly")
    assert told(partly) == [("The second half is missing", "Try: apply again", ())]
    state = state_of(partly["new_state"])
    assert state is not None
    assert (state["id"], state["name"], state["made"], state["status"]) == ("thing-a", "a", None, None)
    for planned in ({**state, "mode": "fail"}, None):
        kept = {**state, "mode": "stays"}
        failed = apply(plugin, kept, planned)
        assert len(failed["diagnostics"]) == 1
        assert state_of(failed["new_state"]) == fit_all(SCHEMA, kept)


def test_nor_does_a_failure_before_the_resource_is_asked(plugin: Plugin) -> None:
    state = fit_all(SCHEMA, {"name": "a", "id": "thing-a", "timeouts": {"delete": "soon"}})
    failed = apply(plugin, state, None, b"kept")
    assert [summary for summary, _, _ in told(failed)] == ["'soon' is no duration"]
    assert failed["private"] == b"kept"
    assert state_of(failed["new_state"]) == state


def test_what_is_left_open_is_an_error_and_the_state_is_kept(plugin: Plugin) -> None:
    made = create(plugin, name="a", mode="open")
    assert [summary for summary, _, _ in told(made)] == ["lofty has left status of test_thing open"]
    state = state_of(made["new_state"])
    assert state is not None
    assert (state["id"], state["status"]) == ("thing-a", None)


def test_a_warning_keeps_the_state(plugin: Plugin) -> None:
    state = fit_all(SCHEMA, {"name": "a", "id": "thing-a", "mode": "unreachable"})
    read = plugin.ask("ReadResource", type_name="test_thing", current_state=dynamic(state))
    assert [(one["severity"], one["summary"]) for one in read["diagnostics"]] == [(2, "The cloud did not answer")]
    assert state_of(read["new_state"]) == state


def test_refused_in_the_plan(plugin: Plugin) -> None:
    assert told(plan(plugin, None, {"name": "a", "mode": "no credentials"})) == [
        ("There are no credentials", "Try: lofty check", ())
    ]


def test_states_of_earlier_and_other_versions(plugin: Plugin) -> None:
    old = {"called": "a", "id": "1", "size": 1.10, "gone": [1], "storage": [{"workdir": "w"}], "made": 2**70}
    said = plugin.ask(
        "UpgradeResourceState", type_name="test_thing", version=0, raw_state={"json": json.dumps(old).encode()}
    )
    state = state_of(said["upgraded_state"])
    assert state is not None
    assert (state["name"], state["size"], state["made"], state["tags"]) == ("a", 1.1, 2**70, None)
    assert state["storage"] == [{"workdir": "w", "output": None, "exclude": None}]
    assert state_of(plugin.ask("UpgradeResourceState", type_name="test_thing")["upgraded_state"]) is None


def test_imported_and_moved(plugin: Plugin, tmp_path: Path) -> None:
    create(plugin, name="a")
    said = plugin.ask("ImportResourceState", type_name="test_thing", id="thing-a")
    (imported,) = said["imported_resources"]
    assert imported["type_name"] == "test_thing"
    state = state_of(imported["state"])
    assert state is not None
    assert (state["id"], state["name"]) == ("thing-a", None)
    moved = plugin.ask(
        "MoveResourceState",
        source_provider_address="terraform.io/builtin/terraform",
        source_type_name="terraform_data",
        source_state={"json": b'{"id": "x"}'},
        target_type_name="test_thing",
    )
    assert (state_of(moved["target_state"]) or {})["name"] == "moved"


def test_looked_up(plugin: Plugin) -> None:
    create(plugin, name="b", size=0.5)
    create(plugin, name="a")
    schema = Things.schema
    said = plugin.ask("ReadDataSource", type_name="test_things", config=dynamic({}, schema))
    found = [{"id": "thing-a", "size": 1}, {"id": "thing-b", "size": 0.5}]
    assert state_of(said["state"], schema) == {"prefix": "thing-", "found": found}


@pytest.mark.parametrize(("said", "seconds"), [({}, "900"), ({"create": "1h30m"}, "5400"), ({"create": "90s"}, "90")])
def test_timeouts_reach_the_resource(plugin: Plugin, said: dict[str, str], seconds: str) -> None:
    create(plugin, name="a", timeouts=said or None)
    assert f"making a, {seconds} s at most" in plugin.log.read_text()


def test_stopping_ends_calls_with_what_they_have(plugin: Plugin, environ: dict[str, str]) -> None:
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(create, plugin, name=f"a{n}", mode="slow 60") for n in range(5)]
        things = Path(environ["THINGS"])
        eventually(lambda: len(list(things.glob("*.begun"))) == 5)  # side by side
        began = time.monotonic()
        assert plugin.ask("StopProvider") == {"error": ""}
        states = [call.result(20) for call in calls]
    assert time.monotonic() - began < 10
    assert [told(one) for one in states] == [[("It was stopped", "Try: apply again", ())]] * 5
    assert sorted((state_of(one["new_state"]) or {})["id"] for one in states) == [f"thing-a{n}" for n in range(5)]
    assert plugin.end() == 0


def test_the_end_does_not_wait_for_a_call_that_does_not_stop(plugin: Plugin, environ: dict[str, str]) -> None:
    planned = state_of(plan(plugin, None, {"name": "a", "mode": "slow 60 deaf"})["planned_state"])
    request: dict[str, Any] = {
        "type_name": "test_thing",
        "planned_state": dynamic(planned),
        "prior_state": dynamic(None),
    }
    failed: list[BaseException] = []

    def ask() -> None:
        try:
            plugin.ask("ApplyResourceChange", **request, config=dynamic(planned))
        except Exception as error:
            failed.append(error)

    call = threading.Thread(target=ask)
    call.start()
    eventually(lambda: list(Path(environ["THINGS"]).glob("*.begun")))
    began = time.monotonic()
    assert plugin.end() == 0
    assert time.monotonic() - began < 10
    call.join(20)
    assert len(failed) == 1


def test_a_signal_lets_calls_end_and_their_answers_leave(plugin: Plugin, environ: dict[str, str]) -> None:
    """`timeout` and a closed terminal tell the whole process group, not terraform alone."""
    text = "x" * 8_000_000
    with ThreadPoolExecutor() as pool:
        call = pool.submit(create, plugin, name="a", mode="slow 60", tags={"script": text})
        eventually(lambda: list(Path(environ["THINGS"]).glob("*.begun")))
        plugin.process.terminate()
        made = call.result(20)
    state = state_of(made["new_state"]) or {}
    assert (state["id"], state["tags"]) == ("thing-a", {"script": text})
    assert plugin.process.wait(20) == 0


def test_calls_go_on_to_their_end_when_terraform_is_gone(start: Callable[..., Plugin], environ: dict[str, str]) -> None:
    """The connection breaks, and the call hears that it should stop: it can still undo or note down what it made."""
    plugin = start()
    planned = state_of(plan(plugin, None, {"name": "a", "mode": "slow 60"})["planned_state"])
    channel = plugin.channel(plugin.context(plugin.certificate))

    def ask() -> None:
        with pytest.raises(Exception):  # noqa: B017 (whatever grpclib makes of a connection that is gone)
            plugin.ask(
                "ApplyResourceChange",
                channel,
                type_name="test_thing",
                planned_state=dynamic(planned),
                prior_state=dynamic(None),
                config=dynamic(planned),
            )

    call = threading.Thread(target=ask)
    call.start()
    things = Path(environ["THINGS"])
    eventually(lambda: list(things.glob("*.begun")))
    plugin._loop.call_soon_threadsafe(channel.close)
    call.join(20)
    plugin.process.terminate()
    assert plugin.process.wait(20) == 0
    assert list(things.glob("*.stopped"))


def test_eight_megabytes_go_through(plugin: Plugin) -> None:
    text = "x" * 8_000_000
    made = create(plugin, name="a", tags={"script": text})
    assert (state_of(made["new_state"]) or {})["tags"]["script"] == text


def test_json_in_place_of_messagepack(plugin: Plugin) -> None:
    """The protocol allows it; terraform itself does not do it."""
    config = {"json": msgspec.json.encode({"name": "A"})}
    said = plugin.ask("ValidateResourceConfig", type_name="test_thing", config=config)
    assert [one[0] for one in told(said)] == ["A name is in lower case"]
