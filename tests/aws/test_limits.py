"""What ends a workspace by itself, what a person may change while it runs, and two machines of one task at once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.cloudbox.cloud import Cloudbox
from tests.conftest import Lofty, eventually
from tests.e2e.support import Workspace, listed

pytestmark = [pytest.mark.cloudbox, pytest.mark.timeout(400)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    (made / "data.csv").write_text("a,b\n1,2\n")
    return made


def scripts(folder: Path) -> Path:
    (folder / "sleep.sh").write_text("exec sleep 600\n")
    return folder


def processes(cloud: Cloudbox, machine: str) -> str:
    """What runs there; nothing while it comes up."""
    try:
        return cloud.machine(machine).run("ps -eo args")
    except RuntimeError:
        return ""


def running(cloud: Cloudbox) -> list[str]:
    return [one.id for one in cloud.machines() if one.state == "running"]


def deadline(cloud: Cloudbox, task: str) -> Any:
    """When the cloud itself ends the task."""
    answer = cloud.client("autoscaling").describe_scheduled_actions(AutoScalingGroupName=task)
    (action,) = answer["ScheduledUpdateGroupActions"]
    return action["StartTime"].timestamp()


def test_files_are_sent_the_deadline_moves_and_rest_ends_it(cloud: Cloudbox, person: Lofty, folder: Path) -> None:
    began = time.time()
    facts = person.ok("lab", folder, "-d", "--json", "--timeout", "2h", "--idle", "40s", timeout=200).json()
    workspace = Workspace(facts)
    assert 7200 <= deadline(cloud, facts["id"]) - began <= 7200 + 120

    person.ok("extend", "work", "5h")
    assert 5 * 3600 <= deadline(cloud, facts["id"]) - began <= 5 * 3600 + 240
    assert person.ok("start", "work", "--json").json()["time_left"] > 4 * 3600  # a list hears of it within a minute

    (folder / "later.txt").write_text("sent while it ran")
    person.ok("push", "work")
    eventually(lambda: workspace.ask("GET", "api/contents/later.txt").status == 200, 30)

    eventually(lambda: running(cloud) == [], 150)
    seen = listed(person, "work")
    assert seen["state"] == "stopped"
    assert Workspace(person.ok("start", "work", "--json", timeout=200).json()).url == workspace.url
    person.ok("down", "work", "-y", timeout=120)


def test_the_budget_ends_it(cloud: Cloudbox, person: Lofty, folder: Path) -> None:
    done = person("run", "sleep.sh", "--budget", "0.02", "--machine", "xl", cwd=scripts(folder), timeout=300)
    assert (done.code, "the budget of 0.02 USD is spent" in done.err) == (143, True), done
    eventually(lambda: running(cloud) == [], 60)
    assert listed(person, "sleep-1")["state"] == "failed"
    person.ok("down", "sleep-1", "-y", timeout=120)


def test_the_cloud_moves_it_and_its_work_goes_on(cloud: Cloudbox, person: Lofty, folder: Path) -> None:
    facts = person.ok("lab", folder, "-d", "--json", "--spot", timeout=200).json()
    workspace = Workspace(facts)
    workspace.kernel().run("open('made.txt', 'w').write('on the first')")
    (first,) = running(cloud)
    cloud.machine(first).rebalance()  # another one is started, then this one ended, with no notice but the shutdown
    eventually(lambda: next(one.state for one in cloud.machines() if one.id == first) == "terminated", 120)
    eventually(workspace.answers, 120)
    assert workspace.kernel().run("print(open('made.txt').read())") == "on the first\n"

    # Two at once: the lease decides, and the one without it waits and touches nothing.
    (second,) = running(cloud)
    group = cloud.client("autoscaling")
    group.update_auto_scaling_group(AutoScalingGroupName=facts["id"], MaxSize=2, DesiredCapacity=2)
    eventually(lambda: len(running(cloud)) == 2, 60)
    (third,) = set(running(cloud)) - {second}
    eventually(lambda: "lofty.agent" in processes(cloud, third), 60)
    time.sleep(5)
    (seen,) = person.ok("ls", "--json").json()
    assert (seen["state"], len(seen["machines"]), workspace.answers()) == ("running", 1, True)
    assert "jupyter" not in processes(cloud, third)
    began = time.monotonic()
    group.terminate_instance_in_auto_scaling_group(InstanceId=second, ShouldDecrementDesiredCapacity=True)
    eventually(lambda: "jupyter" in processes(cloud, third), 60)
    eventually(workspace.answers, 60)
    print(f"the one that waited serves after {time.monotonic() - began:.0f} s")
    person.ok("down", "work", "-y", timeout=120)
