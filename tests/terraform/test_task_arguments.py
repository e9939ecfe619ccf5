"""Every argument of `iterative_task`, right and wrong: what is wrong is said at its place, before anything is made."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lofty.terraform.clients import Clients
from lofty.terraform.provider import Provider
from lofty.terraform.schema import UNKNOWN
from lofty.terraform.task.resource import IterativeTask
from lofty.terraform.timeouts import block
from lofty.terraform.values import encode

SCRIPT = "#!/bin/sh\necho\n"
NOTHING: dict[str, Any] = {one.name: None for one in IterativeTask.schema.attributes}
STORAGE: dict[str, Any] = dict.fromkeys(("workdir", "output", "exclude", "container", "container_opts"))


class Asked:
    """What terraform would say of a configuration."""

    def __init__(self, tmp_path: Path, **environ: str) -> None:
        environ = {"HOME": str(tmp_path), "LOFTY_HOME": str(tmp_path / "home"), "PATH": "/usr/bin:/bin"} | environ
        self._provider = Provider(resources=[IterativeTask(Clients(environ))])
        blocks = (*IterativeTask.schema.blocks, block(IterativeTask.timeouts))
        self._schema = type(IterativeTask.schema)(attributes=IterativeTask.schema.attributes, blocks=blocks)

    def __call__(self, *, plan: bool = False, storage: dict[str, Any] | None = None, **values: Any) -> list[Any]:
        """(severity, argument, key, summary, detail) of each message."""
        config = NOTHING | {"cloud": "local", "script": SCRIPT, "storage": [STORAGE | storage] if storage else []}
        raw = {"msgpack": encode(self._schema, config | {"timeouts": None} | values), "json": b""}
        request: dict[str, Any] = {"type_name": "iterative_task", "config": raw, "prior_private": b""}
        null = {"msgpack": b"\xc0", "json": b""}
        if plan:
            request |= {"prior_state": null, "proposed_new_state": raw}
        answer = self._provider.answer("PlanResourceChange" if plan else "ValidateResourceConfig", request)
        found = []
        for one in answer["diagnostics"]:
            steps = (one.get("attribute") or {"steps": []})["steps"]
            words = [step.get("attribute_name") or step.get("element_key_string") for step in steps]
            found.append((one["severity"], *words[:1], *words[1:], one["summary"], one["detail"]))
        return found


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    return Asked(tmp_path)


@pytest.mark.parametrize(
    ("argument", "value", "says", "hint"),
    [
        ("cloud", "awz", "Unknown cloud 'awz': did you mean 'aws'?", "Try: one of aws, local"),
        ("cloud", "gcp", "Lofty has no driver for 'gcp' yet", "Try: cloud = one of aws, local"),
        ("script", "echo", "The script does not say what runs it", "Try: begin its first line with #!/bin/bash"),
        ("name", "?!", "'?!' holds no letter or digit", 'Try: name it like "training"'),
        ("machine", "m+t5", "Unknown machine 'm+t5': did you mean 'm+t4'?", "g4dn.xlarge"),
        ("machine", " ", "The machine has no name", 'machine = "m"'),
        ("timeout", 0, "Timeout is a whole number from 1 to", "write such a number"),
        ("timeout", 1.5, "Timeout is a whole number from 1 to", "write such a number"),
        ("disk_size", 2.5, "disk_size is a whole number from", "write such a number"),
        ("parallelism", 0, "Parallelism is a whole number from 1 to 65535, not 0", "write such a number"),
        ("spot", 5000, "Spot is a price in USD by the hour, not 5000", "spot = 0 pays the price of the day"),
        (
            "permission_set",
            "arn:aws:iam::1:role/x",
            "is no instance profile",
            "arn:aws:iam::123456789012:instance-profile",
        ),
    ],
)
def test_what_is_wrong_is_said_at_its_place(asked: Asked, argument: str, value: Any, says: str, hint: str) -> None:
    ((severity, at, summary, detail),) = asked(**{argument: value})
    assert (severity, at) == (1, argument)
    assert says in summary
    assert hint in detail


@pytest.mark.parametrize(
    ("storage", "says"),
    [
        ({"workdir": "a", "output": "/etc"}, "Output '/etc' does not lie in workdir"),
        ({"workdir": "a", "output": "b/../../c"}, "Output 'b/../../c' does not lie in workdir"),
        ({"output": "results"}, "Output is a part of workdir, and there is no workdir"),
        ({"workdir": "a", "exclude": ["[x"]}, "Exclude: '[x' cannot be read at '['"),
        ({"container": "No Bucket"}, "'No Bucket' is no bucket"),
        ({"container_opts": {"region": "x"}}, "Container_opts: 'x' is no region"),
    ],
)
def test_what_is_wrong_with_the_storage_is_said_there(asked: Asked, storage: dict[str, Any], says: str) -> None:
    found = asked(storage=storage)
    assert [(one[0], one[1]) for one in found] == [(1, "storage")]
    assert found[0][2].lower() == says.lower()


def test_variables_and_tags_are_named(asked: Asked) -> None:
    wrong = {"": "x", "A*": "x", "B=": "", "C": "ok"}
    assert sorted(one[2] for one in asked(environment=wrong)) == ["", "A*", "B="]
    assert [one[:3] for one in asked(tags={"aws:x": "", "ok": "x" * 300})] == [(1, "tags", "aws:x"), (1, "tags", "ok")]


def test_what_is_not_known_yet_is_not_refused(asked: Asked) -> None:
    every: dict[str, Any] = {
        one.name: UNKNOWN for one in IterativeTask.schema.attributes if not one.computed or one.default is not None
    }
    unknown = dict.fromkeys(STORAGE, UNKNOWN)
    assert asked(**every, storage=unknown) == asked(**every, storage=unknown, plan=True) == []
    assert asked(environment={"A": UNKNOWN}, plan=True) == []


def test_credentials_are_missed_at_plan(tmp_path: Path) -> None:
    asked = Asked(tmp_path, AWS_EC2_METADATA_DISABLED="true")
    ((severity, at, summary, detail),) = asked(cloud="aws", plan=True)
    assert (severity, at) == (1, "cloud")
    assert "credentials" in summary.lower()
    assert "aws configure" in detail or "aws sso login" in detail


def test_a_directory_may_still_come(asked: Asked, tmp_path: Path) -> None:
    ((severity, at, summary, _),) = asked(storage={"workdir": str(tmp_path / "later")}, plan=True)
    assert (severity, at) == (2, "storage")
    assert "later yet" in summary


def test_a_file_is_no_directory(asked: Asked, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ((severity, at, summary, detail),) = asked(storage={"workdir": str(tmp_path / "file")}, plan=True)
    assert (severity, at, detail) == (1, "storage", f"Try: mkdir -p {tmp_path / 'file'}")
    assert summary.endswith("file is not a directory")


texts = st.text(max_size=40) | st.sampled_from(
    ["m+k80", "tpi-a-b-c", "..", "/", "#!", "#!/x\r", "{}", "*", "\\", "-", "~"]
)
maps = st.dictionaries(texts, texts | st.none(), max_size=4)
numbers = st.integers() | st.decimals(allow_nan=False, allow_infinity=False, places=3) | st.sampled_from([0, -1, 2**70])
VALUES = {"string": texts, "number": numbers, "map": maps, "list": st.lists(texts, max_size=4)}
ARGUMENTS = [one for one in IterativeTask.schema.attributes if one.required or one.optional]
INSIDE = IterativeTask.schema.blocks[0].attributes


@pytest.mark.parametrize("argument", ARGUMENTS, ids=lambda one: one.name)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_is_taken_or_refused_at_its_place(asked: Asked, argument: Any, data: st.DataObject) -> None:
    value = data.draw(VALUES[argument.type.name])
    values: dict[str, Any] = {argument.name: value}
    found = asked(**values)
    if not found and (argument.name != "cloud" or value == "local"):
        found = asked(plan=True, **values)
    for severity, at, *_, summary, detail in found:
        assert at == argument.name
        assert severity == 1
        assert "did not expect" not in summary
        assert not re.search(r"Traceback|Error\b", summary + detail)


@pytest.mark.parametrize("argument", INSIDE, ids=lambda one: one.name)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_storage_is_taken_or_refused_there(asked: Asked, argument: Any, data: st.DataObject) -> None:
    value = data.draw(VALUES[argument.type.name])
    storage = {"workdir": ".", argument.name: value}
    found = asked(storage=storage) or asked(storage=storage, plan=True)
    for _, at, *_, summary, detail in found:
        assert at == "storage"
        assert "did not expect" not in summary
        assert not re.search(r"Traceback|Error\b", summary + detail)
