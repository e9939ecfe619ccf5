"""A directory of the provider before lofty, whose task goes on: moved over, shown, brought home, removed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.aws.account import Account
from tests.aws.conftest import _api, account  # noqa: F401 (fixtures)
from tests.conftest import Lofty

from .test_migrate import LOCK, PRIVATE, TASK, state
from .test_task import Tasks, terraform  # noqa: F401 (the fixture)

LOG = "2023-05-01T10:00:00Z epoch 1\n2023-05-01T10:00:09Z epoch 2\n"
DONE = '{"result":"exit-code","code":"exited","status":"1"}'
SHORT = "3z4xlzwq3u0vweb4"


class Old:
    """What version 0.11 has made of a task, in an account."""

    def __init__(self, found: Account, container: str = "") -> None:
        self.cloud = found.cloud
        self.s3, self.ec2, self.scaling = (self.cloud.client(name) for name in ("s3", "ec2", "autoscaling"))
        bucket, _, directory = container.partition("/")
        self.bucket, self.place = bucket or TASK, f"{directory or SHORT}/" if bucket else ""
        self.s3.create_bucket(Bucket=self.bucket)
        tags = [{"ResourceType": "security-group", "Tags": [{"Key": "Name", "Value": TASK}]}]
        group = self.ec2.create_security_group(GroupName=TASK, Description=TASK, TagSpecifications=tags)["GroupId"]
        self.ec2.create_key_pair(KeyName=TASK)
        image = self.ec2.describe_images(Owners=["099720109477"])["Images"][0]["ImageId"]
        data = {"ImageId": image, "InstanceType": "m5.2xlarge", "KeyName": TASK, "SecurityGroupIds": [group]}
        self.ec2.create_launch_template(LaunchTemplateName=TASK, LaunchTemplateData=data)
        subnet = self.ec2.describe_subnets()["Subnets"][0]["SubnetId"]
        template = {"LaunchTemplateSpecification": {"LaunchTemplateName": TASK, "Version": "$Latest"}}
        size = {"MinSize": 0, "MaxSize": 1, "DesiredCapacity": 1}
        policy = {"LaunchTemplate": template, "InstancesDistribution": {"OnDemandPercentageAboveBaseCapacity": 0}}
        self.scaling.create_auto_scaling_group(
            AutoScalingGroupName=TASK, VPCZoneIdentifier=subnet, MixedInstancesPolicy=policy, **size
        )
        self.put("data/in.txt", "sent")
        self.put("data/results/out.txt", "made")
        self.put("reports/task-5d1b", LOG)

    def put(self, key: str, text: str) -> None:
        self.s3.put_object(Bucket=self.bucket, Key=self.place + key, Body=text.encode())

    def left(self) -> list[str]:
        return [one for one in self.cloud.leftovers() if TASK in one]


@pytest.fixture
def moved(terraform: Tasks, lofty: Lofty, account: Account) -> Tasks:  # noqa: F811
    lofty.environ = {**terraform.environ, **account.cloud.environ, "LOFTY_ON": "aws"}
    terraform.environ = {**lofty.environ}
    (terraform.directory / "shared").mkdir()
    return terraform


def attributes(**storage: Any) -> dict[str, Any]:
    """As the old provider kept them."""
    block = {"container": "", "container_opts": None, "exclude": None, "output": "results", "workdir": "shared"}
    return {
        "id": TASK,
        "name": "test",
        "cloud": "aws",
        "region": "us-east",
        "machine": "m",
        "image": "ubuntu",
        "disk_size": -1,
        "spot": -1,
        "parallelism": 1,
        "timeout": 86400,
        "permission_set": "",
        "tags": None,
        "environment": None,
        "script": "#!/bin/sh\necho epoch\n",
        "addresses": [],
        "events": None,
        "logs": [],
        "status": {},
        "ssh_public_key": "ssh-rsa old",
        "ssh_private_key": "old",
        "timeouts": None,
        "storage": [block | storage],
    }


def moved_over(directory: Tasks, lofty: Lofty, block: str, **storage: Any) -> str:
    """The configuration and what the old provider left beside it, with which the person begins; what is said."""
    place: Path = directory.directory
    directory.write(
        directory.task("one", "#!/bin/sh\necho epoch", 'name = "test"', 'region = "us-east"', block, cloud="aws")
    )
    kept = state({"schema_version": 0, "attributes": attributes(**storage), "private": PRIVATE})
    (place / "terraform.tfstate").write_text(json.dumps(kept))
    (place / ".terraform.lock.hcl").write_text(LOCK)
    said = lofty.ok("tf", "migrate", place, "--yes").out
    directory.ok("init")
    return said


def test_a_running_task_is_taken_over(moved: Tasks, lofty: Lofty, account: Account) -> None:  # noqa: F811
    old = Old(account)
    said = moved_over(moved, lofty, 'storage {\n    workdir = "shared"\n    output = "results"\n  }')
    assert "store, security group, key pair, launch template, group; 1 running" in " ".join(said.split())
    assert moved.changes()["iterative_task.one"]["actions"] == ["no-op"]
    found = moved.refreshed("one")
    assert (found["id"], found["status"], found["logs"]) == (TASK, {"running": 1}, [LOG])
    assert len(found["addresses"]) == 1
    assert found["ssh_private_key"] == "old"
    assert any("Launching a new EC2 instance" in event for event in found["events"])
    results = moved.directory / "shared" / "results" / "out.txt"
    assert results.read_text() == "made"
    assert not (moved.directory / "shared" / "in.txt").exists()

    old.scaling.update_auto_scaling_group(AutoScalingGroupName=TASK, DesiredCapacity=0)  # as its machine does
    old.put("reports/status-5d1b", DONE)
    old.put("data/results/out.txt", "at last")
    found = moved.until("one", lambda one: one["status"] == {"failed": 1})
    assert found["addresses"] == []
    assert results.read_text() == "at last"
    assert lofty.ok("ls", "--json").json() == []
    moved.ok("destroy", "-auto-approve")
    assert old.left() == []
    assert results.read_text() == "at last"


def test_outputs_that_cannot_be_brought_keep_everything(moved: Tasks, lofty: Lofty, account: Account) -> None:  # noqa: F811
    old = Old(account)
    moved_over(moved, lofty, 'storage {\n    workdir = "shared"\n    output = "results"\n  }')
    (moved.directory / "shared" / "results").write_text("a file in its place\n")
    before = old.left()
    shared = moved.directory / "shared"
    shared.rename(moved.directory / "aside")
    shared.write_text("a file in its place\n")
    done = moved("destroy", "-auto-approve", "-no-color")
    assert done.code == 1
    assert "were not brought" in " ".join(done.err.split())
    assert "Nothing was removed" in " ".join(done.err.split())
    assert old.left() == before
    shared.unlink()
    shared.mkdir()
    moved.ok("destroy", "-auto-approve")
    assert (shared / "results" / "out.txt").read_text() == "made"
    assert old.left() == []


def test_a_container_of_ones_own_is_left_as_it_is(moved: Tasks, lofty: Lofty, account: Account) -> None:  # noqa: F811
    old = Old(account, "team-data")
    block = 'storage {\n    workdir = "shared"\n    output = "results"\n    container = "team-data"\n  }'
    said = moved_over(moved, lofty, block, container="team-data")
    assert "(security group, key pair, launch template, group; 1 running)" in " ".join(said.split())
    assert moved.refreshed("one")["logs"] == [LOG]
    moved.ok("destroy", "-auto-approve")
    assert old.left() == []
    kept = [one["Key"] for one in old.s3.list_objects_v2(Bucket="team-data")["Contents"]]
    assert kept == [f"{SHORT}/data/in.txt", f"{SHORT}/data/results/out.txt", f"{SHORT}/reports/task-5d1b"]
    assert (moved.directory / "shared" / "results" / "out.txt").read_text() == "made"


def test_what_is_gone_is_planned_anew(moved: Tasks, lofty: Lofty) -> None:
    said = moved_over(moved, lofty, 'storage {\n    workdir = "shared"\n    output = "results"\n  }')
    assert "nothing is left of it in us-east; lofty makes it anew" in " ".join(said.split())
    assert moved.changes()["iterative_task.one"]["actions"] == ["create"]
