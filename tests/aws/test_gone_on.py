"""A script with a name whose making the death of the computer cut off: made again it is what it would have been."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest

from lofty.api import Client
from lofty.errors import LoftyError
from lofty.task import Task
from tests.aws.account import Account, hurry
from tests.aws.test_security import _door, _rules

WHOLE = os.environ.get("LOFTY_CAMPAIGN") == "1"


def script(client: Client) -> Task:
    asked: dict[str, Any] = {"on": "aws", "name": "one", "timeout": "3600s", "spot": True, "parallelism": 2}
    return client.script("#!/bin/sh\n", variables={"A": "1"}, wait=False, **asked)


def shape(account: Account, task: Task) -> dict[str, object]:
    """What there is of a task, but for numbers, times and secrets."""
    ec2, scaling, iam, s3 = (account.cloud.client(one) for one in ("ec2", "autoscaling", "iam", "s3"))
    name = task.handle.id
    door = _door(account, task)
    (version,) = ec2.describe_launch_template_versions(LaunchTemplateName=name)["LaunchTemplateVersions"]
    data = version["LaunchTemplateData"]
    (group,) = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
    actions = scaling.describe_scheduled_actions(AutoScalingGroupName=name)["ScheduledUpdateGroupActions"]
    profile = data["IamInstanceProfile"]["Name"]
    (role,) = iam.get_instance_profile(InstanceProfileName=profile)["InstanceProfile"]["Roles"]
    objects = s3.list_objects_v2(Bucket=task.handle.store.split("/")[2])["Contents"]
    return {
        "door": {(ports, "itself" if whom == door["GroupId"] else whom) for ports, whom in _rules(door)},
        "template": (sorted(data), [one["Groups"] == [door["GroupId"]] for one in data["NetworkInterfaces"]]),
        "group": (group["DesiredCapacity"], group["MaxSize"], len(actions)),
        "rights": iam.get_role_policy(RoleName=role["RoleName"], PolicyName="lofty")["PolicyDocument"],
        "objects": sorted(re.sub(r"/deadline/[\d.]+$", "/deadline/", one["Key"]) for one in objects),
    }


def test_machines_reach_each_other_all_the_same(account: Account) -> None:
    """The security group was there, and its rule was not."""
    dying = account.computer()
    account.cloud.at_call(1, account.dies, match="ec2:AuthorizeSecurityGroupIngress$")
    with pytest.raises(LoftyError):
        script(dying)
    account.cloud.calm()
    door = _door(account, script(account.computer()))
    assert _rules(door) == {("-1", door["GroupId"])}


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_whatever_call_was_the_last_one(account: Account) -> None:
    """Before it had an effect, and after. In `make test` one in nine."""
    client = account.computer()
    with account.noting() as calls:
        whole = shape(account, script(client))
    made = [call.name for call in calls]
    first = next(number for number, call in enumerate(calls, 1) if str(call.params.get("Key")).endswith("task.json"))
    last = made.index("autoscaling:UpdateAutoScalingGroup") + 1
    told = []
    for number in range(first + 1, last + 1):
        for after in (False, True):
            if not WHOLE and (number * 2 + after) % 9:
                continue
            account.cloud.reset()
            hurry(account.cloud)
            dying = account.computer()
            account.kill(number, after=after)
            with pytest.raises(LoftyError):
                script(dying)
            account.cloud.calm()
            task = script(account.computer())
            if (found := shape(account, task)) != whole:
                told.append(
                    (
                        number,
                        made[number - 1],
                        after,
                        {key: (whole[key], found[key]) for key in whole if whole[key] != found[key]},
                    )
                )
            assert len(account.cloud.groups.scaling.groups) == 1
    print(*told, sep="\n")
    assert told == []
