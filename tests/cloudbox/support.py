"""What tests of the cloudbox make in a cloud before they look at it."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.cloudbox.catalogue import ACCOUNT, REGION
from tests.cloudbox.cloud import Cloudbox
from tests.conftest import eventually

IMAGE = "ami-0a1b2c3d4e5f60001"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def code(do: Callable[[], object]) -> str:
    """The code with which a call is refused."""
    with pytest.raises(ClientError) as caught:
        do()
    return str(caught.value.response["Error"]["Code"])


def words(do: Callable[[], object]) -> str:
    """The message with which a call is refused."""
    with pytest.raises(ClientError) as caught:
        do()
    return str(caught.value.response["Error"]["Message"])


def patiently(do: Callable[[], Any], seconds: float = 5.0) -> Any:
    """Try until the cloud has heard of what was made before."""
    limit = time.monotonic() + seconds
    while True:
        try:
            return do()
        except ClientError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.05)


def role(cloud: Cloudbox, name: str, statements: list[dict[str, Any]]) -> str:
    """A role and an instance profile of one name."""
    iam = cloud.client("iam")
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))
    if statements:
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_role_policy(RoleName=name, PolicyName="task", PolicyDocument=policy)
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    return name


def machine_policy(bucket: str, prefix: str, group: str) -> list[dict[str, Any]]:
    """All that a task's machine needs."""
    objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
    groups = f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:*:autoScalingGroupName/{group}"
    return [
        {"Effect": "Allow", "Action": objects, "Resource": f"arn:aws:s3:::{bucket}/{prefix}/*"},
        {
            "Effect": "Allow",
            "Action": "s3:ListBucket",
            "Resource": f"arn:aws:s3:::{bucket}",
            "Condition": {"StringLike": {"s3:prefix": f"{prefix}/*"}},
        },
        {
            "Effect": "Allow",
            "Action": ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"],
            "Resource": groups,
        },
    ]


def template(cloud: Cloudbox, name: str = "task", script: str = "#!/bin/sh\n", **data: Any) -> str:
    """A launch template's id."""
    whole = {
        "ImageId": IMAGE,
        "InstanceType": "m5.large",
        "UserData": base64.b64encode(script.encode()).decode(),
        "InstanceInitiatedShutdownBehavior": "terminate",
        "MetadataOptions": {"HttpTokens": "required"},
        **data,
    }
    made = cloud.client("ec2").create_launch_template(LaunchTemplateName=name, LaunchTemplateData=whole)
    return str(made["LaunchTemplate"]["LaunchTemplateId"])


def subnets(cloud: Cloudbox) -> list[str]:
    """The default network's, by zone."""
    found = cloud.client("ec2").describe_subnets()["Subnets"]
    return [subnet["SubnetId"] for subnet in sorted(found, key=lambda subnet: str(subnet["AvailabilityZone"]))]


def group(cloud: Cloudbox, launch: str, name: str = "task", *, size: int = 1, **said: Any) -> None:
    """A group of spot machines of two types in all zones."""
    policy = {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": {"LaunchTemplateId": launch, "Version": "$Latest"},
            "Overrides": [{"InstanceType": "m5.large"}, {"InstanceType": "m6i.large"}],
        },
        "InstancesDistribution": {
            "OnDemandPercentageAboveBaseCapacity": 0,
            "SpotAllocationStrategy": "price-capacity-optimized",
        },
    }
    whole = {
        "AutoScalingGroupName": name,
        "MinSize": 0,
        "MaxSize": 4,
        "DesiredCapacity": size,
        "VPCZoneIdentifier": ",".join(subnets(cloud)),
        "MixedInstancesPolicy": policy,
        **said,
    }
    patiently(lambda: cloud.client("autoscaling").create_auto_scaling_group(**whole))


def script(cloud: Cloudbox, bucket: str, mark: str) -> str:
    """User data that puts a mark into a bucket and leaves a client behind."""
    text = (Path(__file__).parent / "on_machine.py").read_text()
    for name, value in {"ENDPOINT": cloud.url, "BUCKET": bucket, "MARK": mark}.items():
        text = text.replace(f"@{name}@", value)
    return text


def running(cloud: Cloudbox, name: str = "task") -> list[str]:
    """A group's instances that run."""
    return [seen.id for seen in cloud.machines(name) if seen.state == "running"]


def activities(scaling: Any, name: str = "task") -> list[dict[str, Any]]:
    """A group's, newest first."""
    found: list[dict[str, Any]] = scaling.describe_scaling_activities(AutoScalingGroupName=name)["Activities"]
    return found


def failure(scaling: Any) -> str:
    """The message of the newest failed activity, once there is one."""
    found: list[str] = []

    def look() -> bool:
        found[:] = [one["StatusMessage"] for one in activities(scaling) if one["StatusCode"] == "Failed"]
        return bool(found)

    eventually(look, 5)
    return found[0]


def on_demand(launch: str, **spread: Any) -> dict[str, Any]:
    """A policy of two types, none of them spot unless it is said."""
    return {
        "LaunchTemplate": {
            "LaunchTemplateSpecification": {"LaunchTemplateId": launch},
            "Overrides": [{"InstanceType": "m5.large"}, {"InstanceType": "m6i.large"}],
        },
        "InstancesDistribution": {"OnDemandPercentageAboveBaseCapacity": 100, **spread},
    }
