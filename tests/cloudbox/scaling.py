"""What groups do by themselves: launch from the best pool, heal, run scheduled actions, shrink, and go.

Everything is a plan that a clock works off, as on the real service: a call answers at once, and what it wants happens
later.
"""

from __future__ import annotations

import json
import time
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from tests.cloudbox.account import Account
from tests.cloudbox.catalogue import PRICES, spot_price
from tests.cloudbox.compute import Compute, Life
from tests.cloudbox.launch import Launch, wanted
from tests.cloudbox.protocol import Refused

Params = dict[str, Any]
OUT = "an instance was taken out of service in response to"
_TOO_LOW = "SpotMaxPriceTooLow"
"""Our own word: the real message has no code."""
_FAILED = "Launching EC2 instance failed."


def invalid(message: str) -> Refused:
    """This service's word for nearly everything."""
    return Refused("ValidationError", message)


@dataclass
class Group:
    """One group; `said` holds what the person asked for, in the API's words."""

    name: str
    said: Params
    arn: str
    tags: list[Params]
    created: datetime
    activities: list[Params] = field(default_factory=list)
    actions: dict[str, Params] = field(default_factory=dict)
    hooks: dict[str, Params] = field(default_factory=dict)
    suspended: set[str] = field(default_factory=set)
    deleting: bool = False
    empty_since: float | None = None
    try_at: float = 0.0
    """When the next launch may be tried."""
    cause: str = ""

    @property
    def desired(self) -> int:
        return int(self.said["DesiredCapacity"])


class Scaling:
    """All groups of the account, as the clock sees them."""

    def __init__(self, account: Account, compute: Compute) -> None:
        self.groups: dict[str, Group] = {}
        self.gone: list[Params] = []
        """What deleted groups did."""
        self._account, self.compute = account, compute

    def reset(self) -> None:
        """No groups."""
        self.groups.clear()
        self.gone.clear()

    def resize(self, group: Group, said: Params, cause: str) -> None:
        """What it is to be from now on, and why."""
        if said["DesiredCapacity"] != group.desired:
            group.cause = cause
            group.try_at = time.monotonic() + self._account.rules.launch_delay
        group.said = said

    def has_instances(self, group: Group) -> bool:
        """Whether any is not terminated yet."""
        return any(True for _ in self.compute.members(group.name))

    def living(self, group: Group) -> list[Life]:
        """Its instances, without those that it is ending."""
        return [life for life in self.compute.members(group.name) if not life.leaving]

    def data(self, said: Params) -> Params:
        """The launch template that a group or a request names, as the one who wrote it said it."""
        named = (
            said.get("LaunchTemplate") or said["MixedInstancesPolicy"]["LaunchTemplate"]["LaunchTemplateSpecification"]
        )
        templates = self._account.ec2.launch_templates
        for template in templates.values():
            if template.id == named.get("LaunchTemplateId") or template.name == named.get("LaunchTemplateName"):
                if self._account.fresh(template.id):
                    break
                try:
                    data = template.get_version(named.get("Version") or "$Default").data
                except Exception:
                    break
                plain = data.original_dict() if hasattr(data, "original_dict") else data
                return {"ImageId": "", **plain, "LaunchTemplate": {"LaunchTemplateId": template.id, **named}}
        which = named.get("LaunchTemplateId") or named.get("LaunchTemplateName")
        raise invalid(
            "You must use a valid fully-formed launch template. The specified launch template, with template ID "
            f"{which}, does not exist."
        )

    def launch_data(self, params: Params) -> Params:
        """What a request would launch, as far as its template is there: for whoever decides about permissions."""
        try:
            return {**self.data(params), **{key: value for key, value in params.items() if value}}
        except (Refused, KeyError):
            return params

    def choices(self, said: Params) -> list[Launch]:
        """One launch for each type, without a subnet."""
        data = self.data(said)
        if not (policy := said.get("MixedInstancesPolicy")):
            return [wanted(data)]
        found = []
        for override in policy["LaunchTemplate"].get("Overrides") or [{}]:
            own = override.get("LaunchTemplateSpecification")
            mine = self.data({"LaunchTemplate": own}) if own else data
            extra = {key: override[key] for key in ("InstanceType", "ImageId") if override.get(key)}
            if mine.get("InstanceMarketOptions"):
                raise invalid("Incompatible launch template: Spot options may not be used with MixedInstancesPolicy.")
            found.append(wanted({**mine, **extra}))
        return found

    def _market(self, group: Group) -> str:
        """Of the next instance: on demand up to the base, then by share."""
        policy = group.said.get("MixedInstancesPolicy")
        if not policy:
            return self.choices(group.said)[0].market
        spread = policy.get("InstancesDistribution") or {}
        base = int(spread.get("OnDemandBaseCapacity", 0))
        share = int(spread.get("OnDemandPercentageAboveBaseCapacity", 100))
        steady = sum(1 for life in self.living(group) if life.market == "on-demand")
        above = max(group.desired - base, 0)
        on_demand = min(base, group.desired) + -(-above * share // 100)
        return "on-demand" if steady < on_demand else "spot"

    def _pools(self, group: Group, market: str) -> list[Launch]:
        """Where the next instance may come from, the best first."""
        spread = (group.said.get("MixedInstancesPolicy") or {}).get("InstancesDistribution") or {}
        ceiling = float(spread["SpotMaxPrice"]) if spread.get("SpotMaxPrice") else None
        count = dict.fromkeys((one.strip() for one in group.said["VPCZoneIdentifier"].split(",")), 0)
        for life in self.living(group):
            count[life.instance.subnet_id] = count.get(life.instance.subnet_id, 0) + 1
        tags = {tag["Key"]: tag["Value"] for tag in group.tags if tag["PropagateAtLaunch"]}
        tags["aws:autoscaling:groupName"] = group.name
        tags["aws:ec2launchtemplate:id"] = self.data(group.said)["LaunchTemplate"]["LaunchTemplateId"]
        pools: list[tuple[float, Launch]] = []
        for rank, choice in enumerate(self.choices(group.said)):
            choice.tags = {**choice.tags, **tags}
            choice.max_price = ceiling if choice.max_price is None else choice.max_price
            for subnet in count:
                # On demand goes by the order of the list, then balances zones; spot goes by price.
                price = self._price(choice.type, subnet)
                order = price if market == "spot" else rank * 1000 + count[subnet]
                pools.append((order, replace(choice, subnet=subnet, market=market)))
        return [launch for _, launch in sorted(pools, key=lambda pool: pool[0])]

    def _price(self, type: str, subnet: str) -> float:  # noqa: A002
        zone = self.compute.subnet(subnet).availability_zone
        return spot_price(type, zone) or PRICES.get(type, 1.0)

    def _launch(self, group: Group) -> Life:
        """An instance from the best pool that has one; the refusal of the last when none has."""
        market = self._market(group)
        pools = self._pools(group, market)
        refusals: list[Refused] = []
        for launch in pools:
            price = self._price(launch.type, launch.subnet)
            try:
                if market == "spot" and launch.max_price is not None and launch.max_price < price:
                    raise Refused(
                        _TOO_LOW,
                        f"Your Spot request price of {launch.max_price:g} is lower than the minimum required Spot "
                        f"request fulfillment price of {price:g}.",
                    )
                return self.compute.launch(launch, group.name)
            except Refused as refused:
                refusals.append(refused)
        codes = {refused.code for refused in refusals if refused.code != "Unsupported"}
        if market == "spot" and codes == {"InsufficientInstanceCapacity"} and len(pools) > 1:
            raise Refused(
                "UnfulfillableCapacity",
                "Unable to fulfill capacity due to your request configuration. "
                "Please adjust your request and try again.",
            )
        # A zone that does not sell the type says less than any other refusal.
        raise next((refused for refused in reversed(refusals) if refused.code != "Unsupported"), refusals[-1])

    def tick(self) -> None:
        """Let time pass; called under the account's lock."""
        now = time.monotonic()
        for group in list(self.groups.values()):
            if not group.deleting:
                self._run_actions(group)
            self._heal(group)
            if group.deleting:
                self._vanish(group, now)
            else:
                self._fit(group, now)
            for life in list(self.compute.members(group.name)):
                if life.held is not None and (group.deleting or now >= life.held):
                    self.release(group, life.id)
            for activity in group.activities:
                self._complete(activity)

    def _run_actions(self, group: Group) -> None:
        if "ScheduledActions" in group.suspended:
            return
        late = self._account.rules.scheduled_late
        for name, action in list(group.actions.items()):
            if action["StartTime"].timestamp() + late > time.time():
                continue
            del group.actions[name]
            said: Params = {**group.said}
            said.update({key: action[key] for key in ("MinSize", "MaxSize") if key in action})
            said["DesiredCapacity"] = action.get("DesiredCapacity", group.desired)
            if not said["MinSize"] <= said["DesiredCapacity"] <= said["MaxSize"]:
                said["DesiredCapacity"] = min(max(said["DesiredCapacity"], said["MinSize"]), said["MaxSize"])
            self.resize(group, said, f"scheduled action {name} executed")

    def _heal(self, group: Group) -> None:
        for life in self.living(group):
            if life.state in ("pending", "running"):
                continue
            if {"HealthCheck", "ReplaceUnhealthy", "Terminate"} & group.suspended:
                continue
            self.end(group, life, f"{OUT} an EC2 health check indicating it has been terminated or stopped")

    def end(self, group: Group, life: Life, cause: str) -> None:
        """Terminate one, and say so among the activities."""
        life.leaving = True
        now = datetime.now(UTC)
        self.note(group, f"Terminating EC2 instance: {life.id}", f"At {now:%Y-%m-%dT%H:%M:%SZ} {cause}.", life)
        if group.hooks and not group.deleting and life.state == "running" and life.dead is None:
            life.held = time.monotonic() + max(hook["HeartbeatTimeout"] for hook in group.hooks.values())
        else:
            self.compute.end(life)

    def release(self, group: Group, instance: str = "") -> None:
        """Whoever a hook held may go: one, or all of the group."""
        for life in self.compute.members(group.name):
            if life.held is not None and instance in ("", life.id):
                life.held = None
                self.compute.end(life)

    def _fit(self, group: Group, now: float) -> None:
        living = self.living(group)
        staying = [life for life in living if not (group.said.get("CapacityRebalance") and life.rebalance)]
        ready = [life for life in staying if life.state == "running"]
        surplus = len(staying) - group.desired
        if surplus > 0 and "Terminate" not in group.suspended:
            for life in staying[:surplus]:
                self.end(group, life, f"{group.cause}, shrinking the capacity from {len(staying)} to {group.desired}")
        elif surplus < 0 and now >= group.try_at and "Launch" not in group.suspended:
            for _ in range(-surplus):
                if not self._grow(group, len(living)):
                    break
        if len(ready) >= group.desired:
            for life in living:
                if life not in staying and not life.leaving:
                    self.end(group, life, f"{OUT} an EC2 Spot rebalance")

    def _grow(self, group: Group, size: int) -> bool:
        now = datetime.now(UTC)
        why = (
            f"At {now:%Y-%m-%dT%H:%M:%SZ} {group.cause} changing the desired capacity from {size} to {group.desired}.  "
            f"At {now:%Y-%m-%dT%H:%M:%SZ} an instance was started in response to a difference between desired and "
            f"actual capacity, increasing the capacity from {size} to {group.desired}."
        )
        try:
            if self._account.rules.failures:
                raise Refused("", self._account.rules.failures.pop(0))
            life = self._launch(group)
        except Refused as refused:
            kind = {"spot": "Spot", "on-demand": "On-Demand"}[self._kind(group)]
            if not refused.code:
                text = refused.message
            elif refused.code == _TOO_LOW:
                text = f"{refused.message} {_FAILED}"
            else:
                text = f"Could not launch {kind} Instances. {refused.code} - {refused.message} {_FAILED}"
            note = self.note(group, f"Launching a new EC2 instance.  Status Reason: {text}", why)
            note.update(StatusCode="Failed", StatusMessage=text, Progress=100, EndTime=now)
            group.try_at = time.monotonic() + self._account.rules.launch_retry
            return False
        self.note(group, f"Launching a new EC2 instance: {life.id}", why, life)
        return True

    def _kind(self, group: Group) -> str:
        try:
            return self._market(group)
        except Refused:
            return "on-demand"

    def _vanish(self, group: Group, now: float) -> None:
        for life in self.living(group):
            self.end(group, life, "a user request force deleted AutoScalingGroup")
        if self.has_instances(group):
            group.empty_since = None
        elif group.empty_since is None:
            group.empty_since = now
        elif now >= group.empty_since + self._account.rules.group_delete:
            self.gone += group.activities
            del self.groups[group.name]

    def note(self, group: Group, description: str, cause: str, life: Life | None = None) -> Params:
        """A new activity, in progress."""
        details: Params = {}
        if life:
            details = {"Subnet ID": life.instance.subnet_id, "Availability Zone": life.instance.placement.zone}
        note = {
            "ActivityId": str(uuid.uuid4()),
            "AutoScalingGroupName": group.name,
            "AutoScalingGroupARN": group.arn,
            "Description": description,
            "Cause": cause,
            "StartTime": datetime.now(UTC),
            "StatusCode": "InProgress",
            "Progress": 50,
            "Details": json.dumps(details),
            "of": life.id if life else "",
        }
        group.activities.insert(0, note)
        return note

    def _complete(self, note: Params) -> None:
        life = self.compute.lives.get(note["of"])
        if note["StatusCode"] != "InProgress" or life is None:
            return
        launching = note["Description"].startswith("Launching")
        if (launching and life.state != "pending") or (not launching and life.state == "terminated"):
            note.update(StatusCode="Successful", Progress=100, EndTime=datetime.now(UTC))
