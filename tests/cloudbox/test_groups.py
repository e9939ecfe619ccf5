"""Groups, and what strikes in the middle of a call."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError

from tests.cloudbox.cloud import Cloudbox
from tests.cloudbox.support import (
    activities,
    code,
    group,
    patiently,
    role,
    running,
    subnets,
    template,
    words,
)
from tests.conftest import eventually

pytestmark = pytest.mark.cloudbox


# Groups


def test_a_group_is_checked_when_it_is_made(api: Cloudbox, scaling: Any) -> None:
    launch = template(api)
    group(api, launch, size=0)

    def create(**said: Any) -> str:
        whole = {
            "AutoScalingGroupName": "new",
            "MinSize": 0,
            "MaxSize": 1,
            "VPCZoneIdentifier": subnets(api)[0],
            "LaunchTemplate": {"LaunchTemplateId": launch},
            **said,
        }
        return code(lambda: scaling.create_auto_scaling_group(**whole))

    def mixed(**spread: Any) -> dict[str, Any]:
        policy = {"LaunchTemplateSpecification": {"LaunchTemplateId": launch}}
        return {"LaunchTemplate": None, "MixedInstancesPolicy": {"LaunchTemplate": policy, **spread}}

    def plain(said: dict[str, Any]) -> str:
        said = {"AutoScalingGroupName": "new", "MinSize": 0, "MaxSize": 1, "VPCZoneIdentifier": subnets(api)[0], **said}
        said.pop("LaunchTemplate")
        return code(lambda: scaling.create_auto_scaling_group(**said))

    assert create(AutoScalingGroupName="task") == "AlreadyExists"
    for wrong in (
        {"AutoScalingGroupName": "a:b"},
        {"MinSize": 2},
        {"DesiredCapacity": 2},
        {"MaxInstanceLifetime": 60},
        {"VPCZoneIdentifier": "subnet-0"},
        {"LaunchTemplate": {"LaunchTemplateName": "none"}},
        {"LaunchTemplate": {"LaunchTemplateId": launch, "Version": "7"}},
    ):
        assert create(**wrong) == "ValidationError", wrong
    assert plain(mixed(InstancesDistribution={"SpotAllocationStrategy": "cheapest"})) == "ValidationError"
    policy = {"LaunchTemplateSpecification": {"LaunchTemplateId": launch}, "Overrides": [{"InstanceType": "m5.tiny"}]}
    assert plain({"LaunchTemplate": None, "MixedInstancesPolicy": {"LaunchTemplate": policy}}) == "ValidationError"


def test_sizes_stay_within_their_bounds(api: Cloudbox, scaling: Any) -> None:
    group(api, template(api), size=1, MinSize=1, MaxSize=1)
    text = words(lambda: scaling.set_desired_capacity(AutoScalingGroupName="task", DesiredCapacity=2))
    assert text == "New SetDesiredCapacity value 2 is above max value 1 for the AutoScalingGroup."
    assert (
        code(lambda: scaling.set_desired_capacity(AutoScalingGroupName="task", DesiredCapacity=0)) == "ValidationError"
    )
    assert code(lambda: scaling.update_auto_scaling_group(AutoScalingGroupName="task", MaxSize=0)) == "ValidationError"
    wrong = {"MaxSize": 1, "DesiredCapacity": 9}
    assert code(lambda: scaling.update_auto_scaling_group(AutoScalingGroupName="task", **wrong)) == "ValidationError"
    assert code(lambda: scaling.set_desired_capacity(AutoScalingGroupName="x", DesiredCapacity=0)) == "ValidationError"
    eventually(lambda: running(api) != [], 5)
    end = {"InstanceId": running(api)[0], "ShouldDecrementDesiredCapacity": True}
    assert "min size constraint" in words(lambda: scaling.terminate_instance_in_auto_scaling_group(**end))
    scaling.update_auto_scaling_group(AutoScalingGroupName="task", MinSize=0, MaxSize=0)
    assert scaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]["DesiredCapacity"] == 0


def test_a_dead_machine_is_replaced(api: Cloudbox, ec2: Any, scaling: Any) -> None:
    group(api, template(api), size=1)
    eventually(lambda: len(running(api)) == 1, 5)
    first = running(api)[0]
    api.machine(first).cut()
    eventually(lambda: running(api) not in ([], [first]), 5)
    second = running(api)[0]
    patiently(lambda: ec2.terminate_instances(InstanceIds=[second]))
    eventually(lambda: running(api) not in ([], [second]), 5)
    third = running(api)[0]
    api.machine(third).notice(0.1)
    eventually(lambda: running(api) not in ([], [third]), 5)
    done = [one for one in activities(scaling) if one["StatusCode"] == "Successful"]
    assert sum(one["Description"].startswith("Launching a new EC2 instance: i-") for one in done) == 4
    assert any("health check" in one["Cause"] for one in done)


def test_rebalancing_starts_the_new_machine_first(api: Cloudbox, scaling: Any) -> None:
    group(api, template(api), size=1, MaxSize=1, CapacityRebalance=True)
    eventually(lambda: len(running(api)) == 1, 5)
    first = running(api)[0]
    api.machine(first).rebalance()
    eventually(lambda: running(api) not in ([], [first]), 5)
    eventually(lambda: len(running(api)) == 1, 5)
    newest = [one["Description"].split()[0] for one in activities(scaling)]
    assert newest == ["Terminating", "Launching", "Launching"]


def test_a_hook_holds_a_machine_that_goes(api: Cloudbox, scaling: Any) -> None:
    group(api, template(api), size=1)
    hook = {"AutoScalingGroupName": "task", "LifecycleHookName": "push"}
    going = "autoscaling:EC2_INSTANCE_TERMINATING"
    assert code(lambda: scaling.put_lifecycle_hook(**hook)) == "ValidationError"
    short = {"LifecycleTransition": going, "HeartbeatTimeout": 5}
    assert code(lambda: scaling.put_lifecycle_hook(**hook, **short)) == "ValidationError"
    scaling.put_lifecycle_hook(**hook, LifecycleTransition=going, HeartbeatTimeout=60)
    assert scaling.describe_lifecycle_hooks(AutoScalingGroupName="task")["LifecycleHooks"][0]["GlobalTimeout"] == 6000
    eventually(lambda: len(running(api)) == 1, 5)
    machine = running(api)[0]
    done = {**hook, "InstanceId": machine, "LifecycleActionResult": "CONTINUE"}
    assert code(lambda: scaling.complete_lifecycle_action(**done)) == "ValidationError"
    scaling.set_desired_capacity(AutoScalingGroupName="task", DesiredCapacity=0)

    def lifecycle() -> str:
        found = scaling.describe_auto_scaling_instances(InstanceIds=[machine])["AutoScalingInstances"]
        return str(found[0]["LifecycleState"])

    eventually(lambda: lifecycle() == "Terminating:Wait", 5)
    scaling.record_lifecycle_action_heartbeat(**hook, InstanceId=machine)
    assert running(api) == [machine]
    scaling.complete_lifecycle_action(**done)
    eventually(lambda: api.machine(machine).seen.state == "terminated", 5)


def test_a_scheduled_action_runs_and_vanishes(api: Cloudbox, scaling: Any) -> None:
    group(api, template(api), size=1)
    soon, later = datetime.now(UTC) + timedelta(seconds=4), datetime.now(UTC) + timedelta(hours=1)
    zero = {"MinSize": 0, "MaxSize": 0, "DesiredCapacity": 0}

    def put(name: str, start: datetime, where: str = "task", sizes: dict[str, int] = zero) -> Any:
        said = {"AutoScalingGroupName": where, "ScheduledActionName": name, "StartTime": start, **sizes}
        return scaling.put_scheduled_update_group_action(**said)

    assert words(lambda: put("a", datetime.now(UTC) - timedelta(seconds=1))) == "Given start time is in the past"
    assert code(lambda: put("a", later, "none")) == "ValidationError"
    assert code(lambda: put("a", later, sizes={})) == "ValidationError"
    put("deadline", later)
    assert code(lambda: put("other", later.replace(microsecond=0))) == "ValidationError"
    put("deadline", soon)  # the same name moves it
    listed = scaling.describe_scheduled_actions(AutoScalingGroupName="task")["ScheduledUpdateGroupActions"]
    assert [one["StartTime"] for one in listed] == [soon.replace(microsecond=0)]
    eventually(lambda: len(running(api)) == 1, 4)
    eventually(lambda: running(api) == [], 8)
    assert not scaling.describe_scheduled_actions()["ScheduledUpdateGroupActions"]
    gone = {"AutoScalingGroupName": "task", "ScheduledActionName": "deadline"}
    assert words(lambda: scaling.delete_scheduled_action(**gone)) == "Scheduled action name not found"
    assert (
        code(lambda: scaling.set_desired_capacity(AutoScalingGroupName="task", DesiredCapacity=1)) == "ValidationError"
    )


def test_deleting_takes_its_time(api: Cloudbox, ec2: Any, scaling: Any) -> None:
    api.rules.invisible = 0
    sg = ec2.create_security_group(GroupName="task", Description="ours")["GroupId"]
    launch = template(api, SecurityGroupIds=[sg])
    group(api, launch, size=1)
    eventually(lambda: len(running(api)) == 1, 5)
    assert code(lambda: scaling.delete_auto_scaling_group(AutoScalingGroupName="task")) == "ResourceInUse"
    assert code(lambda: ec2.delete_security_group(GroupId=sg)) == "DependencyViolation"
    scaling.delete_auto_scaling_group(AutoScalingGroupName="task", ForceDelete=True)
    assert scaling.describe_auto_scaling_groups()["AutoScalingGroups"][0]["Status"] == "Delete in progress"
    again = {"AutoScalingGroupName": "task", "MinSize": 0, "MaxSize": 0, "VPCZoneIdentifier": subnets(api)[0]}
    again["LaunchTemplate"] = {"LaunchTemplateId": launch}
    assert code(lambda: scaling.create_auto_scaling_group(**again)) == "AlreadyExists"
    text = words(lambda: scaling.update_auto_scaling_group(AutoScalingGroupName="task", MaxSize=1))
    assert "may not be modified while it is pending delete" in text
    eventually(lambda: not scaling.describe_auto_scaling_groups()["AutoScalingGroups"], 5)
    assert code(lambda: scaling.delete_auto_scaling_group(AutoScalingGroupName="task")) == "ValidationError"
    deleted = scaling.describe_scaling_activities(AutoScalingGroupName="task", IncludeDeletedGroups=True)
    assert deleted["Activities"]
    ec2.delete_security_group(GroupId=sg)
    ec2.delete_launch_template(LaunchTemplateId=launch)
    assert api.leftovers() == []


# Faults


def test_throttling_by_name(api: Cloudbox, ec2: Any, scaling: Any, s3: Any) -> None:
    api.rules.throttle = {"ec2:DescribeRegions": 2, "autoscaling:DescribeAutoScalingGroups": 1, "s3:PutObject": 1}
    assert [code(ec2.describe_regions) for _ in range(2)] == ["RequestLimitExceeded"] * 2
    ec2.describe_regions()
    assert code(scaling.describe_auto_scaling_groups) == "Throttling"
    scaling.describe_auto_scaling_groups()
    assert code(lambda: s3.put_object(Bucket="tasks", Key="a", Body=b"")) == "SlowDown"


def test_strikes_before_and_after_the_effect(api: Cloudbox, ec2: Any) -> None:
    def create(name: str) -> Any:
        return ec2.create_security_group(GroupName=name, Description="ours")

    api.fail(2, match="CreateSecurityGroup", code="InternalError")
    create("a")
    assert code(lambda: create("b")) == "InternalError"
    api.fail(1, match="CreateSecurityGroup", after=True)
    assert code(lambda: create("c")) == "InternalFailure"
    api.lose(1, match="CreateSecurityGroup")
    with pytest.raises(ConnectionClosedError):
        create("d")
    api.lose(1, match="CreateSecurityGroup", after=False)
    with pytest.raises(ConnectionClosedError):
        create("e")
    seen: list[str] = []
    api.at_call(1, lambda call: seen.append(call.params["GroupName"]), match="ec2:Create")
    create("f")
    assert seen == ["f"]
    assert [one for one in api.leftovers() if "group" in one] == [f"security group {name}" for name in "acdf"]
    outcomes = [call.outcome for call in api.calls if call.operation == "CreateSecurityGroup"]
    assert outcomes == ["ok", "InternalError", "InternalFailure", "lost", "lost", "ok"]


def test_what_nobody_compared_is_not_there(api: Cloudbox, ec2: Any) -> None:
    assert code(ec2.describe_vpn_gateways) == "NotImplemented"
    assert code(lambda: api.client("ec2", region_name="eu-central-1").describe_regions()) == "OptInRequired"
    assert patiently(lambda: api.client("sts").get_caller_identity())["Arn"].endswith("user/ada")


def test_everything_left_is_told(api: Cloudbox, s3: Any) -> None:
    s3.put_object(Bucket="tasks", Key="a", Body=b"")
    role(api, "machine", [])
    group(api, template(api), size=1)
    eventually(lambda: len(running(api)) == 1, 5)
    kinds = {left.rpartition(" ")[0] for left in api.leftovers()}
    running_up = {"group", "instance", "volume", "network interface"}
    assert kinds == {"bucket", "object", "role", "instance profile", "launch template"} | running_up
    api.reset()
    assert api.leftovers() == [] and api.machines() == [] and api.calls == []
