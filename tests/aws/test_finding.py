"""Tasks are found from anywhere: in every region that was used, a thousand in as many calls as there are pages, and
what no record leads to by its marks."""

from __future__ import annotations

import copy
import json
import time

import msgspec
import pytest

from lofty.drivers.aws.tags import as_list, with_record
from lofty.errors import CloudError, Conflict, Forbidden, LoftyError
from lofty.model import ids
from lofty.task import Task
from tests.aws.account import Account

MANY = 1000


def test_a_thousand_tasks_are_found_by_the_page(account: Account) -> None:
    task = account.lab()
    client = account.computer()
    few = _calls(account, lambda: client.everything())
    _many(account, task)
    client = account.computer()
    client.everything()  # whatever a process does only once
    before = time.thread_time()
    many = _calls(account, lambda: client.everything())
    spent = time.thread_time() - before
    tasks, problems = client.everything()
    assert problems == []
    assert len(tasks) == MANY
    assert {one.name for one in tasks} >= {"one", "task-7", f"task-{MANY - 1}"}
    assert all(one.record.spec and one.record.spec.timeout == 3600 for one in tasks)
    print(f"{MANY} tasks: {spent:.2f} s of CPU, {len(many)} calls; one task: {len(few)} calls")
    assert spent < 2.0
    assert len(many) < len(few) + MANY // 50  # as many groups as this cloud puts on a page
    assert not [call for call in many if call == "s3:GetObject"]


def _calls(account: Account, do: object) -> list[str]:
    assert callable(do)
    with account.noting() as calls:
        do()
    return [call.name for call in calls]


def _many(account: Account, task: Task) -> None:
    """Copies of a task, made where the cloud keeps them."""
    cloud = account.cloud
    spec = task.records.spec()
    assert spec is not None
    groups = cloud.groups.scaling.groups
    (bucket,) = cloud.account.s3.buckets.values()
    first = groups[task.handle.id]
    for number in range(1, MANY):
        name = f"task-{number}"
        other = msgspec.structs.replace(spec, name=name, id=ids.identifier(spec.owner, name))
        group = copy.copy(first)
        group.name, group.tags = other.id, as_list(with_record(other))
        group.said = {**first.said, "DesiredCapacity": 0, "MinSize": 0, "MaxSize": 0}
        group.actions = {}
        groups[other.id] = group
        key = f"tasks/{other.id}/task.json"
        bucket.keys[key] = bucket.keys[f"tasks/{task.handle.id}/task.json"]


def test_a_region_that_is_named_is_where_it_is_made_and_found(account: Account) -> None:
    far = {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1"}  # where this cloud lets nobody in
    task = account.lab(account.computer(**far), region="us-east-1")
    assert task.handle.region == "us-east-1"
    assert task.handle.store.startswith("s3://lofty-123456789012-us-east-1/")
    other = account.computer(**far)
    (found,) = other.tasks()
    assert found.handle == task.handle
    assert found.spec.need.region == "us-east-1"
    assert found.observe().state == "starting"
    found.down(discard=True)
    other.sweep()
    assert account.cloud.leftovers() == []


def test_a_region_of_the_environment_is_taken(account: Account) -> None:
    far = {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1"}
    task = account.lab(account.computer(**far, LOFTY_REGION="us-east-1"))
    assert task.handle.region == "us-east-1"
    with pytest.raises(Forbidden, match="not subscribed"):
        account.lab(account.computer(**far), name="two")


@pytest.mark.parametrize("last", ["s3:PutObject", "iam:CreateRole", "CreateLaunchTemplate", "CreateAutoScalingGroup"])
def test_what_was_never_finished_is_swept_after_an_hour_and_says_so_before(account: Account, last: str) -> None:
    account.cloud.at_call(1, account.dies, match=last, after=True)
    with pytest.raises(LoftyError):
        account.lab()
    account.cloud.calm()
    client = account.computer()
    if last != "CreateAutoScalingGroup":
        with pytest.raises(LoftyError, match="was never finished") as caught:
            account.lab(client)
        assert caught.value.hint == "lofty down one --discard"
    assert client.sweep() == ([], [])
    client.clock.sleep(3700)
    removed, kept = client.sweep()
    assert removed[0] == "one, which was never finished"
    assert kept == []
    assert account.cloud.leftovers() == []


def test_who_may_not_list_buckets_finds_what_is_in_the_region(account: Account) -> None:
    account.lab()
    rights = [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "s3:ListAllMyBuckets", "Resource": "*"},
    ]
    account.cloud.rules.person = rights
    assert [task.name for task in account.computer().tasks()] == ["one"]


def test_another_owner_is_not_seen_and_keeps_the_bucket(account: Account) -> None:
    theirs = account.lab(account.computer(LOFTY_OWNER="bob"), name="theirs")
    client = account.computer()
    assert client.tasks() == []
    client.sweep()
    assert theirs.observe().state == "starting"
    assert [one.name for one in account.computer(LOFTY_OWNER="bob").tasks()] == ["theirs"]


def test_a_group_whose_store_was_emptied_is_found_and_goes(account: Account) -> None:
    task = account.lab()
    task.records.store.clear()
    (found,) = account.computer().tasks()
    assert found.record.spec is None
    assert found.name == task.handle.id
    found.down(discard=True)
    assert account.leftovers() == []


def test_what_no_record_leads_to_is_swept(account: Account) -> None:
    task, kept = account.lab(), account.lab(name="kept")
    task.records.store.clear()
    client = account.computer()
    would, _ = client.sweep(dry_run=True)
    kinds = ("group", "launch template", "security group", "instance profile", "role")
    assert len(would) == len(kinds)
    removed, _ = client.sweep()
    assert removed == would
    for kind, text in zip(kinds, removed, strict=True):
        assert text.startswith(f"the {kind} lofty-one-")
    assert {one.name for one in account.computer().tasks()} == {"kept"}
    assert not [one for one in account.cloud.leftovers() if "lofty-one-" in one]
    assert kept.observe().state == "starting"


def test_what_is_not_seen_yet_when_it_is_taken_down_is_swept_later(account: Account) -> None:
    """Killed right after a thing was made, and taken down before AWS shows it."""
    account.cloud.rules.invisible = 60.0
    account.cloud.at_call(1, account.dies, match="ec2:CreateSecurityGroup", after=True)
    with pytest.raises(LoftyError):
        account.lab()
    (task,) = account.computer().tasks()
    task.down(discard=True)
    assert [one.split()[0] for one in account.leftovers()] == ["security"]
    account.cloud.rules.invisible = 0.0
    account.computer().sweep()
    assert account.cloud.leftovers() == []


@pytest.mark.parametrize("last", ["CreateLaunchTemplate", "CreateAutoScalingGroup", "PutScheduledUpdateGroupAction"])
def test_undoing_waits_for_what_is_not_seen_yet(account: Account, last: str) -> None:
    account.cloud.rules.invisible = 0.1
    account.cloud.fail(1, match=last, code="AccessDenied", message="no", status=403)
    with pytest.raises(Forbidden):
        account.lab()
    assert account.leftovers() == []


@pytest.mark.parametrize(
    "operation", ["CreateSecurityGroup", "CreateLaunchTemplate", "CreateInstanceProfile", "AddRoleToInstanceProfile"]
)
def test_an_answer_that_was_lost_and_a_thing_not_seen_yet(account: Account, operation: str) -> None:
    account.cloud.rules.invisible = 0.1
    account.cloud.lose(1, match=operation)
    task = account.lab()
    assert task.observe().state == "starting"
    task.down(discard=True)
    assert account.leftovers() == []


def test_a_group_that_takes_long_to_go_is_waited_for(account: Account) -> None:
    account.cloud.rules.group_delete = 0.4
    task = account.lab()
    task.down(discard=True)
    assert account.leftovers() == []
    naps = task._context.clock.naps  # type: ignore[attr-defined]
    assert sum(naps) > 60


def test_unfinished_uploads_go_with_the_task(account: Account) -> None:
    task, other = account.lab(), account.lab(name="one-more")
    s3 = account.cloud.client("s3")
    bucket = task.handle.store.split("/")[2]
    for one in (task, other):
        s3.create_multipart_upload(Bucket=bucket, Key=f"tasks/{one.handle.id}/files/packs/x")
    task.down(discard=True)
    assert [one for one in account.leftovers() if one.startswith("upload")] == [
        f"upload {bucket}/tasks/{other.handle.id}/files/packs/x"
    ]


def test_too_many_requests_are_waited_for(account: Account) -> None:
    busy = (
        "ec2:CreateSecurityGroup",
        "iam:CreateRole",
        "autoscaling:CreateAutoScalingGroup",
        "ec2:DeleteSecurityGroup",
    )
    account.cloud.rules.throttle = dict.fromkeys(busy, 4)
    account.lab().down(discard=True)
    assert account.leftovers() == []
    account.cloud.rules.throttle = {"autoscaling:CreateAutoScalingGroup": 100}
    with pytest.raises(CloudError, match="too many"):
        account.lab()
    assert account.leftovers() == []


def test_a_group_of_that_name_that_is_not_ours_is_left_alone(account: Account) -> None:
    task = account.lab()
    name = task.handle.id
    group = account.cloud.groups.scaling.groups[name]
    task.down(discard=True)
    account.cloud.groups.scaling.groups[name] = group
    group.deleting, group.tags = False, []
    with pytest.raises(Conflict, match="not lofty's"):
        account.lab()
    assert [one for one in account.leftovers() if "action" not in one] == [f"group {name}"]
    assert json.dumps(group.tags) == "[]"
