"""How a task's machines are made: its launch template."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from ...boot.bundle import Arch, bundle
from ...errors import CloudError
from ...model.spec import TaskSpec
from . import images
from .door import SecurityGroup
from .images import Image
from .network import Network
from .patience import MOMENT, Fresh
from .place import Place
from .roles import Identity
from .session import Clients, Exists, Gone, translated
from .tags import as_list, tags_of
from .userdata import user_data

DISK_GB = 40
"""Of a machine whose disk nobody asked for; at least what its image needs."""


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


def has_template(clients: Clients, name: str) -> bool:
    """Whether there is a launch template of that name."""
    with suppress(Gone), translated("look at the launch template"):
        return bool(clients.ec2.describe_launch_templates(LaunchTemplateNames=[name])["LaunchTemplates"])
    return False


def delete_template(clients: Clients, name: str) -> None:
    """Raises `Gone` where there is none."""
    with translated("remove the launch template"):
        clients.ec2.delete_launch_template(LaunchTemplateName=name)
