"""`lofty_workspace`, `lofty_offers`, and what is kept when outputs cannot be brought, under the real terraform."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from tests.conftest import Lofty

from .test_task import HEAD, Tasks, lofty_names, terraform  # noqa: F401 (the fixture)

WORKSPACE = """
terraform {
  required_providers { lofty = { source = "lofty/lofty" } }
}
data "lofty_offers" "here" {
  on = "local"
}
resource "lofty_workspace" "lab" {
  path = "work"
  name = "lab-%s"
  env  = ["A=1"]
}
output "url" {
  value     = lofty_workspace.lab.url
  sensitive = true
}
output "cheapest" {
  value = data.lofty_offers.here.offers[0]
}
"""


def test_a_workspace_from_apply_to_destroy(terraform: Tasks, lofty: Lofty, tmp_path: Path) -> None:  # noqa: F811
    name = lofty.environ["LOFTY_OWNER"].removeprefix("test-")
    (terraform.directory / "main.tf").write_text(WORKSPACE % name)
    terraform.ok("init", "-upgrade")
    (terraform.directory / "work").mkdir()
    (terraform.directory / "work" / "book.txt").write_text("kept\n")
    told = terraform.apply().out
    assert "token=" not in told
    outputs = terraform.outputs()
    assert (outputs["cheapest"]["machine"], outputs["cheapest"]["price_per_hour"]) == ("this-machine", 0)
    with urllib.request.urlopen(outputs["url"]) as answer:
        assert b"<title>JupyterLab</title>" in answer.read()
    state = terraform.state()["lofty_workspace.lab"]
    assert state["url"] == lofty.ok("url", f"lab-{name}", "--json").json()["url"]
    assert state["tensorboard_url"].partition("?")[0].endswith("/tensorboard/")
    assert state["state"] == "running"
    assert terraform.changes()["lofty_workspace.lab"]["actions"] == ["no-op"]

    lofty.ok("stop", f"lab-{name}")
    terraform.ok("refresh")
    stopped = terraform.state()["lofty_workspace.lab"]
    assert (stopped["state"], stopped["url"]) == ("stopped", None)
    lofty.ok("start", f"lab-{name}")
    terraform.ok("state", "rm", "lofty_workspace.lab")
    terraform.ok("import", "lofty_workspace.lab", f"lab-{name}")
    assert terraform.changes()["lofty_workspace.lab"]["actions"] == ["no-op"]
    assert terraform.state()["lofty_workspace.lab"]["url"] == state["url"]
    terraform.ok("destroy", "-auto-approve")
    assert lofty_names(lofty) == []
    assert (terraform.directory / "work" / "book.txt").read_text() == "kept\n"


def test_what_is_wrong_with_a_workspace_is_said_at_plan(terraform: Tasks) -> None:  # noqa: F811
    text = 'path = "nowhere"\n  gpu = "?"\n  timeout = "soon"'
    (terraform.directory / "main.tf").write_text(
        HEAD.replace("iterative = ", "lofty = ")
        .replace("iterative/iterative", "lofty/lofty")
        .replace('provider "iterative" {}', f'resource "lofty_workspace" "lab" {{\n  {text}\n}}\n')
    )
    terraform.ok("init", "-upgrade")
    done = terraform("plan", "-no-color")
    said = " ".join(done.err.split())
    assert "'?' is not a GPU" in said
    assert "'soon' is not a length of time" in said
    assert done.err.count("Error:") == 2


def test_outputs_that_cannot_be_brought_keep_the_store(terraform: Tasks, lofty: Lofty) -> None:  # noqa: F811
    shared = terraform.directory / "shared"
    shared.mkdir()
    block = 'storage {\n    workdir = "shared"\n    output = "."\n  }'
    terraform.write(terraform.task("one", "#!/bin/sh\necho dear >result", block))
    terraform.apply()
    (name,) = lofty_names(lofty)
    shared.rmdir()
    shared.write_text("a file in its place\n")
    done = terraform("destroy", "-auto-approve", "-no-color")
    said = " ".join(done.err.split())
    assert done.code == 1
    assert "cannot be made" in said
    assert f"lofty down {name} --discard" in said
    assert lofty_names(lofty) == [name]
    told = terraform.ok("refresh", "-no-color").out
    assert "were not brought" in " ".join(told.split())
    shared.unlink()
    terraform.ok("destroy", "-auto-approve")
    assert (shared / "result").read_text() == "dear\n"
    assert lofty_names(lofty) == []
