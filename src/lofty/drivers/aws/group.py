"""How many machines a task has, and which: its Auto Scaling group."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from ...errors import AccessError, CloudError, Conflict
from ...model.spec import TaskSpec
from .network import Network
from .patience import soon
from .place import Place
from .session import Clients, Exists, Gone, translated
from .tags import TASK, as_dict, as_list, with_record


class Group:
    """The Auto Scaling group: it replaces a lost machine, and the cloud itself ends it at the deadline. Made empty."""

    kind = "group"

    def __init__(self, clients: Clients, place: Place, task: TaskSpec, types: Sequence[str], network: Network) -> None:
        self._clients, self._task, self._types, self.name = clients, task, types, place.id
        self._network = network

    def read(self) -> bool:
        """Whether it exists."""
        found = describe_group(self._clients, self.name)
        return found is not None and self._is_ours(found)

    def _is_ours(self, found: dict[str, Any]) -> bool:
        """True; or an error: it is going, or was never lofty's."""
        if found.get("Status"):
            raise CloudError("the group of the same name is still being removed", retry_after=5)
        if as_dict(found["Tags"]).get(TASK) != self.name:
            raise Conflict(f"there is a group {self.name} that is not lofty's", hint="add --name OTHER")
        return True

    def create(self) -> None:
        """Make it, or find it made."""
        spot = self._task.need.spot
        tags = [{**tag, "PropagateAtLaunch": False} for tag in as_list(with_record(self._task))]
        try:
            with soon("make the group"):
                self._clients.autoscaling.create_auto_scaling_group(
                    AutoScalingGroupName=self.name,
                    MinSize=0,
                    MaxSize=0,
                    DesiredCapacity=0,
                    VPCZoneIdentifier=",".join(self._network.subnets()),
                    CapacityRebalance=spot,
                    Tags=tags,
                    MixedInstancesPolicy={
                        "LaunchTemplate": {
                            "LaunchTemplateSpecification": {"LaunchTemplateName": self.name, "Version": "$Latest"},
                            "Overrides": [{"InstanceType": one} for one in self._types],
                        },
                        "InstancesDistribution": {
                            "OnDemandBaseCapacity": 0,
                            "OnDemandPercentageAboveBaseCapacity": 0 if spot else 100,
                            "SpotAllocationStrategy": "price-capacity-optimized",
                            **_ceiling(self._task),
                        },
                    },
                )
        except Exists as error:
            found = describe_group(self._clients, self.name)
            if found is None:
                raise CloudError(str(error), retry_after=5) from error
            self._is_ours(found)

    def delete(self) -> None:
        """Remove it; what is gone already is no error."""
        delete_group(self._clients, self.name)


def _ceiling(task: TaskSpec) -> dict[str, str]:
    return {"SpotMaxPrice": str(task.need.max_price)} if task.need.spot and task.need.max_price else {}


def delete_group(clients: Clients, name: str) -> None:
    """With its machines; what is gone already is no error. Raises `CloudError` while it is still going."""
    try:
        with translated("remove the group"):
            clients.autoscaling.delete_auto_scaling_group(AutoScalingGroupName=name, ForceDelete=True)
    except Gone:
        return
    if describe_group(clients, name) is not None:
        raise CloudError(f"the group {name} is being removed", retry_after=2)


def describe_group(clients: Clients, name: str) -> dict[str, Any] | None:
    """The group as AWS sees it; None where there is none."""
    with translated("look at the group"):
        found = clients.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
    return found[0] if found else None


def public_addresses(clients: Clients, instances: Sequence[str]) -> dict[str, str]:
    """Of those that have one; none where it may not be asked."""
    if instances:
        with suppress(Gone, AccessError), translated("look at the machines"):
            found = clients.ec2.describe_instances(InstanceIds=list(instances))["Reservations"]
            every = [one for entry in found for one in entry["Instances"]]
            return {one["InstanceId"]: one["PublicIpAddress"] for one in every if one.get("PublicIpAddress")}
    return {}


def set_market(clients: Clients, group: dict[str, Any], *, on_demand: bool) -> bool:
    """Where the group's next machines come from; whether that is something new."""
    policy, name, share = group["MixedInstancesPolicy"], group["AutoScalingGroupName"], 100 if on_demand else 0
    spread = policy["InstancesDistribution"]
    if spread["OnDemandPercentageAboveBaseCapacity"] == share:
        return False
    # The template by its name alone: AWS tells its number too, and takes only one of the two.
    template = {"LaunchTemplateName": name, "Version": "$Latest"}
    overrides = [{"InstanceType": one["InstanceType"]} for one in policy["LaunchTemplate"]["Overrides"]]
    with translated("choose between spot and on demand"):
        clients.autoscaling.update_auto_scaling_group(
            AutoScalingGroupName=name,
            MixedInstancesPolicy={
                "LaunchTemplate": {"LaunchTemplateSpecification": template, "Overrides": overrides},
                "InstancesDistribution": {**spread, "OnDemandPercentageAboveBaseCapacity": share},
            },
        )
    return True
