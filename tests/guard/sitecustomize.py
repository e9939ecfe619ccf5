"""Loaded by every Python process of the test suite, Jupyter and kernels included: none may leave this computer."""

import ipaddress
import os
import sys
from pathlib import Path

_LOG = os.environ.get("LT_GUARD_LOG", "")
_CLOUD = ipaddress.ip_network("172.31.0.0/16")
"""The network of the cloudbox; never its metadata service, which only machines ask."""


def _in_cloud() -> bool:
    """Whether this thread is in the network namespace that the cloudbox made, where these addresses are its own."""
    try:
        return str(Path("/proc/thread-self/ns/net").readlink()) == os.environ.get("LT_GUARD_NETWORK")
    except OSError:
        return False


def _allowed(host: object) -> bool:
    if not isinstance(host, str) or host in ("", "localhost"):
        return True  # wildcard, or a socket that has no host
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or (address in _CLOUD and _in_cloud())


def _hook(event: str, arguments: tuple[object, ...]) -> None:
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
        host = host.decode() if isinstance(host, bytes) else host
    else:
        return
    if not _allowed(host):
        if _LOG:
            with Path(_LOG).open("a") as log:
                log.write(f"{event} {host} by {sys.argv[:2]}\n")
        raise PermissionError(f"the test suite may not reach {host}")


if _LOG:
    sys.addaudithook(_hook)
