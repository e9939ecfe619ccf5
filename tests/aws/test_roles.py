"""What machines are: a role for each task, one that the person names, or one that all share."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from lofty.api import Step
from lofty.drivers.aws.policy import trust_policy
from lofty.drivers.aws.roles import GIVES_UP, SHARED
from lofty.errors import Forbidden, LoftyError, QuotaExceeded, SpecError
from lofty.task import Task
from tests.aws.account import Account
from tests.cloudbox.support import code

ALL = [{"Effect": "Allow", "Action": "*", "Resource": "*"}]


def profile_of(account: Account, task: Task) -> dict[str, str]:
    found = account.cloud.client("ec2").describe_launch_template_versions(
        LaunchTemplateName=task.handle.id, Versions=["$Latest"]
    )
    return dict(found["LaunchTemplateVersions"][0]["LaunchTemplateData"]["IamInstanceProfile"])


@pytest.fixture
def premade(account: Account) -> str:
    """An instance profile that an administrator made; its ARN."""
    iam = account.cloud.client("iam")
    iam.create_role(RoleName="science", AssumeRolePolicyDocument=json.dumps(trust_policy()))
    arn = iam.create_instance_profile(InstanceProfileName="science")["InstanceProfile"]["Arn"]
    iam.add_role_to_instance_profile(InstanceProfileName="science", RoleName="science")
    return str(arn)


def deny(account: Account, *actions: str) -> None:
    account.cloud.rules.person = [*ALL, {"Effect": "Deny", "Action": list(actions), "Resource": "*"}]


@pytest.mark.parametrize("by_name", [True, False])
def test_who_may_not_make_roles_names_one(account: Account, premade: str, by_name: bool) -> None:
    deny(account, "iam:Create*", "iam:Put*", "iam:Delete*", "iam:Add*", "iam:Remove*")
    client = account.computer()
    with account.noting() as calls:
        task = account.lab(client, role="science" if by_name else premade)
        assert profile_of(account, task) == ({"Name": "science"} if by_name else {"Arn": premade})
        account.computer().get("one").down(discard=True)
    assert {call.name for call in calls if call.service == "iam"} == {"iam:GetInstanceProfile"}
    assert sorted(account.leftovers()) == ["instance profile science", "role science"]


def test_a_named_one_need_not_be_visible(account: Account, premade: str) -> None:
    deny(account, "iam:CreateRole", "iam:GetInstanceProfile", "iam:CreateInstanceProfile")
    account.lab(role=premade).down(discard=True)


@pytest.mark.parametrize(
    ("role", "says"),
    [
        ("nobody", "there is no instance profile 'nobody'"),
        ("arn:aws:iam::123456789012:role/science", "is a role"),
        ("arn:aws:s3:::bucket", "is no instance profile"),
        ("a b", "is no instance profile"),
    ],
)
def test_a_wrong_name_makes_nothing(account: Account, role: str, says: str) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        account.lab(role=role)
    assert caught.value.hint
    assert account.leftovers() == []


@pytest.mark.parametrize("action", ["iam:CreateRole", "iam:PutRolePolicy", "iam:CreateInstanceProfile"])
def test_a_missing_right_is_named_and_so_is_the_way_round_it(account: Account, action: str) -> None:
    deny(account, action)
    with pytest.raises(Forbidden) as caught:
        account.lab()
    assert action in str(caught.value)
    assert "--role NAME" in (caught.value.hint or "")
    assert account.leftovers() == []


def full(account: Account) -> None:
    """The account has all the roles that it may, when the next one is asked for."""
    text = "Cannot exceed quota for RolesPerAccount: 1000"
    account.cloud.fail(1, match="iam:CreateRole$", code="LimitExceeded", message=text, status=409)


def test_where_there_is_no_room_tasks_share_a_role_and_are_told(account: Account) -> None:
    steps: list[Step] = []
    full(account)
    first = account.lab(progress=steps.append)
    assert [step.note for step in steps if step.name == "note"] == [GIVES_UP]
    full(account)
    second = account.lab(name="two")
    own = account.lab(name="three")
    for task in (first, second):
        assert profile_of(account, task) == {"Name": SHARED}
    assert profile_of(account, own)["Name"].startswith("lofty-three-")
    assert sum(one == f"role {SHARED}" for one in account.cloud.leftovers()) == 1

    # It reaches every task of lofty, and nothing else.
    key = account.cloud.account.keys.role(SHARED, "i-1", 600)
    mine = {"aws_access_key_id": key.id, "aws_secret_access_key": key.secret, "aws_session_token": key.session}
    s3, scaling, iam = (account.cloud.client(one, **mine) for one in ("s3", "autoscaling", "iam"))
    bucket = first.handle.store.split("/")[2]
    for task in (first, second):
        assert s3.get_object(Bucket=bucket, Key=f"tasks/{task.handle.id}/task.json")["Body"].read()
        s3.put_object(Bucket=bucket, Key=f"tasks/{task.handle.id}/machines/a", Body=b"1")
        scaling.set_desired_capacity(AutoScalingGroupName=task.handle.id, DesiredCapacity=0)
    refused: list[Callable[[], object]] = [
        lambda: s3.put_object(Bucket=bucket, Key="agents/x", Body=b""),
        lambda: s3.delete_bucket(Bucket=bucket),
        lambda: s3.list_objects_v2(Bucket=bucket, Prefix="agents/"),
        lambda: iam.get_role(RoleName=SHARED),
        lambda: scaling.delete_auto_scaling_group(AutoScalingGroupName=first.handle.id, ForceDelete=True),
    ]
    for call in refused:
        assert code(call) == "AccessDenied"

    first.down(discard=True)
    account.computer().sweep()
    assert f"role {SHARED}" in account.cloud.leftovers(), "the other task has it still"
    second.down(discard=True)
    removed, _ = account.computer().sweep()
    assert [one for one in removed if SHARED in one] == [
        f"the instance profile {SHARED} of no task", f"the role {SHARED} of no task",
    ]  # fmt: skip
    own.down(discard=True)
    assert account.leftovers() == []


def test_a_foreign_group_is_not_the_shared_roles(account: Account) -> None:
    """Only what has lofty's mark, whatever its name."""
    full(account)
    task = account.lab()
    scaling = account.cloud.client("autoscaling")
    (group,) = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[task.handle.id])["AutoScalingGroups"]
    scaling.create_auto_scaling_group(
        AutoScalingGroupName="lofty-theirs", MinSize=0, MaxSize=0, DesiredCapacity=0,
        VPCZoneIdentifier=group["VPCZoneIdentifier"], MixedInstancesPolicy=group["MixedInstancesPolicy"],
    )  # fmt: skip
    key = account.cloud.account.keys.role(SHARED, "i-1", 600)
    mine = {"aws_access_key_id": key.id, "aws_secret_access_key": key.secret, "aws_session_token": key.session}
    theirs = account.cloud.client("autoscaling", **mine)
    assert code(lambda: theirs.set_desired_capacity(AutoScalingGroupName="lofty-theirs", DesiredCapacity=0)) == (
        "AccessDenied"
    )
    scaling.delete_auto_scaling_group(AutoScalingGroupName="lofty-theirs", ForceDelete=True)


def test_a_role_that_may_be_needed_in_a_moment_stays(account: Account) -> None:
    """A task that is being made has a record, and no template yet."""
    full(account)
    account.cloud.at_call(1, account.dies, match="ec2:CreateLaunchTemplate$")
    with pytest.raises(LoftyError):
        account.lab()
    account.cloud.calm()
    account.computer().sweep()
    assert f"role {SHARED}" in account.cloud.leftovers()
    account.computer().get("one").down(discard=True)
    account.computer().sweep()
    assert account.cloud.leftovers() == []


def test_where_there_is_no_room_for_that_one_either(account: Account) -> None:
    for _ in range(2):
        full(account)
    with pytest.raises(QuotaExceeded, match="RolesPerAccount") as caught:
        account.lab()
    assert "--role NAME" in (caught.value.hint or "")
    assert account.leftovers() == []
