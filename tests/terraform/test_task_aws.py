"""`iterative_task` on machines of a cloud."""

from __future__ import annotations

import json
import re

import pytest

from lofty.drivers.aws.policy import trust_policy
from tests.aws.conftest import _machines, cloud, left  # noqa: F401 (fixtures)
from tests.cloudbox.cloud import Cloudbox
from tests.cloudbox.conftest import machines_here  # noqa: F401 (the fixture)
from tests.conftest import ROOT, Lofty, eventually

from .test_task import Tasks, lofty_names, terraform  # noqa: F401 (the fixture)

pytestmark = [pytest.mark.cloudbox, pytest.mark.timeout(500)]

SCRIPT = """#!/bin/bash
echo "$(id -un) $HOME $(cat in.txt) $TPI_REGION $TPI_MACHINE $KEY"
mkdir results; echo made >results/out.txt
sleep 600
"""


@pytest.fixture
def aws(cloud: Cloudbox, terraform: Tasks, lofty: Lofty) -> Tasks:  # noqa: F811
    lofty.environ = {**terraform.environ, **cloud.environ, "LOFTY_ON": "aws", "LOFTY_INDEX_URL": cloud.index_url}
    terraform.environ = {**lofty.environ}
    return terraform


def test_a_task_from_apply_to_destroy(aws: Tasks, cloud: Cloudbox, lofty: Lofty) -> None:  # noqa: F811
    shared = aws.directory / "shared"
    shared.mkdir()
    (shared / "in.txt").write_text("sent\n")
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket="team-data")
    block = 'storage {\n    workdir = "shared"\n    output = "results"\n    container = "team-data/runs"\n  }'
    more = ('environment = { KEY = "s3cr3t" }', 'tags = { team = "blue" }', block)
    lines = ('name = "test"', 'region = "us-east"', "spot = 0", *more)
    aws.write(aws.task("one", SCRIPT, *lines, cloud="aws"))
    aws.apply()
    (name,) = lofty_names(lofty)
    assert name == "test-3u0vweb4"
    found = aws.until("one", lambda one: one["logs"] and "\n" in one["logs"][0], 200)
    assert found["logs"][0].splitlines()[0].endswith("Z root /root sent us-east m s3cr3t")
    assert found["status"] == {"running": 1}
    (machine,) = cloud.machines()
    assert machine.market == "spot"
    assert len(found["addresses"]) == 1
    assert found["ssh_private_key"].startswith("-----BEGIN")
    assert lofty.ok("ssh", name, "--", "cat /root/*/in.txt").out == "sent\n"
    eventually(lambda: aws.ok("refresh") and (shared / "results" / "out.txt").exists(), 60)
    assert aws.changes()["iterative_task.one"]["actions"] == ["no-op"]
    aws.ok("destroy", "-auto-approve", timeout=200)
    assert [one for one in cloud.machines() if one.state == "running"] == []
    assert sorted(path.name for path in shared.iterdir()) == ["in.txt", "results"]
    kept = [one["Key"] for one in s3.list_objects_v2(Bucket="team-data")["Contents"]]
    assert kept == ["runs/data/in.txt", "runs/data/results/out.txt"]
    s3.delete_objects(Bucket="team-data", Delete={"Objects": [{"Key": key} for key in kept]})
    s3.delete_bucket(Bucket="team-data")


def test_what_a_cloud_does_not_have_is_said_at_plan(aws: Tasks) -> None:
    def told(*lines: str) -> str:
        near = () if lines[0].startswith("region") else ('region = "us-east"',)
        aws.write(aws.task("one", "#!/bin/sh\n", *near, *lines, cloud="aws"))
        done = aws("plan", "-no-color")
        assert done.code == 1, done.out
        return " ".join(done.err.replace("│", " ").split())

    said = told('machine = "m+k80"')
    assert "AWS has no K80 any more" in said
    assert 'machine = "m+t4"' in said
    assert 'machine = "m+k80"' in said
    said = told('region = "us-wst"')
    assert "did you mean" in said
    said = told('image = "ubunto"')
    assert "Unknown image 'ubunto': did you mean 'ubuntu'?" in said
    said = told('machine = "m5.2xlrge"')
    assert 'machine = "m5.2xlarge"' in said or "did you mean" in said
    said = told("spot = 0.0001")
    assert "costs" in said
    assert "spot = 0." in said


def test_a_permission_set_is_what_the_machine_is_and_stays(aws: Tasks, cloud: Cloudbox, lofty: Lofty) -> None:  # noqa: F811
    iam, ec2 = cloud.client("iam"), cloud.client("ec2")
    account = cloud.client("sts").get_caller_identity()["Account"]
    (policy,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "aws.md").read_text().partition("## Roles")[2], re.S)[
        :1
    ]
    iam.create_role(RoleName="science", AssumeRolePolicyDocument=json.dumps(trust_policy()))
    iam.put_role_policy(RoleName="science", PolicyName="lofty", PolicyDocument=policy.replace("ACCOUNT", account))
    profile = iam.create_instance_profile(InstanceProfileName="science")["InstanceProfile"]["Arn"]
    iam.add_role_to_instance_profile(InstanceProfileName="science", RoleName="science")
    prepared = len(cloud.calls)

    aws.write(aws.task("one", SCRIPT, 'region = "us-east"', f'permission_set = "{profile}"', cloud="aws"))
    aws.apply()
    aws.until("one", lambda one: one["status"] == {"running": 1} and one["logs"] and one["logs"][0], 200)
    (machine,) = cloud.machines()
    (found,) = ec2.describe_instances(InstanceIds=[machine.id])["Reservations"][0]["Instances"]
    assert found["IamInstanceProfile"]["Arn"] == profile
    assert aws.changes()["iterative_task.one"]["actions"] == ["no-op"]
    aws.ok("destroy", "-auto-approve", timeout=200)
    assert {one.name for one in cloud.calls[prepared:] if one.service == "iam"} == {"iam:GetInstanceProfile"}
    assert lofty_names(lofty) == []
    assert sorted(left(cloud)) == ["instance profile science", "role science"]
    (role,) = iam.get_instance_profile(InstanceProfileName="science")["InstanceProfile"]["Roles"]
    assert role["RoleName"] == "science"
    iam.remove_role_from_instance_profile(InstanceProfileName="science", RoleName="science")
    iam.delete_instance_profile(InstanceProfileName="science")
    iam.delete_role_policy(RoleName="science", PolicyName="lofty")
    iam.delete_role(RoleName="science")
