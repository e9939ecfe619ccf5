"""Loaded by every Python process of the test suite, Jupyter and kernels included: none may leave this computer."""

import ipaddress
import os
import sys
from pathlib import Path

_LOG = os.environ.get("LT_GUARD_LOG", "")


def _allowed(host: object) -> bool:
    if not isinstance(host, str) or host in ("", "localhost"):
        return True  # wildcard, or a socket that has no host
    try:
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


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
