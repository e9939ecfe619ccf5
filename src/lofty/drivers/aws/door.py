"""Who may reach a task's machines: its security group."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ...errors import Unavailable
from .network import Network
from .patience import MOMENT, Fresh, soon
from .session import Clients, Exists, Gone, translated
from .tags import as_list


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
