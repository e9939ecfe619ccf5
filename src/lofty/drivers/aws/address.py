"""The address under which this computer is seen from AWS."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlsplit
from urllib.request import urlopen

from ...errors import CloudError

SAYS = "https://checkip.amazonaws.com"
"""Amazon's own service for that question."""


def mine(endpoint: str) -> str:
    """As text. `endpoint`: the API's address where it is not Amazon's; then it is the one that packets to it leave
    from. Raises `CloudError` where that cannot be told."""
    try:
        if endpoint:
            return towards(urlsplit(endpoint).hostname or "")
        with urlopen(SAYS, timeout=10) as answer:
            return str(ipaddress.IPv4Address(answer.read(64).decode().strip()))
    except (OSError, ValueError) as error:
        raise CloudError(
            f"this computer's own address cannot be told: {error}", hint="try again, or use --tunnel", retry_after=2
        ) from error


def towards(host: str) -> str:
    """The address that packets to a host leave from; none is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 80))
        return str(probe.getsockname()[0])
