"""What a task is made of on AWS, in the order of creation. Everything is named from the task's identifier and tagged
in the call that makes it, so that whoever comes later finds it, whatever happened in between."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from ...boot.bundle import Arch, bundle
from ...errors import AccessError, CloudError, Conflict, Forbidden, Stale, Unavailable
from ...model.spec import TaskSpec
from ...model.state import Handle
from ...store.base import Store
from ...store.records import Records
from . import images
from .images import Image
from .network import Network
from .patience import MOMENT, Fresh, soon
from .roles import Identity
from .session import Clients, Exists, Gone, translated
from .tags import TASK, as_dict, as_list, tags_of, with_record
from .userdata import user_data

RECORD = "task.json"
STATES = "states"
"""Prefix of what lists show of all tasks."""
DISK_GB = 40
"""Of a machine whose disk nobody asked for; at least what its image needs."""


class Place(NamedTuple):
    """Where a task's things are, as computed from its identifier."""

    bucket: str
    region: str
    account: str
    id: str

    @classmethod
    def of(cls, clients: Clients, task_id: str) -> Place:
        """In the region of these clients."""
        region, account = clients.region, clients.account
        return cls(f"lofty-{account}-{region}", region, account, task_id)

    @classmethod
    def at(cls, handle: Handle) -> Place:
        """Of a task that is known, without asking whose the account is."""
        bucket = handle.store.split("/")[2]
        return cls(bucket, handle.region, bucket.split("-")[1], handle.id)

    @property
    def prefix(self) -> str:
        """Within the bucket."""
        return f"tasks/{self.id}"

    @property
    def store(self) -> str:
        """The store's URL."""
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def shown(self) -> str:
        """Within the bucket: the leases, and what lists show (see `lofty.store.states`)."""
        return f"{STATES}/{self.id}"

    @property
    def states(self) -> str:
        """The URL of that."""
        return f"s3://{self.bucket}/{self.shown}"

    @property
    def role(self) -> str:
        """Of the role and its profile. Those are the account's, not a region's: the last four digits are the
        region's."""
        return f"{self.id}-{region_code(self.region)}"

    @property
    def agent(self) -> str:
        """The key of the bundle that the machines fetch."""
        return f"{self.prefix}/agent/bundle.tgz"


def region_code(region: str) -> str:
    """Four digits for a region."""
    return sha256(region.encode()).hexdigest()[:4]


class Bucket:
    """The account's bucket for lofty in one region. It stays when the last task has gone: in it lies the agent, which
    the next task need not send again."""

    kind = "bucket"

    def __init__(self, clients: Clients, name: str) -> None:
        self._clients, self.name = clients, name

    def read(self) -> bool:
        """Whether it exists."""
        try:
            with translated("look at the bucket"):
                self._clients.s3.head_bucket(Bucket=self.name)
        except Gone:
            return False
        return True

    def create(self) -> None:
        """Make it, or find it made."""
        more: dict[str, Any] = {}
        if self._clients.region != "us-east-1":  # the one region that must not be named
            more["CreateBucketConfiguration"] = {"LocationConstraint": self._clients.region}
        try:
            with translated("make the bucket"):
                self._clients.s3.create_bucket(Bucket=self.name, **more)
        except Exists:
            if not self.read():
                raise

    def delete(self) -> None:
        """Nothing: `lofty sweep` removes it with the agents in it, once no task is left."""


class EmptyBucket(Bucket):
    """The same when no task is in it."""

    def delete(self) -> None:
        """With the agents. A task that begins meanwhile has its record in it already, and a bucket that is not empty
        cannot be deleted; or it finds no bucket, and its `create` fails and leaves nothing."""
        Store(f"s3://{self.name}/agents").clear()
        with suppress(Gone), translated("remove the bucket"):
            self._clients.s3.delete_bucket(Bucket=self.name)


class TaskStore:
    """The task's prefixes; `task.json` is what makes it a task."""

    kind = "store"

    def __init__(self, clients: Clients, place: Place, task: TaskSpec) -> None:
        self._clients, self._place, self.name, self._task = clients, place, place.store, task

    def read(self) -> bool:
        """Whether it exists."""
        return Records(Store(self.name)).spec() is not None

    def create(self) -> None:
        """Make it, or find it made."""
        records = Records(Store(self.name))
        try:
            records.create_spec(self._task)
        except Stale:
            if records.spec() != self._task:
                raise

    def delete(self) -> None:
        """The record last: as long as anything is there, it says whose."""
        try:
            self._abort_uploads()
        except Gone:
            return  # the whole bucket is
        Store(self._place.states).clear()
        store = Store(self.name)
        store.delete([entry.key for entry in store.entries() if entry.key != RECORD])
        store.delete([RECORD])

    def _abort_uploads(self) -> None:
        """Parts of large files whose sender died on the way: no listing shows them, and they are paid for."""
        s3, bucket = self._clients.s3, self._place.bucket
        with suppress(Forbidden), translated("look for unfinished uploads"):
            pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=f"{self._place.prefix}/")
            for page in pages:
                for one in page.get("Uploads", ()):
                    with suppress(Gone), translated("end an unfinished upload"):
                        s3.abort_multipart_upload(Bucket=bucket, Key=one["Key"], UploadId=one["UploadId"])


class Agent:
    """The bundle, in the task's prefix, where its machines may read it. It is sent once for each version of lofty, and
    copied within the bucket from then on."""

    kind = "agent"

    def __init__(self, clients: Clients, place: Place, cache: Path, arch: Arch) -> None:
        self._clients, self._place, self._cache, self._arch = clients, place, cache, arch
        self.name = f"s3://{place.bucket}/{place.agent}"

    def read(self) -> bool:
        """Whether it exists."""
        return self._has(self._place.agent)

    def _has(self, key: str) -> bool:
        try:
            with translated("look at the agent"):
                self._clients.s3.head_object(Bucket=self._place.bucket, Key=key)
        except Gone:
            return False
        return True

    def create(self) -> None:
        """Make it, or find it made."""
        made = bundle(self._cache, self._arch)
        shared, bucket = f"agents/{made.name}", self._place.bucket
        if not self._has(shared):
            Store(f"s3://{bucket}").put(shared, made.read_bytes())
        with translated("copy the agent"):
            self._clients.s3.copy_object(
                Bucket=bucket, Key=self._place.agent, CopySource={"Bucket": bucket, "Key": shared}
            )

    def delete(self) -> None:
        """With the prefix that it lies in."""


class SecurityGroup:
    """The machines' door: closed. `reach` opens port 22 to the address that asks; machines of one task reach each
    other. One that is `shut` lets nothing in at all, ever."""

    kind = "security group"

    def __init__(
        self, clients: Clients, name: str, tags: dict[str, str], network: Network | None = None, *, shut: bool = False
    ) -> None:
        self._clients, self.name, self._tags, self._shut = clients, name, tags, shut
        self._network = network or Network(clients)
        self._made: str | None = None
        """Its number, where this process made it: a look may miss it for some seconds."""
        self._fresh = Fresh()

    def id(self) -> str | None:
        """As EC2 numbers it; None where there is none."""
        return next((one["GroupId"] for one in self._look()), self._made)

    def read(self) -> bool:
        """Whether it exists, with the rule that it is made with: whoever made it may have died before that."""
        return any(self._shut or _knows_itself(one) for one in self._look())

    def _look(self) -> list[dict[str, Any]]:
        with translated("look at the security group"):
            found = self._clients.ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [self.name]}])
        return list(found["SecurityGroups"])

    def create(self) -> None:
        """Make it, or find it made."""
        ec2 = self._clients.ec2
        with suppress(Exists), translated("make the security group"):
            self._made = ec2.create_security_group(
                GroupName=self.name,
                Description="lofty: machines of one task",
                VpcId=self._network.vpc(),
                TagSpecifications=[{"ResourceType": "security-group", "Tags": as_list(self._tags)}],
            )["GroupId"]
        self._fresh.made()
        made = self.id()
        if self._shut:
            return
        if made is None:  # an earlier try made it, and its answer was lost
            raise Unavailable("the security group is not to be seen yet", retry_after=MOMENT)
        with suppress(Exists), soon("let machines of the task reach each other"):
            ec2.authorize_security_group_ingress(
                GroupId=made, IpPermissions=[{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": made}]}]
            )

    def let_in(self, address: str) -> None:
        """Port 22 for this address, and for no other any more."""
        for group in self._look():
            open_now = {
                one["CidrIp"]
                for rule in group["IpPermissions"]
                if rule.get("FromPort") == 22
                for one in rule["IpRanges"]
            }
            for cidr in open_now - {f"{address}/32"}:
                with suppress(Gone), translated("close port 22"):
                    self._clients.ec2.revoke_security_group_ingress(
                        GroupId=group["GroupId"], IpPermissions=[_ssh(cidr)]
                    )
            if f"{address}/32" not in open_now:
                with suppress(Exists), translated("open port 22"):
                    self._clients.ec2.authorize_security_group_ingress(
                        GroupId=group["GroupId"], IpPermissions=[_ssh(f"{address}/32")]
                    )

    def delete(self) -> None:
        """Remove it; what is gone already is no error."""
        with self._fresh.believed(), translated("remove the security group"):
            made = self.id()
            if made is None:
                raise Gone(f"there is no security group {self.name}")
            self._clients.ec2.delete_security_group(GroupId=made)


def _knows_itself(group: dict[str, Any]) -> bool:
    return any(
        pair.get("GroupId") == group["GroupId"] for rule in group["IpPermissions"] for pair in rule["UserIdGroupPairs"]
    )


def _ssh(cidr: str) -> dict[str, Any]:
    return {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": cidr}]}


class Template:
    """How a machine of the task is made."""

    kind = "launch template"

    def __init__(
        self,
        clients: Clients,
        place: Place,
        task: TaskSpec,
        arch: Arch,
        types: Sequence[str],
        cache: Path,
        identity: Identity,
        network: Network,
        *,
        gpu: bool,
    ) -> None:
        self._clients, self._place, self._task, self._cache = clients, place, task, cache
        self._identity, self._network = identity, network
        self._arch, self._types, self._gpu, self.name = arch, types, gpu, place.id
        self._fresh = Fresh()

    def read(self) -> bool:
        """Whether it exists."""
        return has_template(self._clients, self.name)

    def create(self) -> None:
        """Make it, or find it made."""
        image = images.resolve(self._clients, self._task.need.image, gpu=self._gpu, arch=self._arch)
        group = SecurityGroup(self._clients, self._place.id, {}).id()
        if group is None:
            raise CloudError("the security group is not to be seen yet", retry_after=MOMENT)
        tags = as_list(tags_of(self._task))
        data = {
            "ImageId": image.id,
            "InstanceType": self._types[0],
            "IamInstanceProfile": self._identity.profile,
            "UserData": base64.b64encode(self._user_data(image).encode()).decode(),
            "InstanceInitiatedShutdownBehavior": "terminate",
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1, "HttpEndpoint": "enabled"},
            "NetworkInterfaces": [
                {
                    "DeviceIndex": 0,
                    "AssociatePublicIpAddress": self._network.public(),
                    "Groups": [group],
                    "DeleteOnTermination": True,
                }
            ],
            "BlockDeviceMappings": [
                {
                    "DeviceName": image.root_device,
                    "Ebs": {
                        "VolumeType": "gp3",
                        "VolumeSize": int(max(self._task.need.disk or DISK_GB, image.root_gb)),
                        "Encrypted": True,
                        "DeleteOnTermination": True,
                    },
                }
            ],
            "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")],
        }
        with suppress(Exists), translated("make the launch template"):
            self._clients.ec2.create_launch_template(
                LaunchTemplateName=self.name,
                LaunchTemplateData=data,
                ClientToken=sha256(f"{self.name}{self._task.created}".encode()).hexdigest()[:32],
                TagSpecifications=[{"ResourceType": "launch-template", "Tags": [*tags, *as_list(self._identity.mark)]}],
            )
        self._fresh.made()

    def _user_data(self, image: Image) -> str:
        made, place = bundle(self._cache, self._arch), self._place
        return user_data(
            {
                "region": place.region,
                "endpoint": self._clients.endpoint,
                "bucket": place.bucket,
                "agent": place.agent,
                "sha256": sha256(made.read_bytes()).hexdigest(),
                "store": place.store,
                "states": place.states,
                "task": place.id,
                "name": self._task.name,
                "user": "root" if self._task.root else image.user,
                "index": self._task.index,
            }
        )

    def delete(self) -> None:
        """Remove it; what is gone already is no error."""
        with self._fresh.believed():
            delete_template(self._clients, self.name)


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


def has_template(clients: Clients, name: str) -> bool:
    """Whether there is a launch template of that name."""
    with suppress(Gone), translated("look at the launch template"):
        return bool(clients.ec2.describe_launch_templates(LaunchTemplateNames=[name])["LaunchTemplates"])
    return False


def delete_template(clients: Clients, name: str) -> None:
    """Raises `Gone` where there is none."""
    with translated("remove the launch template"):
        clients.ec2.delete_launch_template(LaunchTemplateName=name)


def delete_group(clients: Clients, name: str) -> None:
    """With its machines; what is gone already is no error. Raises `CloudError` while it is still going."""
    try:
        with translated("remove the group"):
            clients.autoscaling.delete_auto_scaling_group(AutoScalingGroupName=name, ForceDelete=True)
    except Gone:
        return
    if describe_group(clients, name) is not None:
        raise CloudError(f"the group {name} is being removed", retry_after=2)


def _ceiling(task: TaskSpec) -> dict[str, str]:
    return {"SpotMaxPrice": str(task.need.max_price)} if task.need.spot and task.need.max_price else {}


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
