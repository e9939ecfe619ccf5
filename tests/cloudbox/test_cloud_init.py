"""The lane with cloud-init itself, for what the fast one does not show: keys and scripts as real images take them."""

from __future__ import annotations

import base64

import pytest

from tests.cloudbox.cloud import Cloudbox
from tests.cloudbox.support import IMAGE
from tests.conftest import eventually

pytestmark = pytest.mark.cloudbox


def test_cloud_init_takes_key_and_script(machines_here: None) -> None:
    with Cloudbox(cloud_init=True) as cloud, cloud.inside():
        ec2 = cloud.client("ec2")
        ec2.create_key_pair(KeyName="task", KeyType="ed25519")
        cloud.rules.invisible = 0
        done = ec2.run_instances(
            ImageId=IMAGE,
            InstanceType="m5.large",
            MinCount=1,
            MaxCount=1,
            KeyName="task",
            UserData="#!/bin/sh\necho ran > /root/mark\n",
        )
        machine = cloud.machine(done["Instances"][0]["InstanceId"])

        def ready() -> bool:
            try:
                return machine.run("cat /root/mark; cat /home/ubuntu/.ssh/authorized_keys").startswith("ran")
            except RuntimeError:
                return False

        eventually(ready, 60)
        key = ec2.describe_key_pairs(KeyNames=["task"], IncludePublicKey=True)["KeyPairs"][0]["PublicKey"]
        kept = machine.run("cat /home/ubuntu/.ssh/authorized_keys").split()
        assert kept[1] == key.split()[1] and base64.b64decode(kept[1])
