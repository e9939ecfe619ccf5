"""What the service looks at before it makes or changes a group."""

from __future__ import annotations

from tests.cloudbox.account import Account
from tests.cloudbox.catalogue import types
from tests.cloudbox.protocol import Refused
from tests.cloudbox.scaling import Params, Scaling, invalid

_SPOT_STRATEGIES = (
    "lowest-price",
    "capacity-optimized",
    "capacity-optimized-prioritized",
    "price-capacity-optimized",
)


class Checks:
    """Each raises what the service would answer."""

    def __init__(self, account: Account, scaling: Scaling) -> None:
        self._account, self._scaling = account, scaling

    def desired(self, said: Params, desired: int) -> None:
        """A size that is asked for by itself."""
        if not self._account.rules.strict_groups:
            return
        if desired > said["MaxSize"]:
            raise invalid(
                f"New SetDesiredCapacity value {desired} is above max value {said['MaxSize']} for the AutoScalingGroup."
            )
        if desired < said["MinSize"]:
            raise invalid(
                f"New SetDesiredCapacity value {desired} is below min value {said['MinSize']} for the AutoScalingGroup."
            )

    def name(self, name: str) -> None:
        """A new group's name."""
        if self._account.rules.strict_groups and (":" in name or not name.isascii() or not 0 < len(name) < 256):
            raise invalid(f"1 validation error detected: Value '{name}' at 'autoScalingGroupName' failed to satisfy")

    def said(self, said: Params) -> None:
        """What is known to be looked at before a group is made or changed."""
        if not self._account.rules.strict_groups:
            return
        low, high, desired = said["MinSize"], said["MaxSize"], said["DesiredCapacity"]
        if low > high:
            raise invalid(f"Max bound, {high}, must be greater than or equal to min bound, {low}")
        if not low <= desired <= high:
            raise invalid(
                f"Desired capacity:{desired} must be between the specified min size:{low} and max size:{high}"
            )
        if 0 < (said.get("MaxInstanceLifetime") or 0) < 86400:
            raise invalid("MaxInstanceLifetime must be 0 or at least 86400 seconds")
        policy = said.get("MixedInstancesPolicy")
        if bool(policy) == bool(said.get("LaunchTemplate")):
            raise invalid(
                "Valid requests must contain either LaunchTemplate, LaunchConfigurationName, InstanceId or "
                "MixedInstancesPolicy parameter."
            )
        if policy:
            self._policy(policy)
        for identity in said["VPCZoneIdentifier"].split(","):
            try:
                self._scaling.compute.subnet(identity.strip())
            except Refused as refused:
                raise invalid(f"The subnet ID '{identity}' does not exist") from refused
        for launch in self._scaling.choices(said):
            try:
                self._scaling.compute.possible(launch)
            except Refused as refused:
                raise invalid(f"You must use a valid fully-formed launch template. {refused.message}") from refused

    def _policy(self, policy: Params) -> None:
        spread = policy.get("InstancesDistribution") or {}
        overrides = policy["LaunchTemplate"].get("Overrides") or []
        if len(overrides) > 40:
            raise invalid("The number of overrides may not be more than 40.")
        if any("InstanceRequirements" in one for one in overrides):
            raise Refused("NotImplemented", "cloudbox launches named types only", 501)
        kinds = [one["InstanceType"] for one in overrides]
        if len(set(kinds)) != len(kinds):
            raise invalid("The instance types of overrides must be unique.")
        for kind in kinds:
            if kind not in types():
                raise invalid(f"The instance type {kind} is not valid. Please use a valid instance type.")
        strategy = spread.get("SpotAllocationStrategy", "lowest-price")
        if strategy not in _SPOT_STRATEGIES:
            raise invalid(f"Unsupported value '{strategy}' for SpotAllocationStrategy.")
        if "SpotInstancePools" in spread and strategy != "lowest-price":
            raise invalid("SpotInstancePools option is only available with the lowest-price allocation strategy.")
        if spread.get("OnDemandAllocationStrategy", "prioritized") not in ("prioritized", "lowest-price"):
            raise invalid("Unsupported value for OnDemandAllocationStrategy.")
        if not 0 <= int(spread.get("OnDemandPercentageAboveBaseCapacity", 100)) <= 100:
            raise invalid("OnDemandPercentageAboveBaseCapacity must be between 0 and 100.")
        price = spread.get("SpotMaxPrice")
        if price and not float(price) >= 0.001:
            raise invalid("SpotMaxPrice must be at least 0.001.")
