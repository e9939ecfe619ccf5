"""A workspace on EC2: the same page at the same address, whatever happens to the machine."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tests.cloudbox.cloud import Cloudbox
from tests.conftest import Lofty, eventually
from tests.e2e.support import Workspace

pytestmark = [pytest.mark.cloudbox, pytest.mark.timeout(400)]


JOB = """
import os
print(os.environ["LOFTY_RANK"])
open("out.txt", "w").write("made")
raise SystemExit(3)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    (made / "data.csv").write_text("a,b\n1,2\n")
    return made


def test_a_machine_is_lost_and_the_page_is_not(cloud: Cloudbox, person: Lofty, folder: Path) -> None:
    done = person("lab", folder, "-d", "--json", "--spot", "--machine", "m", "--timings", timeout=200)
    assert done.code == 0, done.err
    facts = done.json()
    assert (facts["on"], facts["region"], facts["state"]) == ("aws", "us-east-1", "running")
    workspace = Workspace(facts)
    kernel = workspace.kernel()
    assert kernel.run("print(open('data.csv').read())") == "a,b\n1,2\n\n"
    kernel.run("open('made.txt', 'w').write('on the machine')")
    (first,) = cloud.machines()
    assert (first.market, first.type in facts["machine"]) == ("spot", True)
    assert person.ok("ssh", "work", "--", "cat work/data.csv").out == "a,b\n1,2\n"
    eventually(lambda: person.ok("pull", "work") and (folder / "made.txt").exists(), 20)

    # The cloud takes the machine, with a notice. Another one takes its place; nobody here does anything.
    cloud.machine(first.id).notice(3)
    eventually(lambda: [one.id for one in cloud.machines() if one.state == "running"] not in ([], [first.id]), 60)
    eventually(lambda: workspace.answers(), 120)
    again = json.loads(person.ok("url", "work", "--json").out)
    assert again["url"] == workspace.url
    kernel = workspace.kernel()
    assert kernel.run("print(open('made.txt').read())") == "on the machine\n"

    person.ok("stop", "work", timeout=120)
    assert [one for one in cloud.machines() if one.state == "running"] == []
    (listed,) = person.ok("ls", "--json").json()
    assert (listed["state"], listed["url"]) == ("stopped", None)
    began = time.monotonic()
    assert Workspace(person.ok("start", "work", "--json", timeout=200).json()).url == workspace.url
    print(f"started again in {time.monotonic() - began:.1f} s")
    assert workspace.answers()
    person.ok("down", "work", "-y", timeout=120)
    assert person.ok("ls", "--json").json() == []


def test_a_job_brings_its_outputs_and_ends_its_machine(cloud: Cloudbox, person: Lofty, folder: Path) -> None:
    (folder / "job.py").write_text(
        "import os\nprint(os.environ['LOFTY_RANK'])\nopen('out.txt', 'w').write('made')\nraise SystemExit(3)\n"
    )
    done = person("run", folder / "job.py", cwd=folder, timeout=200)
    assert (done.code, done.out) == (3, "0\n"), done.err
    assert (folder / "out.txt").read_text() == "made"
    eventually(lambda: not [one for one in cloud.machines() if one.state == "running"], 60)
    person.ok("down", "job-1", "-y", timeout=120)


RANKS = """
import os
rank = os.environ["LOFTY_RANK"]
print(f"{rank} of {os.environ['LOFTY_SIZE']}")
open(f"out{rank}.txt", "w").write(rank)
raise SystemExit(4 * int(rank))
"""


def test_two_machines_do_a_job_together(cloud: Cloudbox, person: Lofty, folder: Path) -> None:
    (folder / "ranks.py").write_text(RANKS)
    done = person("run", folder / "ranks.py", "-n", "2", "--json", cwd=folder, timeout=200)
    assert done.code == 4, done.err
    facts = done.json()
    assert [(one["rank"], one["exit_code"]) for one in facts["machines"]] == [(0, 0), (1, 4)]
    assert sorted(person.ok("logs", "ranks-1").out.splitlines()) == ["0 of 2", "1 of 2"]
    assert {path.name: path.read_text() for path in folder.glob("out*")} == {"out0.txt": "0", "out1.txt": "1"}
    person.ok("down", "ranks-1", "-y", timeout=120)


@pytest.mark.campaign
@pytest.mark.skipif(os.environ.get("LOFTY_CAMPAIGN") != "1", reason="waits for a lease to run out: make nightly")
def test_the_power_fails_and_the_page_comes_back(cloud: Cloudbox, person: Lofty, folder: Path) -> None:
    workspace = Workspace(person.ok("lab", folder, "-d", "--json", timeout=200).json())
    (first,) = cloud.machines()
    began = time.monotonic()
    cloud.machine(first.id).cut()
    eventually(lambda: not workspace.answers(), 30)
    eventually(workspace.answers, 240)
    print(f"back after {time.monotonic() - began:.0f} s")
    assert person.ok("url", "work").out.strip().splitlines()[0].endswith(workspace.url)
    person.ok("down", "work", "-y", timeout=120)
