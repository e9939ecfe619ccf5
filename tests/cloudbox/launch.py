"""From the API's fields, which requests and launch templates share, to one instance to be."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import Any

from moto.core.types import Base64EncodedString

from tests.cloudbox.catalogue import ROOT_DEVICE, ROOT_GIB
from tests.cloudbox.protocol import Refused


@dataclass
class Launch:
    """One instance to be: a launch template's data and what was said beside it, merged."""

    image: str
    type: str
    subnet: str
    market: str = "on-demand"
    max_price: float | None = None
    user_data: str = ""
    """As it is sent: in base64."""
    key: str = ""
    security_groups: list[str] = field(default_factory=list)
    public: bool | None = None
    profile: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    shutdown: str = "stop"
    volumes: list[dict[str, Any]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    volume_tags: dict[str, str] = field(default_factory=dict)
    token: str = ""


def merged(data: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """A template's data with what was said beside it; the latter wins, key by key."""
    return {**data, **{key: value for key, value in said.items() if value not in (None, [], {})}}


def wanted(data: dict[str, Any], subnet: str = "") -> Launch:
    """A launch from the API's fields, which RunInstances and launch templates share."""
    interface = (data.get("NetworkInterfaces") or [{}])[0]
    if interface and data.get("SecurityGroupIds"):
        raise Refused(
            "InvalidParameterCombination",
            "Network interfaces and an instance-level security groups may not be specified on the same request",
        )
    tags: dict[str, dict[str, str]] = {}
    for one in data.get("TagSpecifications") or []:
        tags.setdefault(one["ResourceType"], {}).update({tag["Key"]: tag["Value"] for tag in one["Tags"]})
    profile = data.get("IamInstanceProfile") or {}
    market = data.get("InstanceMarketOptions") or {}
    price = (market.get("SpotOptions") or {}).get("MaxPrice")
    encoded = data.get("UserData") or ""
    if isinstance(encoded, Base64EncodedString):
        encoded = str(encoded)
    elif isinstance(encoded, bytes):
        encoded = base64.b64encode(encoded).decode()
    return Launch(
        image=data.get("ImageId") or "",
        type=data.get("InstanceType") or "m1.small",
        subnet=subnet or interface.get("SubnetId") or data.get("SubnetId") or "",
        market="spot" if market.get("MarketType") == "spot" else "on-demand",
        max_price=float(price) if price else None,
        user_data=encoded,
        key=data.get("KeyName") or "",
        security_groups=list(interface.get("Groups") or data.get("SecurityGroupIds") or []),
        public=interface.get("AssociatePublicIpAddress"),
        profile=profile.get("Name") or profile.get("Arn") or "",
        metadata=dict(data.get("MetadataOptions") or {}),
        shutdown=data.get("InstanceInitiatedShutdownBehavior") or "stop",
        volumes=list(data.get("BlockDeviceMappings") or []),
        tags=tags.get("instance", {}),
        volume_tags=tags.get("volume", {}),
        token=data.get("ClientToken") or "",
    )


def volumes(asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The root disk always, others as asked; a wrong name of the root device adds a disk, as on the real service."""
    root: dict[str, Any] = {"VolumeSize": ROOT_GIB, "VolumeType": "gp3", "DeleteOnTermination": True}
    named = {one["DeviceName"]: dict(one.get("Ebs") or {}) for one in asked}
    devices = {ROOT_DEVICE: {**root, **named.pop(ROOT_DEVICE, {})}, **named}
    return [{"DeviceName": name, "Ebs": ebs} for name, ebs in devices.items()]
