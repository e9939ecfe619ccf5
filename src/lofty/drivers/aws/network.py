"""Where in the region's networks machines are: in the default one, or in subnets that the person names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from ...errors import CloudError, SpecError
from .session import Clients, Gone, translated


class Network:
    """The network of a task. Looked at when it is needed, and once."""

    def __init__(self, clients: Clients, named: Sequence[str] = ()) -> None:
        self._clients, self._named = clients, tuple(named)

    def vpc(self) -> str:
        """Its number. A default one is never made silently."""
        if self._named:
            return str(self._given[0]["VpcId"])
        return self._default

    def subnets(self) -> list[str]:
        """As named; or one in each zone of the default network, so that one dry zone does not stop a launch."""
        if self._named:
            return [one["SubnetId"] for one in self._given]
        with translated("look at the subnets"):
            found = self._clients.ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [self.vpc()]}])["Subnets"]
        return sorted({one["AvailabilityZone"]: one["SubnetId"] for one in found}.values())

    def zones(self) -> set[str] | None:
        """Those that machines are held to; None for all."""
        return {one["AvailabilityZone"] for one in self._given} if self._named else None

    def public(self) -> bool:
        """Whether machines get an address of the internet: in a subnet of the person's own, as that one has it."""
        return all(one["MapPublicIpOnLaunch"] for one in self._given) if self._named else True

    @cached_property
    def _default(self) -> str:
        with translated("look at the networks"):
            asked = [{"Name": "is-default", "Values": ["true"]}]
            found = self._clients.ec2.describe_vpcs(Filters=asked)["Vpcs"]
        if not found:
            raise CloudError(
                f"{self._clients.region} has no default network for this account",
                hint="name a subnet of yours: --subnet ID; or aws ec2 create-default-vpc, or another --region",
            )
        return str(found[0]["VpcId"])

    @cached_property
    def _given(self) -> list[dict[str, Any]]:
        names, region = ", ".join(self._named), self._clients.region
        listed = f"aws ec2 describe-subnets --region {region}"
        try:
            with translated("look at the subnets"):
                found = self._clients.ec2.describe_subnets(SubnetIds=list(self._named))["Subnets"]
        except Gone as error:
            raise SpecError(f"{region} has no subnet {names}", hint=listed) from error
        if len({one["VpcId"] for one in found}) > 1:
            raise SpecError(f"{names} are of several networks", hint=f"name subnets of one: {listed}")
        return list(found)
