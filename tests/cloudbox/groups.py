"""Auto Scaling's operations, all of them written here: moto keeps groups as they are written, and starts the wrong
machines.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.cloudbox.account import Account
from tests.cloudbox.catalogue import ACCOUNT, REGION
from tests.cloudbox.compute import Compute, Life
from tests.cloudbox.group_checks import Checks
from tests.cloudbox.hooks import Hooks
from tests.cloudbox.protocol import Refused
from tests.cloudbox.scaling import OUT, Group, Params, Scaling, invalid

_PROCESSES = (
    "AZRebalance",
    "AddToLoadBalancer",
    "AlarmNotification",
    "HealthCheck",
    "InstanceRefresh",
    "Launch",
    "ReplaceUnhealthy",
    "ScheduledActions",
    "Terminate",
)
_KEPT = (
    "MixedInstancesPolicy",
    "LaunchTemplate",
    "MinSize",
    "MaxSize",
    "DesiredCapacity",
    "DefaultCooldown",
    "HealthCheckType",
    "HealthCheckGracePeriod",
    "VPCZoneIdentifier",
    "TerminationPolicies",
    "NewInstancesProtectedFromScaleIn",
    "CapacityRebalance",
    "MaxInstanceLifetime",
    "DefaultInstanceWarmup",
    "DesiredCapacityType",
    "Context",
)


def not_found(name: str) -> Refused:
    """No such group."""
    return invalid(f"AutoScalingGroup name not found - AutoScalingGroup '{name}' not found")


class Groups:
    """The service. What it promises is kept by `scaling`."""

    def __init__(self, account: Account, compute: Compute) -> None:
        self._account = account
        self.compute = compute
        self.scaling = Scaling(account, compute)
        self._checks = Checks(account, self.scaling)
        self.operations: dict[str, Callable[[Params], Params]] = {
            "CreateAutoScalingGroup": self.create,
            "UpdateAutoScalingGroup": self.update,
            "DeleteAutoScalingGroup": self.delete,
            "DescribeAutoScalingGroups": self.describe,
            "DescribeAutoScalingInstances": self.describe_instances,
            "SetDesiredCapacity": self.set_desired,
            "SetInstanceHealth": self.set_health,
            "TerminateInstanceInAutoScalingGroup": self.terminate,
            "PutScheduledUpdateGroupAction": self.put_action,
            "DescribeScheduledActions": self.describe_actions,
            "DeleteScheduledAction": self.delete_action,
            "DescribeScalingActivities": self.describe_activities,
            "DescribeAccountLimits": self.limits,
            "CreateOrUpdateTags": self.tag,
            "DeleteTags": self.untag,
            "DescribeTags": self.describe_tags,
            "SuspendProcesses": self.suspend,
            "ResumeProcesses": self.resume,
            **Hooks(self.scaling, self.find).operations,
        }

    def find(self, name: str) -> Group:
        """By name, or by ARN as the API allows."""
        name = name.rpartition("autoScalingGroupName/")[2]
        if name not in self.scaling.groups:
            raise not_found(name)
        return self.scaling.groups[name]

    def of(self, instance: str) -> Group:
        """The group that an instance belongs to."""
        life = self.compute.lives.get(instance)
        if life is None or life.group not in self.scaling.groups or life.state == "terminated":
            raise invalid(f"Instance Id not found - No managed instance found for instance ID: {instance}")
        return self.scaling.groups[life.group]

    def create(self, params: Params) -> Params:
        name = params["AutoScalingGroupName"]
        if name in self.scaling.groups:
            text = f"{name} is pending delete" if self.scaling.groups[name].deleting else f"{name} already exists"
            raise Refused("AlreadyExists", f"AutoScalingGroup by this name already exists - {text}")
        said = {key: params[key] for key in _KEPT if key in params}
        said.setdefault("DesiredCapacity", said["MinSize"])
        if not said.get("VPCZoneIdentifier"):
            zones = params.get("AvailabilityZones") or []
            subnets = [
                subnet.id
                for by_id in self._account.ec2.subnets.values()
                for subnet in by_id.values()
                if subnet.availability_zone in zones and subnet.default_for_az
            ]
            if not subnets:
                raise invalid("At least one Availability Zone or VPC Subnet is required.")
            said["VPCZoneIdentifier"] = ",".join(subnets)
        self._checks.name(name)
        self._checks.said(said)
        tags = [_tag(one, name) for one in params.get("Tags") or []]
        arn = f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:{uuid.uuid4()}:autoScalingGroupName/{name}"
        group = Group(name, said, arn, tags, datetime.now(UTC))
        group.try_at = time.monotonic() + self._account.rules.launch_delay
        group.cause = "a user request created an AutoScalingGroup"
        self.scaling.groups[name] = group
        return {}

    def update(self, params: Params) -> Params:
        group = self._changeable(params["AutoScalingGroupName"])
        said = {**group.said, **{key: params[key] for key in _KEPT if key in params}}
        if "MixedInstancesPolicy" in params:
            said.pop("LaunchTemplate", None)
        elif "LaunchTemplate" in params:
            said.pop("MixedInstancesPolicy", None)
        if "DesiredCapacity" not in params:
            said["DesiredCapacity"] = min(max(said["DesiredCapacity"], said["MinSize"]), said["MaxSize"])
        self._checks.said(said)
        self.scaling.resize(group, said, "a user request update of AutoScalingGroup constraints")
        return {}

    def set_desired(self, params: Params) -> Params:
        group = self._changeable(params["AutoScalingGroupName"])
        self._checks.desired(group.said, params["DesiredCapacity"])
        self.scaling.resize(
            group, {**group.said, "DesiredCapacity": params["DesiredCapacity"]}, "a user request explicitly set"
        )
        return {}

    def _changeable(self, name: str) -> Group:
        group = self.find(name)
        if group.deleting:
            raise Refused(
                "ScalingActivityInProgress" if self.scaling.has_instances(group) else "ResourceInUse",
                f"AutoScalingGroup '{group.name}' may not be modified while it is pending delete",
            )
        return group

    def describe_activities(self, params: Params) -> Params:
        name = params.get("AutoScalingGroupName")
        if name:
            found = list(self.scaling.groups[name].activities) if name in self.scaling.groups else []
            if params.get("IncludeDeletedGroups"):
                found += [note for note in self.scaling.gone if note["AutoScalingGroupName"] == name]
            elif name not in self.scaling.groups:
                raise not_found(name)
        else:
            found = [note for group in self.scaling.groups.values() for note in group.activities]
        if params.get("ActivityIds"):
            found = [note for note in found if note["ActivityId"] in params["ActivityIds"]]
        page, token = _page(found, params, 100)
        return {"Activities": page, "NextToken": token}

    def delete(self, params: Params) -> Params:
        group = self.find(params["AutoScalingGroupName"])
        if group.deleting:
            return {}
        force = params.get("ForceDelete", False)
        if not force and self._account.rules.deletable and (self.scaling.has_instances(group) or group.desired):
            raise Refused(
                "ResourceInUse",
                "You cannot delete an AutoScalingGroup while there are instances or pending Spot instance request(s) "
                "still in the group.",
            )
        group.deleting = True
        group.actions.clear()
        return {}

    def terminate(self, params: Params) -> Params:
        group = self.of(params["InstanceId"])
        life = self.compute.lives[params["InstanceId"]]
        if params["ShouldDecrementDesiredCapacity"]:
            if self._account.rules.strict_groups and group.desired - 1 < group.said["MinSize"]:
                raise invalid(
                    "Currently, desiredSize equals minSize "
                    f"({group.said['MinSize']}). Terminating instance without replacement will violate group's "
                    "min size constraint. Either set shouldDecrementDesiredCapacity flag to false or lower "
                    "group's min size."
                )
            group.said = {**group.said, "DesiredCapacity": group.desired - 1}
        else:
            group.try_at = time.monotonic() + self._account.rules.launch_delay
        group.cause = f"{OUT} a user request,"
        self.scaling.end(group, life, f"{OUT} a user request")
        note = group.activities[0]
        return {"Activity": {key: value for key, value in note.items() if key != "of"}}

    def set_health(self, params: Params) -> Params:
        group = self.of(params["InstanceId"])
        if params["HealthStatus"] == "Unhealthy":
            self.scaling.end(group, self.compute.lives[params["InstanceId"]], f"{OUT} a user health-check")
        return {}

    def put_action(self, params: Params) -> Params:
        group = self._changeable(params["AutoScalingGroupName"])
        name = params["ScheduledActionName"]
        if params.get("Recurrence") or params.get("EndTime"):
            raise Refused("NotImplemented", "cloudbox runs one-time actions only", 501)
        start = _aware(params.get("StartTime") or params.get("Time"))
        if start is None:
            raise invalid("Either StartTime or Recurrence must be given")
        if not any(key in params for key in ("MinSize", "MaxSize", "DesiredCapacity")):
            raise invalid("At least one of MinSize, MaxSize and DesiredCapacity must be given")
        if start.timestamp() <= time.time():
            raise invalid("Given start time is in the past")
        if any(other["StartTime"] == start for key, other in group.actions.items() if key != name):
            raise invalid("Scheduled action with the same start time already exists")
        if params.get("MinSize", 0) > params.get("MaxSize", params.get("MinSize", 0)):
            raise invalid("Min size must not be above max size")
        group.actions[name] = {
            "AutoScalingGroupName": group.name,
            "ScheduledActionName": name,
            "ScheduledActionARN": group.arn.replace("autoScalingGroup:", "scheduledUpdateGroupAction:", 1)
            + f":scheduledActionName/{name}",
            "Time": start,
            "StartTime": start,
            **{key: params[key] for key in ("MinSize", "MaxSize", "DesiredCapacity") if key in params},
        }
        return {}

    def describe_actions(self, params: Params) -> Params:
        if params.get("AutoScalingGroupName"):
            groups = [self.find(params["AutoScalingGroupName"])]
        else:
            groups = list(self.scaling.groups.values())
        names = params.get("ScheduledActionNames") or []
        found = [action for group in groups for action in group.actions.values()]
        found = [action for action in found if not names or action["ScheduledActionName"] in names]
        page, token = _page(found, params, 50)
        return {"ScheduledUpdateGroupActions": page, "NextToken": token}

    def delete_action(self, params: Params) -> Params:
        group = self.find(params["AutoScalingGroupName"])
        if group.actions.pop(params["ScheduledActionName"], None) is None:
            raise invalid("Scheduled action name not found")
        return {}

    def describe(self, params: Params) -> Params:
        names = params.get("AutoScalingGroupNames") or []
        found = [group for group in self.scaling.groups.values() if not names or group.name in names]
        for rule in params.get("Filters") or []:
            kind = rule["Name"]
            if kind.startswith("tag:"):
                found = [one for one in found if _tags(one).get(kind[4:]) in rule["Values"]]
            elif kind == "tag-key":
                found = [one for one in found if set(_tags(one)) & set(rule["Values"])]
            else:
                raise invalid(f"Filter '{kind}' is not known")
        page, token = _page(found, params, 50)
        bare = params.get("IncludeInstances") is False
        return {"AutoScalingGroups": [self._told(group, bare=bare) for group in page], "NextToken": token}

    def _told(self, group: Group, *, bare: bool) -> Params:
        subnets = group.said["VPCZoneIdentifier"].split(",")
        zones = {self.compute.subnet(subnet.strip()).availability_zone for subnet in subnets}
        told: Params = {
            "DefaultCooldown": 300,
            "HealthCheckType": "EC2",
            "HealthCheckGracePeriod": 0,
            "NewInstancesProtectedFromScaleIn": False,
            "TerminationPolicies": ["Default"],
            **group.said,
            "AutoScalingGroupName": group.name,
            "AutoScalingGroupARN": group.arn,
            "AvailabilityZones": sorted(zones),
            "CreatedTime": group.created,
            "LoadBalancerNames": [],
            "TargetGroupARNs": [],
            "SuspendedProcesses": [
                {"ProcessName": name, "SuspensionReason": "User suspended"} for name in sorted(group.suspended)
            ],
            "EnabledMetrics": [],
            "Tags": group.tags,
            "Instances": [] if bare else [self._instance(life) for life in self.compute.members(group.name)],
        }
        if group.deleting:
            told["Status"] = "Delete in progress"
        return told

    def _instance(self, life: Life) -> Params:
        data: Params = {}
        if group := self.scaling.groups.get(life.group):
            named = group.said.get("LaunchTemplate") or group.said["MixedInstancesPolicy"]["LaunchTemplate"]
            data = named.get("LaunchTemplateSpecification", named)
        return {
            "InstanceId": life.id,
            "InstanceType": life.instance.instance_type,
            "AvailabilityZone": life.instance.placement.zone,
            "LifecycleState": self.lifecycle(life),
            "HealthStatus": "Healthy" if life.state in ("pending", "running") else "Unhealthy",
            "LaunchTemplate": {"Version": "1", **{k: v for k, v in data.items() if k.startswith("LaunchTemplate")}},
            "ProtectedFromScaleIn": False,
        }

    def lifecycle(self, life: Life) -> str:
        """An instance's state in the words of this service."""
        if life.leaving:
            return "Terminating:Wait" if life.held is not None else "Terminating"
        return "Pending" if life.state == "pending" else "InService"

    def describe_instances(self, params: Params) -> Params:
        asked = params.get("InstanceIds") or []
        found = [
            {**self._instance(life), "AutoScalingGroupName": life.group}
            for group in self.scaling.groups
            for life in self.compute.members(group)
            if not asked or life.id in asked
        ]
        page, token = _page(found, params, 50)
        return {"AutoScalingInstances": page, "NextToken": token}

    def limits(self, _: Params) -> Params:
        return {
            "MaxNumberOfAutoScalingGroups": 500,
            "MaxNumberOfLaunchConfigurations": 200,
            "NumberOfAutoScalingGroups": len(self.scaling.groups),
            "NumberOfLaunchConfigurations": 0,
        }

    def tag(self, params: Params) -> Params:
        for one in params["Tags"]:
            group = self.find(one["ResourceId"])
            group.tags = [tag for tag in group.tags if tag["Key"] != one["Key"]] + [_tag(one, group.name)]
        return {}

    def untag(self, params: Params) -> Params:
        for one in params["Tags"]:
            group = self.find(one["ResourceId"])
            group.tags = [tag for tag in group.tags if tag["Key"] != one["Key"]]
        return {}

    def describe_tags(self, params: Params) -> Params:
        found = [tag for group in self.scaling.groups.values() for tag in group.tags]
        fields = {"auto-scaling-group": "ResourceId", "key": "Key", "value": "Value"}
        for rule in params.get("Filters") or []:
            found = [tag for tag in found if tag[fields[rule["Name"]]] in rule["Values"]]
        page, token = _page(found, params, 50)
        return {"Tags": page, "NextToken": token}

    def suspend(self, params: Params) -> Params:
        self.find(params["AutoScalingGroupName"]).suspended |= set(params.get("ScalingProcesses") or _PROCESSES)
        return {}

    def resume(self, params: Params) -> Params:
        self.find(params["AutoScalingGroupName"]).suspended -= set(params.get("ScalingProcesses") or _PROCESSES)
        return {}


def _tag(one: Params, group: str) -> Params:
    return {
        "ResourceId": group,
        "ResourceType": "auto-scaling-group",
        "Key": one["Key"],
        "Value": one.get("Value", ""),
        "PropagateAtLaunch": bool(one.get("PropagateAtLaunch", False)),
    }


def _tags(group: Group) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in group.tags}


def _page(found: list[Any], params: Params, most: int) -> tuple[list[Any], str | None]:
    first = int(params.get("NextToken") or 0)
    last = first + min(int(params.get("MaxRecords") or most), most)
    return found[first:last], str(last) if last < len(found) else None


def _aware(moment: datetime | None) -> datetime | None:
    """In whole seconds, as the service keeps it."""
    if moment is None:
        return None
    return moment.replace(microsecond=0, tzinfo=moment.tzinfo or UTC)
