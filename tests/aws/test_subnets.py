"""Machines in a network of the person's own."""

from __future__ import annotations

from typing import Any

import pytest

from lofty.drivers.aws import driver as aws
from lofty.errors import CloudError, SpecError
from tests.aws.account import Account, agent_says
from tests.conftest import eventually


def network(account: Account, *, public: bool, zone: str = "us-east-1a") -> tuple[str, str]:
    """A new one: its number and its subnet's."""
    ec2 = account.cloud.account.ec2  # as an administrator made it: nothing of ours makes networks
    vpc = ec2.create_vpc("10.9.0.0/16").id
    subnet = ec2.create_subnet(vpc, "10.9.1.0/24", availability_zone=zone).id
    ec2.modify_subnet_attribute(subnet, "map_public_ip_on_launch", str(public).lower())
    return str(vpc), str(subnet)


def interface(account: Account, name: str) -> dict[str, Any]:
    found = account.cloud.client("ec2").describe_launch_template_versions(LaunchTemplateName=name, Versions=["$Latest"])
    return dict(found["LaunchTemplateVersions"][0]["LaunchTemplateData"]["NetworkInterfaces"][0])


@pytest.mark.parametrize("public", [True, False])
def test_all_of_a_task_is_in_the_network_that_was_named(
    account: Account, public: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    vpc, subnet = network(account, public=public)
    client = account.computer()
    task = account.lab(client, subnet=(subnet,))
    ec2, scaling = account.cloud.client("ec2"), account.cloud.client("autoscaling")
    (group,) = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[task.handle.id])["AutoScalingGroups"]
    assert group["VPCZoneIdentifier"] == subnet
    (door,) = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [task.handle.id]}])[
        "SecurityGroups"
    ]
    assert door["VpcId"] == vpc
    assert interface(account, task.handle.id)["AssociatePublicIpAddress"] is public
    eventually(lambda: [one for one in account.cloud.machines(task.handle.id) if one.state == "running"], 10)
    (machine,) = account.cloud.machines(task.handle.id)
    assert machine.zone == "us-east-1a"
    agent_says(task, "0001.0", state="running", holder=machine.id, host_key="ssh-ed25519 AAAA", user="ubuntu")
    monkeypatch.setattr(aws, "mine", lambda _: "198.51.100.7")
    monkeypatch.setattr(aws, "towards", lambda host: {machine.private: "10.8.0.2"}[host])
    end = client.driver("aws").reach(task.handle, 8888)
    assert end.host == (machine.public if public else machine.private)
    found = ec2.describe_security_groups(GroupIds=[door["GroupId"]])["SecurityGroups"][0]
    opened = [one["CidrIp"] for rule in found["IpPermissions"] for one in rule["IpRanges"]]
    assert opened == ["198.51.100.7/32" if public else "10.8.0.2/32"]
    account.computer().get("one").down(discard=True)
    assert account.leftovers() == []


def test_a_wrong_subnet_makes_nothing(account: Account) -> None:
    (_, mine), (_, other) = network(account, public=True), network(account, public=True)
    for named, says in (
        (("subnet-0123456789abcdef0",), "has no subnet subnet-0123456789abcdef0"),
        ((mine, other), "of several networks"),
    ):
        with pytest.raises(SpecError, match=says) as caught:
            account.lab(subnet=named)
        assert "describe-subnets" in (caught.value.hint or "")
    assert account.leftovers() == []


def test_without_a_default_network_the_option_is_named(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lofty.drivers.aws.network.Network._default", property(_none))
    with pytest.raises(CloudError) as caught:
        account.lab()
    assert caught.value.hint == "--subnet ID"
    assert account.leftovers() == []


def _none(_: object) -> str:
    raise CloudError("no default network", hint="--subnet ID")
