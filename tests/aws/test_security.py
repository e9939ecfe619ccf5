"""What may be seen by whom: no secret outside of `private/`, machines as closed as they can be, a role for one task."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from lofty.drivers.aws import driver as aws
from lofty.drivers.aws.place import Place
from lofty.model.state import Machine
from lofty.store.base import Store
from lofty.store.states import LEASE_SECONDS, Lease, lease_key
from lofty.task import Task
from tests.aws.account import Account
from tests.cloudbox import api as front_door
from tests.cloudbox.api import Call
from tests.cloudbox.credentials import Signed
from tests.cloudbox.support import code
from tests.conftest import eventually

VALUE = "correct-horse-battery-staple"


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[Signed]:
    """Every request as it came over the wire."""
    seen: list[Signed] = []
    read = front_door._signed

    def noted(environ: dict[str, Any]) -> Signed:
        seen.append(read(environ))
        return seen[-1]

    monkeypatch.setattr(front_door, "_signed", noted)
    return seen


def texts(account: Account, task: Task) -> Iterator[tuple[str, str]]:
    """Everything about a task that others than its owner and its machines may read, by name."""
    ec2, scaling, s3 = (account.cloud.client(one) for one in ("ec2", "autoscaling", "s3"))
    name = task.handle.id
    template = _template(account, name)
    yield "user data", _user_data(template)
    yield "launch template", json.dumps(template, default=str)
    found = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])
    (group,) = found["AutoScalingGroups"]
    yield "group", json.dumps(group, default=str)
    record = "".join(tag["Value"] for tag in group["Tags"] if tag["Key"].startswith("lofty:record:"))
    yield "record on the group", zlib.decompress(base64.b64decode(record)).decode()
    yield "security group", json.dumps(ec2.describe_security_groups()["SecurityGroups"], default=str)
    yield "instances", json.dumps(ec2.describe_instances()["Reservations"], default=str)
    for role in account.cloud.client("iam").list_roles()["Roles"]:
        yield "role", json.dumps(role, default=str)
    bucket = task.handle.store.split("/")[2]
    for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]:
        if "/private/" not in entry["Key"]:
            body = s3.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read()
            yield entry["Key"], body.decode(errors="replace")


def secrets_of(account: Account, task: Task) -> dict[str, str]:
    """Texts that must not be seen."""
    private = task.records.secret("ssh") or ""
    return {
        "the token": task.token,
        "the value of a secret": VALUE,
        "the ssh key": private.strip().splitlines()[1],
        "the AWS key": account.environ["AWS_SECRET_ACCESS_KEY"],
        "the AWS session": account.environ["AWS_SESSION_TOKEN"],
        "a value of --env": "in-the-records-alone",
    }


@pytest.fixture
def task(account: Account, requests: list[Signed]) -> Task:
    """One that has a secret, made while the wire is watched."""
    made = account.lab(account.computer(HF_TOKEN=VALUE), secret=("HF_TOKEN",), env=("LEVEL=in-the-records-alone",))
    assert json.loads(made.records.secret("env") or "") == {"HF_TOKEN": VALUE}
    return made


def _template(account: Account, name: str) -> dict[str, Any]:
    found = account.cloud.client("ec2").describe_launch_template_versions(LaunchTemplateName=name, Versions=["$Latest"])
    (version,) = found["LaunchTemplateVersions"]
    return dict(version["LaunchTemplateData"])


def _user_data(template: dict[str, Any]) -> str:
    return base64.b64decode(template["UserData"]).decode()


def test_no_secret_where_others_read(account: Account, task: Task) -> None:
    hidden = secrets_of(account, task)
    assert len(set(hidden.values())) == 6
    looked = set()
    for place, text in texts(account, task):
        looked.add(place.rpartition("/")[2])
        for what, secret in hidden.items():
            own = place.endswith("/task.json") and what == "a value of --env"
            assert own or secret not in text, f"{what} is in {place}"
    assert {"user data", "launch template", "group", "task.json", "deadline.json", "role"} <= looked


def test_no_secret_on_the_wire_but_into_private(account: Account, task: Task, requests: list[Signed]) -> None:
    hidden = secrets_of(account, task)
    hidden.pop("a value of --env")
    assert len(requests) > 30
    into_private = 0
    for one in requests:
        if one.method == "PUT" and re.search(r"/tasks/[^/]+/private/[\w.]+$", one.path):
            into_private += 1
            continue
        whole = b" ".join([one.path.encode(), one.query.encode(), one.body])
        for what, secret in hidden.items():
            assert secret.encode() not in whole, f"{what} is in {one.method} {one.path}"
        assert hidden["the AWS key"] not in str(one.headers)
    assert into_private == 4


def test_the_user_data_is_small_and_checks_what_it_fetches(account: Account, task: Task) -> None:
    text = _user_data(_template(account, task.handle.id))
    assert len(text.encode()) < 4096
    parameters = json.loads(re.search(r'r"""(.*?)"""', text, re.DOTALL)[1])  # type: ignore[index]
    s3, bucket = account.cloud.client("s3"), parameters["bucket"]
    body = s3.get_object(Bucket=bucket, Key=parameters["agent"])["Body"].read()
    assert hashlib.sha256(body).hexdigest() == parameters["sha256"]


def test_machines_are_closed(account: Account, task: Task) -> None:
    template = _template(account, task.handle.id)
    options = template["MetadataOptions"]
    assert (options["HttpTokens"], options["HttpPutResponseHopLimit"]) == ("required", 1)
    assert template["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert "KeyName" not in template
    (image,) = account.cloud.client("ec2").describe_images(ImageIds=[template["ImageId"]])["Images"]
    (disk,) = template["BlockDeviceMappings"]
    assert disk["DeviceName"] == image["RootDeviceName"]
    assert (disk["Ebs"]["Encrypted"], disk["Ebs"]["VolumeType"]) == (True, "gp3")
    assert disk["Ebs"]["DeleteOnTermination"] is True


def test_the_disk_is_the_one_that_the_image_starts_from(account: Account) -> None:
    for image in account.cloud.account.ec2.amis.values():
        image.root_device_name = "/dev/xvda"
    template = _template(account, account.lab().handle.id)
    assert [one["DeviceName"] for one in template["BlockDeviceMappings"]] == ["/dev/xvda"]


def test_the_deadline_is_set_before_a_machine_can_start(account: Account) -> None:
    with account.noting() as calls:
        account.lab()
    order = {call.name: number for number, call in enumerate(calls) if call.service == "autoscaling"}
    made, action, grown = (
        _only(calls, f"autoscaling:{name}")
        for name in ("CreateAutoScalingGroup", "PutScheduledUpdateGroupAction", "UpdateAutoScalingGroup")
    )
    assert [made.params[key] for key in ("MinSize", "MaxSize", "DesiredCapacity")] == [0, 0, 0]
    assert [action.params[key] for key in ("MinSize", "MaxSize", "DesiredCapacity")] == [0, 0, 0]
    assert "Recurrence" not in action.params
    assert grown.params["DesiredCapacity"] == 1
    assert made.number < action.number < grown.number
    assert order["autoscaling:UpdateAutoScalingGroup"] == max(order.values())


def _only(calls: list[Call], name: str) -> Call:
    (found,) = [call for call in calls if call.name == name]
    return found


def test_the_cloud_ends_machines_at_the_deadline_when_nobody_else_does(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aws, "LEAD", 0.0)
    task = account.lab()
    name = task.handle.id

    def running() -> list[str]:
        return [one.id for one in account.cloud.machines(name) if one.state == "running"]

    eventually(running, 5)
    task._scale(1, time.time() + 3.0)  # as `lofty extend` does, and then nothing any more
    calls = len(account.cloud.calls)
    eventually(lambda: not running(), 20)
    assert len(account.cloud.calls) == calls
    eventually(lambda: not [one for one in account.cloud.machines(name) if one.state != "terminated"], 10)


def test_a_role_is_good_for_its_own_task_alone(account: Account) -> None:
    mine, other = account.lab(), account.lab(name="two")
    place = Place("", "us-east-1", "", mine.handle.id)
    key = account.cloud.account.keys.role(place.role, "i-1", 600)
    own = {"aws_access_key_id": key.id, "aws_secret_access_key": key.secret, "aws_session_token": key.session}
    s3, scaling, iam, ec2 = (account.cloud.client(one, **own) for one in ("s3", "autoscaling", "iam", "ec2"))
    bucket = mine.handle.store.split("/")[2]
    s3.put_object(Bucket=bucket, Key=f"tasks/{mine.handle.id}/machines/a", Body=b"1")
    assert s3.get_object(Bucket=bucket, Key=f"tasks/{mine.handle.id}/private/token")["Body"].read()
    assert s3.list_objects_v2(Bucket=bucket, Prefix=f"tasks/{mine.handle.id}/")["KeyCount"] > 3
    s3.put_object(Bucket=bucket, Key=f"states/{mine.handle.id}/0/lease", Body=b"1")
    assert s3.list_objects_v2(Bucket=bucket, Prefix=f"states/{mine.handle.id}/0/")["KeyCount"] == 1
    theirs, group = f"tasks/{other.handle.id}", other.handle.id
    beside = f"tasks/{mine.handle.id}x/task.json"
    sizes = {"MinSize": 0, "MaxSize": 9, "DesiredCapacity": 9}
    refused: list[Callable[[], object]] = [
        lambda: s3.get_object(Bucket=bucket, Key=f"{theirs}/private/token"),
        lambda: s3.get_object(Bucket=bucket, Key=f"{theirs}/task.json"),
        lambda: s3.put_object(Bucket=bucket, Key=f"{theirs}/task.json", Body=b""),
        lambda: s3.put_object(Bucket=bucket, Key=beside, Body=b""),
        lambda: s3.delete_object(Bucket=bucket, Key=f"{theirs}/task.json"),
        lambda: s3.list_objects_v2(Bucket=bucket, Prefix=f"{theirs}/"),
        lambda: s3.list_objects_v2(Bucket=bucket, Prefix="tasks/"),
        lambda: s3.get_object(Bucket=bucket, Key=f"states/{other.handle.id}/0/lease"),
        lambda: s3.put_object(Bucket=bucket, Key=f"states/{other.handle.id}/0/lease", Body=b""),
        lambda: s3.put_object(Bucket=bucket, Key=f"states/{other.handle.id}/0/0009.0.1.e30", Body=b""),
        lambda: s3.put_object(Bucket=bucket, Key=f"states/{mine.handle.id}x/0/lease", Body=b""),
        lambda: s3.delete_object(Bucket=bucket, Key=f"states/{other.handle.id}/0/lease"),
        lambda: s3.list_objects_v2(Bucket=bucket, Prefix=f"states/{other.handle.id}/"),
        lambda: s3.list_objects_v2(Bucket=bucket, Prefix="states/"),
        lambda: s3.put_object(Bucket=bucket, Key="agents/x", Body=b""),
        lambda: s3.delete_bucket(Bucket=bucket),
        lambda: s3.list_buckets(),
        lambda: scaling.set_desired_capacity(AutoScalingGroupName=group, DesiredCapacity=0),
        lambda: scaling.delete_auto_scaling_group(AutoScalingGroupName=group, ForceDelete=True),
        # Not even of its own: more machines than the client set, or none of them ever ending.
        lambda: scaling.update_auto_scaling_group(AutoScalingGroupName=mine.handle.id, **sizes),
        lambda: scaling.delete_scheduled_action(AutoScalingGroupName=mine.handle.id, ScheduledActionName=aws.DEADLINE),
        lambda: iam.get_role(RoleName=place.role),
        lambda: iam.put_role_policy(RoleName=place.role, PolicyName="more", PolicyDocument="{}"),
    ]
    for call in refused:
        assert code(call) == "AccessDenied"
    assert code(ec2.describe_instances) == "UnauthorizedOperation"
    scaling.set_desired_capacity(AutoScalingGroupName=mine.handle.id, DesiredCapacity=0)
    foreign = [one.id for one in account.cloud.machines(group)]
    assert foreign == [] or code(
        lambda: scaling.terminate_instance_in_auto_scaling_group(
            InstanceId=foreign[0], ShouldDecrementDesiredCapacity=True
        )
    )


def test_the_door_is_open_to_who_asks_last_and_to_the_task_itself(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = account.computer()
    task = account.lab(client)
    group = _door(account, task)
    assert _rules(group) == {("-1", group["GroupId"])}
    eventually(lambda: [one for one in account.cloud.machines(task.handle.id) if one.state == "running"], 5)
    (machine,) = account.cloud.machines(task.handle.id)
    word = Machine(id="0001.0", state="running", holder=machine.id, host_key="ssh-ed25519 AAAA", user="ubuntu")
    task.records.put_machine(word)
    lease = Lease(word.id, machine.id, time.time() + LEASE_SECONDS)
    Store(Place.at(task.handle).states).put(lease_key(0), msgspec.json.encode(lease))
    for address in ("198.51.100.7", "198.51.100.7", "203.0.113.9"):
        monkeypatch.setattr(aws, "mine", lambda _, address=address: address)
        end = client.driver("aws").reach(task.handle, 8888)
        assert (end.how, end.host, end.user, end.host_key) == ("ssh", machine.public, "ubuntu", "ssh-ed25519 AAAA")
        assert _rules(_door(account, task)) == {("-1", group["GroupId"]), ("22-22", f"{address}/32")}
    other = account.lab(name="two")
    assert _rules(_door(account, other)) == {("-1", _door(account, other)["GroupId"])}


def _door(account: Account, task: Task) -> dict[str, Any]:
    found = account.cloud.client("ec2").describe_security_groups(
        Filters=[{"Name": "group-name", "Values": [task.handle.id]}]
    )
    (group,) = found["SecurityGroups"]
    return dict(group)


def _rules(group: dict[str, Any]) -> set[tuple[str, str]]:
    """What comes in: ports, and from where."""
    found = set()
    for rule in group["IpPermissions"]:
        ports = "-1" if rule["IpProtocol"] == "-1" else f"{rule['FromPort']}-{rule['ToPort']}"
        found |= {(ports, one["CidrIp"]) for one in rule["IpRanges"]}
        found |= {(ports, one["CidrIpv6"]) for one in rule.get("Ipv6Ranges", ())}
        found |= {(ports, one["GroupId"]) for one in rule["UserIdGroupPairs"]}
    return found
