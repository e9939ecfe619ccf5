"""`iterative_task` under the real terraform, on this computer."""

from __future__ import annotations

import json
import os
import re
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Lofty, eventually

from .conftest import Terraform, program

HEAD = """\
terraform {
  required_providers { iterative = { source = "iterative/iterative" } }
}
provider "iterative" {}
"""


class Tasks(Terraform):
    """With lofty installed for it as a person would."""

    def write(self, *parts: str) -> None:
        (self.directory / "main.tf").write_text(HEAD + "\n".join(parts) + "\n")

    def task(self, label: str, script: str, *lines: str, cloud: str = "local") -> str:
        """One resource."""
        text = "\n".join(f"    {line}" for line in script.splitlines())
        body = "\n".join(f"  {line}" for line in lines)
        return (
            f'resource "iterative_task" "{label}" {{\n  cloud = "{cloud}"\n{body}\n  script = <<-END\n{text}\n  END\n}}'
        )

    def outputs(self) -> dict[str, Any]:
        """As terraform prints them."""
        return {name: one["value"] for name, one in json.loads(self.ok("output", "-json").out).items()}

    def refreshed(self, label: str) -> dict[str, Any]:
        """What the state says after a refresh."""
        self.ok("refresh", "-no-color")
        found: dict[str, Any] = self.state()[f"iterative_task.{label}"]
        return found

    def until(self, label: str, condition: Any, seconds: float = 40) -> dict[str, Any]:
        """Refresh until something holds of the state."""
        limit = time.monotonic() + seconds
        while not condition(found := self.refreshed(label)):
            assert time.monotonic() < limit, found
            time.sleep(0.2)
        return found


@pytest.fixture
def terraform(lofty: Lofty, environ: dict[str, str], tmp_path: Path) -> Iterator[Tasks]:
    found = program()
    directory = tmp_path / "configuration"
    directory.mkdir()
    lofty.environ["LOFTY_OWNER"] = f"test-{uuid.uuid4().hex[:12]}"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    dropped = ("CI", "GITHUB_", "BITBUCKET_", "CML_", "REPO_TOKEN", "AWS_")
    merged = {key: value for key, value in {**environ, **lofty.environ}.items() if not key.startswith(dropped)}
    lofty.environ = merged | {"PATH": path}
    lofty.ok("tf", "install")
    made = Tasks(found, directory, lofty.environ)
    made.write()
    made.ok("init")
    yield made


def lofty_names(lofty: Lofty) -> list[str]:
    return [one["name"] for one in lofty.ok("ls", "--json").json()]


def test_from_apply_to_destroy(terraform: Tasks, lofty: Lofty) -> None:
    folder = terraform.directory / "shared"
    folder.mkdir()
    (folder / "in.txt").write_text("brought\n")
    script = '#!/bin/bash\ncat in.txt; echo "$$ $TPI_TASK $TPI_MACHINE $KEY"; echo one >out.txt; echo no >other'
    block = 'environment = { KEY = "s3cr3t" }\n  storage {\n    workdir = "shared"\n    output = "out.txt"\n  }'
    terraform.write(terraform.task("one", script, 'name = "test"', block))
    told = terraform.apply().out
    assert "Apply complete! Resources: 1 added" in told
    state = terraform.state()["iterative_task.one"]
    assert state["id"] == "tpi-test-3z4xlzwq-3u0vweb4"
    assert lofty_names(lofty) == ["test-3u0vweb4"]
    state = terraform.until("one", lambda one: one["status"] == {"succeeded": 1})
    (log,) = state["logs"]
    lines = log.splitlines()
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ .*", line) for line in lines)
    assert lines[0].endswith("Z brought")
    assert lines[1].endswith(" true m s3cr3t")
    assert ((folder / "out.txt").read_text(), (folder / "other").exists()) == ("one\n", False)
    store = next((lofty.home / "store").iterdir())
    assert "s3cr3t" not in (store / "task.json").read_text()
    assert terraform.changes()["iterative_task.one"]["actions"] == ["no-op"]
    terraform.ok("destroy", "-auto-approve", "-no-color")
    assert lofty_names(lofty) == []
    assert sorted(path.name for path in folder.iterdir()) == ["in.txt", "out.txt"]


def test_outputs_change_in_place_and_the_rest_makes_a_new_task(terraform: Tasks, lofty: Lofty) -> None:
    (terraform.directory / "shared").mkdir()

    def write(output: str, script: str = "#!/bin/sh\necho x >a; echo y >b; sleep 600") -> None:
        block = f'storage {{\n    workdir = "shared"\n    output = "{output}"\n  }}'
        terraform.write(terraform.task("one", script, block))

    write("")
    terraform.apply()
    first = terraform.state()["iterative_task.one"]
    assert re.fullmatch(r"tpi-[a-z]+-[a-z]+-[a-z]+-[a-z0-9]{8}-[a-z0-9]{8}", first["id"])
    write("a")
    assert terraform.changes()["iterative_task.one"]["actions"] == ["update"]
    terraform.apply()
    shared = terraform.directory / "shared"
    eventually(lambda: terraform.refreshed("one") and (shared / "a").exists(), 40)
    assert terraform.state()["iterative_task.one"]["id"] == first["id"]
    assert not (shared / "b").exists()
    terraform.ok("taint", "iterative_task.one")
    assert terraform.changes()["iterative_task.one"]["actions"] == ["delete", "create"]
    write(".", "#!/bin/sh\nsleep 601")
    assert terraform.changes()["iterative_task.one"]["actions"] == ["delete", "create"]
    terraform.apply()
    assert terraform.state()["iterative_task.one"]["id"] != first["id"]
    assert len(lofty_names(lofty)) == 1
    assert not (shared / "b").exists()  # what was asked for when it was made, not what is asked for now
    terraform.ok("destroy", "-auto-approve")


def test_what_was_removed_elsewhere_is_planned_again(terraform: Tasks, lofty: Lofty) -> None:
    terraform.write(terraform.task("one", "#!/bin/sh\nsleep 600", 'name = "gone"'))
    terraform.apply()
    (name,) = lofty_names(lofty)
    lofty.ok("down", name, "--discard")
    assert terraform.changes()["iterative_task.one"]["actions"] == ["create"]
    terraform.apply()
    assert lofty_names(lofty) == [name]
    terraform.ok("destroy", "-auto-approve")
    assert lofty_names(lofty) == []


def test_a_task_is_imported_and_taken_over(terraform: Tasks, lofty: Lofty) -> None:
    (terraform.directory / "shared").mkdir()
    block = 'environment = { A = "1", HOME = "" }\n  storage {\n    workdir = "shared"\n    output = "."\n  }'
    terraform.write(terraform.task("one", "#!/bin/sh\nsleep 600", block, "timeout = 24*60*60"))
    terraform.apply()
    known = terraform.state()["iterative_task.one"]["id"]
    terraform.ok("state", "rm", "iterative_task.one")
    terraform.ok("import", "iterative_task.one", known)
    assert terraform.changes()["iterative_task.one"]["actions"] == ["no-op"]
    terraform.ok("state", "rm", "iterative_task.one")
    terraform.write(terraform.task("two", "#!/bin/sh\nsleep 600", block, f'name = "{known}"'))
    terraform.apply()
    assert terraform.state()["iterative_task.two"]["id"] == known
    assert len(lofty_names(lofty)) == 1
    terraform.ok("destroy", "-auto-approve")


def test_one_name_for_two_tasks_is_refused(terraform: Tasks, lofty: Lofty) -> None:
    script = "#!/bin/sh\nsleep 600"
    terraform.write(terraform.task("one", script, 'name = "twin"'), terraform.task("two", script, 'name = "twin"'))
    done = terraform("apply", "-auto-approve", "-no-color")
    assert done.code == 1
    assert "Two tasks of this configuration are named 'twin'" in " ".join(done.err.split()).replace(
        "two tasks", "Two tasks"
    )
    assert len(terraform.state()) == len(lofty_names(lofty)) == 1
    terraform.ok("destroy", "-auto-approve")

    terraform.write(terraform.task("one", script, 'name = "twin"'))
    terraform.apply()
    block = "lifecycle { create_before_destroy = true }"
    terraform.write(terraform.task("one", f"{script}0", 'name = "twin"', block))
    done = terraform("apply", "-auto-approve", "-no-color")
    assert "is already there with another script" in " ".join(done.err.split())
    assert len(lofty_names(lofty)) == 1
    # What was there is not taken for what was to come.
    (left,) = json.loads((terraform.directory / "terraform.tfstate").read_text())["resources"]
    assert [("status" in one, "deposed" in one) for one in left["instances"]] == [(False, False)]
    terraform.ok("destroy", "-auto-approve")
    assert lofty_names(lofty) == []


def test_a_run_of_a_ci_service_finds_its_tasks_again(terraform: Tasks, lofty: Lofty) -> None:
    terraform.environ |= {"GITHUB_RUN_ID": "4711", "CI": "true"}
    terraform.write(
        terraform.task("many", "#!/bin/sh\nsleep 600", "count = 2"), terraform.task("one", "#!/bin/sh\nsleep 601")
    )
    terraform.apply()
    names = lofty_names(lofty)
    assert len(set(names)) == 3
    assert all(name.startswith("4711-") for name in names)
    (terraform.directory / "terraform.tfstate").unlink()  # the run is done again, on another machine
    terraform.apply()
    assert lofty_names(lofty) == names
    terraform.ok("destroy", "-auto-approve")
    assert lofty_names(lofty) == []


def test_twenty_tasks_in_one_apply(terraform: Tasks, lofty: Lofty) -> None:
    terraform.write(terraform.task("many", "#!/bin/sh\necho $TPI_TASK", "count = 20"), "")
    terraform.apply()
    states = json.loads((terraform.directory / "terraform.tfstate").read_text())["resources"][0]["instances"]
    assert len({one["attributes"]["id"] for one in states}) == len(lofty_names(lofty)) == 20

    def over() -> bool:
        terraform.ok("refresh")
        found = json.loads((terraform.directory / "terraform.tfstate").read_text())["resources"][0]["instances"]
        return all(one["attributes"]["status"] == {"succeeded": 1} for one in found)

    eventually(over, 90)
    terraform.ok("destroy", "-auto-approve")
    assert lofty_names(lofty) == []
