"""Instances: launched from pools that may be dry and within quotas, with states that last, backed by machines."""

from __future__ import annotations

import base64
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from moto.core.types import Base64EncodedString
from moto.ec2.models.instances import InstanceState, StateReason

from tests.cloudbox.account import Account
from tests.cloudbox.catalogue import QUOTAS, REGION, ROOT_GIB, architecture, bucket, types, vcpus, zones_of
from tests.cloudbox.credentials import Key
from tests.cloudbox.firewall import ruleset
from tests.cloudbox.launch import Launch, volumes
from tests.cloudbox.machines import Machine, Park
from tests.cloudbox.network import mac
from tests.cloudbox.protocol import Refused

_FREE = ("t3.micro", "t3.small", "t4g.micro", "t4g.small")
_CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}


@dataclass
class Life:
    """What is known of an instance beside what the API tells."""

    instance: Any
    market: str
    group: str = ""
    due: float = 0.0
    """When its state may change next."""
    machine: Machine | None = None
    dead: float | None = None
    """Since when its machine is gone without the cloud's doing."""
    reason: tuple[str, str] = ("Client.UserInitiatedShutdown", "User initiated shutdown")
    goal: str = "terminated"
    action: dict[str, str] | None = None
    """The interruption that was announced."""
    rebalance: str = ""
    """When it was recommended to move elsewhere."""
    leaving: bool = False
    """Its group is ending it."""
    held: float | None = None
    """Until when a hook of its group lets it stay."""
    console: str = ""
    key: Key | None = None

    @property
    def id(self) -> str:
        return str(self.instance.id)

    @property
    def state(self) -> str:
        return str(self.instance.state)


class Compute:
    """All instances of the account."""

    def __init__(self, account: Account, park: Park | None) -> None:
        self._account = account
        self._park = park
        self.lives: dict[str, Life] = {}
        self._public = itertools.count()
        self._later: list[tuple[float, Callable[[], None]]] = []

    # Launching

    def launch(self, wanted: Launch, group: str = "") -> Life:
        """An instance in `pending`, or the refusal that the service would give."""
        self.possible(wanted)
        subnet = self.subnet(wanted.subnet)
        self._capacity(wanted, subnet.availability_zone)
        ec2 = self._account.ec2
        public = bool(subnet.map_public_ip_on_launch) if wanted.public is None else wanted.public
        reservation = ec2.run_instances(
            wanted.image,
            1,
            Base64EncodedString(wanted.user_data) if wanted.user_data else None,
            [],
            instance_type=wanted.type,
            is_instance_type_default=False,
            region_name=REGION,
            subnet_id=subnet.id,
            security_group_ids=wanted.security_groups or [_default_group(ec2, subnet.vpc_id)],
            key_name=wanted.key or None,
            associate_public_ip=public,
            instance_initiated_shutdown_behavior=wanted.shutdown,
            metadata_options=wanted.metadata,
            block_device_mappings=volumes(wanted.volumes),
            tags={"instance": wanted.tags, "volume": wanted.volume_tags},
            client_token=wanted.token,
            placement=None,
        )
        instance = reservation.instances[0]
        instance.reservation = reservation
        if wanted.market == "spot":
            instance.lifecycle = "spot"
            instance.spot_instance_request_id = f"sir-{instance.id[-8:]}"
        instance.nics[0].delete_on_termination = True
        instance.nics[0].mac_address = mac(instance.private_ip)
        if instance.nics[0].public_ip:
            instance.nics[0].public_ip = self._public_address()
        if wanted.profile:
            profile = self._account.profile(wanted.profile)
            ec2.associate_iam_instance_profile(instance_id=instance.id, iam_instance_profile_name=profile.name)
        life = Life(instance, wanted.market, group, time.monotonic() + self._account.rules.pending)
        self.lives[instance.id] = life
        self._account.born(instance.id)
        self._account.born(reservation.id)
        _set(instance, "pending")
        return life

    def possible(self, wanted: Launch) -> None:
        """Whether everything named is there and fits together."""
        ec2, fresh = self._account.ec2, self._account.fresh
        image = ec2.amis.get(wanted.image)
        if image is None:
            raise Refused("InvalidAMIID.NotFound", f"The image id '[{wanted.image}]' does not exist")
        if wanted.type not in types():
            raise Refused("InvalidParameterValue", f"Invalid value '{wanted.type}' for InstanceType.")
        if image.architecture != architecture(wanted.type):
            raise Refused(
                "InvalidParameterValue",
                f"The architecture '{architecture(wanted.type)}' of the specified instance type does not match the "
                f"architecture '{image.architecture}' of the specified AMI.",
            )
        if wanted.key and (wanted.key not in ec2.key_pairs or fresh(wanted.key)):
            raise Refused("InvalidKeyPair.NotFound", f"The key pair '{wanted.key}' does not exist")
        for group in wanted.security_groups:
            if fresh(group) or ec2.get_security_group_from_id(group) is None:
                raise Refused("InvalidGroup.NotFound", f"The security group '{group}' does not exist")
        if wanted.profile and self._account.profile(wanted.profile) is None:
            kind = "arn" if wanted.profile.startswith("arn:") else "name"
            raise Refused(
                "InvalidParameterValue",
                f"Value ({wanted.profile}) for parameter iamInstanceProfile.{kind} is invalid. "
                f"Invalid IAM Instance Profile {kind}",
            )
        if len(base64.b64decode(wanted.user_data)) > self._account.rules.user_data_limit:
            limit = self._account.rules.user_data_limit
            raise Refused("InvalidParameterValue", f"User data is limited to {limit} bytes")
        sizes = [int(one.get("Ebs", {}).get("VolumeSize") or ROOT_GIB) for one in volumes(wanted.volumes)]
        if min(sizes) < ROOT_GIB:
            text = f"Volume of size {min(sizes)}GB is smaller than snapshot 'snap-0', expect size >= {ROOT_GIB}GB"
            raise Refused("InvalidBlockDeviceMapping", text)

    def subnet(self, identity: str) -> Any:
        """A subnet by id; the first of the default network when none is named."""
        subnets = {subnet.id: subnet for zone in self._account.ec2.subnets.values() for subnet in zone.values()}
        if not identity:
            default = sorted((one for one in subnets.values() if one.default_for_az), key=_zone)
            if not default:
                raise Refused("VPCIdNotSpecified", "No default VPC for this user")
            return default[0]
        if identity not in subnets:
            raise Refused("InvalidSubnetID.NotFound", f"The subnet ID '{identity}' does not exist")
        return subnets[identity]

    def _capacity(self, wanted: Launch, zone: str) -> None:
        rules = self._account.rules
        if zone not in zones_of(wanted.type):
            raise Refused(
                "Unsupported",
                f"Your requested instance type ({wanted.type}) is not supported in your requested Availability Zone "
                f"({zone}). Please retry your request by not specifying an Availability Zone or choosing "
                f"{', '.join(zones_of(wanted.type))}.",
            )
        if rules.free_plan and wanted.type not in _FREE:
            text = "The specified instance type is not eligible for Free Tier."
            raise Refused("InvalidParameterCombination", text)
        code, _ = QUOTAS[bucket(wanted.type), wanted.market]
        limit = rules.quotas[code]
        if self._used(code) + vcpus(wanted.type) > limit:
            if wanted.market == "spot":
                raise Refused("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
            raise Refused(
                "VcpuLimitExceeded",
                f"You have requested more vCPU capacity than your current vCPU limit of {limit} allows for the "
                "instance bucket that the specified instance type belongs to. Please visit "
                "http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.",
            )
        if rules.is_dry(wanted.type, zone, wanted.market):
            others = [other for other in zones_of(wanted.type) if other != zone]
            raise Refused(
                "InsufficientInstanceCapacity",
                f"We currently do not have sufficient {wanted.type} capacity in the Availability Zone you requested "
                f"({zone}). Our system will be working on provisioning additional capacity. You can currently get "
                f"{wanted.type} capacity by not specifying an Availability Zone in your request or choosing "
                f"{', '.join(others)}.",
                500,
            )

    def _used(self, code: str) -> int:
        alive = (life for life in self.lives.values() if life.state in ("pending", "running", "shutting-down"))
        mine = (one for one in alive if QUOTAS[bucket(one.instance.instance_type), one.market][0] == code)
        return sum(vcpus(one.instance.instance_type) for one in mine)

    def _public_address(self) -> str:
        """From the upper quarter of the network, where no subnet lies: on this network everything is private."""
        number = next(self._public) % 15000
        return f"172.31.{192 + number // 250}.{1 + number % 250}"

    # Ending

    def end(self, life: Life, reason: tuple[str, str] | None = None, goal: str = "terminated") -> None:
        """Terminate or stop: the power button first, the plug when that takes too long."""
        if life.state in ("terminated", "shutting-down") or (
            goal == "stopped" and life.state in ("stopping", "stopped")
        ):
            return
        life.reason = reason or life.reason
        life.goal = goal
        _set(life.instance, "shutting-down" if goal == "terminated" else "stopping")
        now = time.monotonic()
        life.due = now + self._account.rules.shutting_down
        if (machine := life.machine) and machine.alive:
            machine.press()
            self.later(self._account.rules.power_button, machine.cut)
            if machine.leader() is None:  # it is still being made
                machine.cut()

    def cut(self, life: Life) -> None:
        """The power fails: the machine is gone at once, and the cloud notices in a while."""
        if life.machine:
            life.machine.cut()
        life.dead = time.monotonic()

    def notice(self, life: Life, seconds: float) -> None:
        """Announce an interruption, and carry it out."""
        life.action = {"action": "terminate", "time": _moment(seconds)}
        self.later(seconds, lambda: self._interrupt(life))

    def _interrupt(self, life: Life) -> None:
        if life.machine:
            life.machine.cut()
        self.end(life, ("Server.SpotInstanceTermination", "Spot instance termination"))

    def rebalance(self, life: Life) -> None:
        """Recommend to move elsewhere."""
        life.rebalance = _moment(0)

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something from the cloud's own clock."""
        self._later.append((time.monotonic() + seconds, do))

    # Time

    def tick(self) -> None:
        """Let time pass; called ten times a second under the account's lock."""
        now = time.monotonic()
        due = [one for one in self._later if one[0] <= now]
        self._later = [one for one in self._later if one[0] > now]
        for _, do in due:
            do()
        for life in list(self.lives.values()):
            self._step(life, now)

    def _step(self, life: Life, now: float) -> None:
        rules = self._account.rules
        if life.state == "pending" and now >= life.due:
            _set(life.instance, "running")
            if self._park:
                self._boot(life)
        elif life.state == "running" and life.machine and life.machine.alive:
            life.machine.let_in(self._ruleset(life))
        if life.state in ("shutting-down", "stopping") and now >= life.due:
            if not (life.machine and life.machine.alive):
                self._finish(life)
        elif life.state == "running" and life.dead is not None and now >= life.dead + rules.failure_noticed:
            spot = ("Server.SpotInstanceTermination", "Spot instance termination")
            self.end(life, spot if life.market == "spot" else ("Server.InternalError", "Internal error"))

    def _ruleset(self, life: Life) -> str:
        everybody = [other.instance for other in self.lives.values() if other.state in ("pending", "running")]
        return ruleset(life.instance, everybody, enforced=self._account.rules.security_groups)

    def _boot(self, life: Life) -> None:
        assert self._park
        instance = life.instance
        addresses = [address for address in (instance.private_ip, instance.public_ip) if address]
        life.machine = Machine(self._park, life.id, addresses, lambda: self._ended(life))
        life.machine.let_in(self._ruleset(life))
        self._park.pool.submit(self._try_boot, life)

    def _try_boot(self, life: Life) -> None:
        assert life.machine
        try:
            life.machine.boot()
        except Exception as error:
            with self._account.lock:
                life.console = f"the machine could not be made: {error}"
                life.dead = time.monotonic()

    def _ended(self, life: Life) -> None:
        """It went down by itself."""
        with self._account.lock:
            goal = life.instance.instance_initiated_shutdown_behavior
            reason = ("Client.InstanceInitiatedShutdown", "Instance initiated shutdown")
            self.end(life, reason, "terminated" if goal == "terminate" else "stopped")

    def _finish(self, life: Life) -> None:
        instance = life.instance
        if life.machine:
            life.console = life.machine.console()
        life.machine = None
        (instance.terminate if life.goal == "terminated" else instance.stop)()
        _set(instance, life.goal)
        if life.goal == "terminated":
            self._account.ec2.tags.pop(instance.id, None)  # whoever looks by tag does not see the dead
        code, text = life.reason
        instance.state_reason = StateReason(f"{code}: {text}", code)
        instance._reason = f"{text} ({datetime.now(UTC):%Y-%m-%d %H:%M:%S} GMT)"

    def close(self) -> None:
        """Cut everything, and wait until it is gone."""
        machines = [life.machine for life in self.lives.values() if life.machine]
        for machine in machines:
            machine.cut()
        for machine in machines:
            machine.wait_gone(5)
        self.lives.clear()
        self._later.clear()

    # Finding

    def find(self, identity: str) -> Life:
        """By id, as the API refuses it."""
        if identity not in self.lives or self._account.fresh(identity):
            raise Refused("InvalidInstanceID.NotFound", f"The instance ID '{identity}' does not exist")
        return self.lives[identity]

    def at(self, address: str) -> Life | None:
        """Whose machine has this address."""
        for life in self.lives.values():
            if life.machine and address in life.machine.addresses:
                return life
        return None

    def members(self, group: str) -> Iterator[Life]:
        """A group's instances that are not gone."""
        return (life for life in self.lives.values() if life.group == group and life.state != "terminated")


def _default_group(ec2: Any, vpc: str) -> str:
    return str(ec2.get_default_security_group(vpc).id)


def _set(instance: Any, state: str) -> None:
    instance._state = InstanceState(state, _CODES[state])


def _zone(subnet: Any) -> str:
    return str(subnet.availability_zone)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(time.time() + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
