"""The real terraform with the provider of the tests: everything that it does with a resource."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Terraform

NO_CHANGES = "No changes. Your infrastructure matches the configuration."


def test_a_life(terraform: Terraform) -> None:
    terraform.write(
        terraform.thing("a", "ratio = 0.1", 'tags = { x = "" }', 'marks = ["b", "a"]', 'storage { workdir = "w" }'),
        'output "id" { value = test_thing.a.id }',
    )
    assert "Success! The configuration is valid" in terraform.ok("validate", "-no-color").out
    assert terraform.changes()["test_thing.a"]["actions"] == ["create"]
    assert "test_thing.a: Creation complete" in terraform.apply().out
    assert terraform.ok("output", "-raw", "id").out == "thing-a"
    state = terraform.state()["test_thing.a"]
    assert (state["ratio"], state["size"], state["region"], state["tags"]) == (0.1, 1, "here", {"x": ""})
    assert state["storage"] == [{"workdir": "w", "output": "", "exclude": None}]
    for words in (["plan"], ["refresh"], ["plan"], ["apply", "-refresh-only", "-auto-approve"]):
        assert terraform.ok(*words, "-no-color").code == 0
    assert terraform("plan", "-detailed-exitcode").code == 0
    assert NO_CHANGES in terraform.ok("plan", "-no-color").out
    shown = json.loads(terraform.ok("show", "-json").out)["values"]["root_module"]["resources"][0]
    assert shown["values"]["status"] == {"ready": 1}
    schema = json.loads(terraform.ok("providers", "schema", "-json").out)["provider_schemas"]
    assert "test_thing" in schema["registry.terraform.io/lofty/test"]["resource_schemas"]
    assert "test_thing.a: Destruction complete" in terraform.ok("destroy", "-auto-approve", "-no-color").out
    assert terraform.state() == {}
    assert list(terraform.things.glob("*.json")) == []


def test_console(terraform: Terraform) -> None:
    terraform.write(terraform.thing("a"))
    terraform.apply()
    done = terraform("console", "-no-color")
    assert done.code == 0
    import subprocess

    said = subprocess.run(
        [terraform.program, "console"],
        input="test_thing.a.status\n",
        cwd=terraform.directory,
        env=terraform.environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert '"ready" = 1' in said.stdout


CHANGES: list[tuple[list[str], list[str], list[str]]] = [
    ([], ['mode = "x"'], ["update"]),
    ([], ["size = 2"], ["update"]),
    (["size = 2"], [], ["update"]),
    ([], ['region = "there"'], ["delete", "create"]),
    (['region = "there"'], [], ["no-op"]),
    (["ratio = 0.1"], ["ratio = 0.10"], ["no-op"]),
    (["ratio = 0.3"], ["ratio = 0.30000000000000004"], ["update"]),
    (["ratio = 18446744073709551617"], ["ratio = 18446744073709551618"], ["update"]),
    (['marks = ["a", "b"]'], ['marks = ["b", "a", "a"]'], ["no-op"]),
    (['words = ["a", "b"]'], ['words = ["b", "a"]'], ["update"]),
    (['tags = { a = "" }'], ["tags = { a = null }"], ["update"]),
    (["tags = {}"], [], ["update"]),
    (['storage { workdir = "w" }'], ['storage {\n workdir = "w"\n output = "o"\n }'], ["update"]),
    (['storage { workdir = "w" }'], ['storage { workdir = "v" }'], ["delete", "create"]),
    (['storage { workdir = "w" }'], [], ["delete", "create"]),
    (['storage { workdir = "w" }'], ['storage {\n workdir = "w"\n output = ""\n }'], ["no-op"]),
    ([], ['timeouts { create = "1h" }'], ["update"]),
    (['timeouts { create = "1h" }'], ['timeouts { create = "1h" }'], ["no-op"]),
]
"""Before, after, and what is to be done."""


def test_changes(terraform: Terraform) -> None:
    """All beside each other: a resource knows nothing of the others, and terraform starts once."""
    terraform.write(*(terraform.thing(f"n{number}", *before) for number, (before, _, _) in enumerate(CHANGES)))
    terraform.apply()
    terraform.write(*(terraform.thing(f"n{number}", *after) for number, (_, after, _) in enumerate(CHANGES)))
    found = terraform.changes()
    assert len(found) == len(CHANGES)
    for number, case in enumerate(CHANGES):
        assert found[f"test_thing.n{number}"]["actions"] == case[2], case
    terraform.ok("apply", "plan")
    assert terraform("plan", "-detailed-exitcode").code == 0


def test_replaced_and_tainted(terraform: Terraform) -> None:
    terraform.write(terraform.thing("a"))
    terraform.apply()
    terraform.write(terraform.thing("b", label="a"))
    change = terraform.changes()["test_thing.a"]
    assert change["actions"] == ["delete", "create"]
    assert change["replace_paths"] == [["name"]]
    assert change["after_unknown"]["id"] is True
    terraform.ok("apply", "plan")
    assert terraform.state()["test_thing.a"]["id"] == "thing-b"
    assert not (terraform.things / "thing-a.json").exists()
    terraform.ok("taint", "test_thing.a")
    assert terraform.changes()["test_thing.a"]["actions"] == ["delete", "create"]
    terraform.ok("untaint", "test_thing.a")
    assert terraform("plan", "-detailed-exitcode").code == 0
    assert terraform.changes("-replace=test_thing.a")["test_thing.a"]["actions"] == ["delete", "create"]


def test_what_is_not_known_yet(terraform: Terraform) -> None:
    """Also what is known in part: text with a beginning, a set with one element that is not known."""
    before = 'resource "terraform_data" "x" {\n  input = "v"\n}'
    lines = [
        'secret = "begins-${terraform_data.x.output}"',
        "tags = { a = terraform_data.x.output }",
        'words = ["w", terraform_data.x.output]',
        'marks = ["m", terraform_data.x.id]',
        "size = length(terraform_data.x.id)",
        "storage { workdir = terraform_data.x.output }",
        "timeouts { create = terraform_data.x.output == null ? null : null }",
    ]
    terraform.write(before, terraform.thing("a", *lines))
    change = terraform.changes()["test_thing.a"]
    assert change["actions"] == ["create"]
    assert change["after_unknown"]["tags"] == {"a": True}
    terraform.ok("apply", "plan")
    state = terraform.state()["test_thing.a"]
    assert (state["secret"], state["tags"], state["words"]) == ("begins-v", {"a": "v"}, ["w", "v"])
    assert (state["size"], state["storage"][0]["workdir"]) == (36, "v")
    terraform.write(before.replace('"v"', '"u"'), terraform.thing("a", *lines))
    change = terraform.changes()["test_thing.a"]
    assert change["actions"] == ["delete", "create"]
    terraform.ok("apply", "plan")
    assert terraform("plan", "-detailed-exitcode").code == 0
    block = 'dynamic "storage" {\n  for_each = terraform_data.y.output\n  content {\n    workdir = "w"\n  }\n}'
    more = 'resource "terraform_data" "y" {\n  input = ["1"]\n}'
    terraform.write(before, more, terraform.thing("b", block))
    assert terraform.changes()["test_thing.b"]["actions"] == ["create"]
    terraform.ok("apply", "plan")
    assert terraform.state()["test_thing.b"]["storage"][0]["workdir"] == "w"


def test_errors_point_at_the_line(terraform: Terraform) -> None:
    terraform.write(terraform.thing("A", "size = 0", 'timeouts { create = "soon" }'))
    said = terraform("validate", "-json")
    assert said.code == 1
    found = {one["summary"]: one["range"]["start"]["line"] for one in json.loads(said.out)["diagnostics"]}
    assert found == {"A name is in lower case": 7, "A size is more than nothing": 8, "'soon' is no duration": 9}
    terraform.write(terraform.thing("a", "storage {}", "storage {}"))
    assert "Too many storage blocks" in terraform("validate", "-no-color").err
    terraform.write(terraform.thing("a", 'mode = "no credentials"'))
    said = terraform("plan", "-no-color")
    assert said.code == 1
    assert "Error: There are no credentials" in said.err
    assert "Try: lofty check" in said.err
    assert "Traceback" not in said.err + said.out


@pytest.mark.parametrize("mode", ["fail", "crash", "exit"])
def test_what_fails_leaves_nothing_and_the_others_go_on(terraform: Terraform, mode: str) -> None:
    terraform.write(terraform.thing("a", f'mode = "{mode}"'), *(terraform.thing(f"b{n}") for n in range(3)))
    said = terraform("apply", "-auto-approve", "-no-color")
    assert said.code == 1
    assert "Traceback" not in said.err + said.out
    assert "did not respond" not in said.err
    assert sorted(terraform.state()) == ["test_thing.b0", "test_thing.b1", "test_thing.b2"]


def test_what_exists_in_part_is_kept_and_made_anew(terraform: Terraform) -> None:
    terraform.write(terraform.thing("a", 'mode = "partly"'))
    assert terraform("apply", "-auto-approve").code == 1
    assert terraform.state()["test_thing.a"]["tainted"]
    terraform.write(terraform.thing("a"))
    assert terraform.changes()["test_thing.a"]["actions"] == ["delete", "create"]
    terraform.apply()
    assert not terraform.state()["test_thing.a"]["tainted"]


def test_what_cannot_be_removed_stays_in_the_state(terraform: Terraform) -> None:
    terraform.write(terraform.thing("a", 'mode = "stays"'))
    terraform.apply()
    said = terraform("destroy", "-auto-approve", "-no-color")
    assert said.code == 1
    assert "Error: It does not go away" in said.err
    assert "test_thing.a" in terraform.state()


def test_gone_and_out_of_reach(terraform: Terraform) -> None:
    terraform.write(terraform.thing("a"), terraform.thing("b", 'mode = "unreachable"'))
    terraform.apply()
    for name in ("a", "b"):
        (terraform.things / f"thing-{name}.json").unlink()
    said = terraform.ok("plan", "-no-color")
    assert "1 to add, 0 to change, 0 to destroy" in said.out
    assert "Warning: The cloud did not answer" in said.out + said.err


def test_imported(terraform: Terraform) -> None:
    terraform.write(terraform.thing("a", "size = 2"))
    terraform.apply()
    terraform.ok("state", "rm", "test_thing.a")
    terraform.ok("import", "test_thing.a", "thing-a")
    assert terraform("plan", "-detailed-exitcode").code == 0
    terraform.ok("state", "rm", "test_thing.a")
    block = 'import {\n  to = test_thing.a\n  id = "thing-a"\n}'
    terraform.write(terraform.thing("a", "size = 2"), block)
    assert "1 imported, 0 added, 0 changed, 0 destroyed" in terraform.apply().out
    said = terraform("import", "test_thing.b", "thing-b")
    assert said.code == 1


def test_moved_from_another_provider(terraform: Terraform) -> None:
    terraform.write('resource "terraform_data" "x" {\n  input = 1\n}')
    terraform.apply()
    (terraform.things / "thing-moved.json").write_text('{"id": "thing-moved", "name": "moved", "size": 1, "made": 1}')
    moved = "moved {\n  from = terraform_data.x\n  to = test_thing.moved\n}"
    terraform.write(terraform.thing("moved"), moved)
    change = terraform.changes()["test_thing.moved"]
    assert change["actions"] in (["no-op"], ["update"])
    terraform.ok("apply", "plan")
    assert list(terraform.state()) == ["test_thing.moved"]


def test_an_earlier_state(terraform: Terraform) -> None:
    terraform.write(terraform.thing("a"))
    terraform.apply()
    file = terraform.directory / "terraform.tfstate"
    state = json.loads(file.read_text())
    attributes = state["resources"][0]["instances"][0]["attributes"]
    attributes["called"] = attributes.pop("name")
    attributes["gone"] = 1
    file.write_text(json.dumps(state))
    assert terraform("plan", "-detailed-exitcode").code == 0


def test_looked_up(terraform: Terraform) -> None:
    terraform.write(terraform.thing("a"))
    terraform.apply()
    terraform.write(
        terraform.thing("a"),
        'data "test_things" "all" {}',
        'output "all" { value = data.test_things.all.found }',
    )
    terraform.apply()
    assert json.loads(terraform.ok("output", "-json", "all").out) == [{"id": "thing-a", "size": 1}]


def test_a_secret_is_not_shown(terraform: Terraform) -> None:
    terraform.write(terraform.thing("a", 'secret = "hush"'))
    said = terraform.apply()
    assert "(sensitive value)" in said.out
    assert "hush" not in said.out


def test_the_log(terraform: Terraform) -> None:
    terraform.write(terraform.thing("a", 'mode = "crash"'))
    said = terraform("apply", "-auto-approve", TF_LOG_PROVIDER="debug")
    assert "Traceback" in said.err
    assert "ZeroDivisionError" in said.err
    said = terraform("apply", "-auto-approve")
    assert "Traceback" not in said.err + said.out


def test_without_tls(terraform: Terraform) -> None:
    terraform.write(terraform.thing("a"))
    assert terraform.ok("apply", "-auto-approve", TF_DISABLE_PLUGIN_TLS="1").code == 0


def test_many_at_once(terraform: Terraform) -> None:
    terraform.write('resource "test_thing" "a" {\n  count = 30\n  name = "a${count.index}"\n  mode = "slow 0.5"\n}')
    assert "30 added" in terraform.apply("-parallelism=30").out
    assert "30 destroyed" in terraform.ok("destroy", "-auto-approve", "-no-color").out


def test_the_folder_of_the_configuration_stays_as_it_was(terraform: Terraform) -> None:
    terraform.write(terraform.thing("a"))
    terraform.apply()
    names = {path.name for path in Path(terraform.directory).iterdir()}
    assert names == {"main.tf", "terraform.tfstate", ".terraform", ".terraform.lock.hcl"}
