"""Everything that can be set about the cloud's behaviour, in one table. Strict by default; times are scaled down."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, NamedTuple


class Pool(NamedTuple):
    """Machines that run dry together, each part a shell pattern."""

    type: str = "*"
    zone: str = "*"
    market: str = "*"
    """`spot` or `on-demand`."""

    def covers(self, type: str, zone: str, market: str) -> bool:  # noqa: A002
        """Whether a machine would come from this pool."""
        return fnmatchcase(type, self.type) and fnmatchcase(zone, self.zone) and fnmatchcase(market, self.market)


def _quotas() -> dict[str, int]:
    return {
        "L-1216C47A": 256,
        "L-34B43A08": 256,
        "L-DB2E81BA": 64,
        "L-3819A6DF": 64,
        "L-417A185B": 192,
        "L-7212CCBC": 192,
    }


def _everything() -> list[dict[str, Any]]:
    return [{"Effect": "Allow", "Action": "*", "Resource": "*"}]


@dataclass
class Rules:
    """The switches. A test changes them on `cloud.rules` at any time; `cloud.reset()` puts the defaults back."""

    # Time, in seconds
    pending: float = 0.2
    """A new instance is `pending` for so long before its machine starts."""
    shutting_down: float = 0.2
    """A terminated instance is `shutting-down` at least so long."""
    power_button: float = 8.0
    """A machine told to go down has so long until its power is cut."""
    failure_noticed: float = 0.3
    """A dead machine is noticed after so long."""
    launch_delay: float = 0.2
    """A group has its desired size set and no instance for so long."""
    launch_retry: float = 0.5
    """A group that failed to launch tries again after so long."""
    group_delete: float = 0.5
    """A group deleted by force is still there for so long after its last instance."""
    scheduled_late: float = 0.0
    """A scheduled action runs so much after its time; on the real service up to two minutes."""
    invisible: float = 0.3
    """A new launch template, security group, key pair, instance or instance profile is not found, and a new policy of a
    role does not work, for so long."""
    role_credentials: float = 3600.0
    """Credentials of a role live so long; the metadata service hands out new ones before the end."""

    skew: float = 0.0
    """The cloud's clock is ahead of everybody else's by so much: more than five minutes, and nobody gets in."""

    # Refusals
    signatures: bool = True
    """Requests are signed by a key that was handed out, not expired, within the clock's tolerance."""
    policies: bool = True
    """Roles may do what their policies say, the person what `person` says."""
    strict_groups: bool = True
    """Sizes, names, types, strategies and templates of groups are checked."""
    security_groups: bool = True
    """A machine hears nothing that no rule of its security groups lets in."""
    deletable: bool = True
    """A security group that an instance uses, and a group that has instances, are not deleted."""
    client_tokens: bool = True
    """The same ClientToken gives the same thing."""
    user_data_limit: int = 16384
    """Bytes of user data before base64."""
    imds_v1: bool = True
    """Where tokens are not required, the metadata service answers without them, as the real one does."""
    missing_key_sees_prefix: bool = False
    """Whether a listing allowed by `s3:prefix` lets a missing key be 404: not known; 403 is safe."""

    # What there is
    person: list[dict[str, Any]] = field(default_factory=_everything)
    """Statements of the person's policy; also what SimulatePrincipalPolicy answers from."""
    dry: list[Pool] = field(default_factory=list)
    """Pools without a free machine."""
    failures: list[str] = field(default_factory=list)
    """Messages with which the next launches of groups fail, one for each, word for word."""
    quotas: dict[str, int] = field(default_factory=_quotas)
    """vCPUs by quota code."""
    free_plan: bool = False
    """The account may start only small types, and a dry run does not tell."""
    throttle: dict[str, int] = field(default_factory=dict)
    """How many calls of an operation, `ec2:DescribeInstances`, are refused as too many before one succeeds."""

    def is_dry(self, type: str, zone: str, market: str) -> bool:  # noqa: A002
        """Whether no such machine is to be had there."""
        return any(pool.covers(type, zone, market) for pool in self.dry)
