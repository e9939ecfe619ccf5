"""Ports of this computer's loopback address."""

from __future__ import annotations

import hashlib
import socket

from ..errors import LoftyError

FIRST, LAST = 20_000, 30_000
"""Below the range that systems hand out for outgoing connections (from 32,768), so that the port of a workspace that
rests is still free when it starts again."""


def is_free(port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port(seed: str) -> int:
    """A free port, the same for the same seed as long as nobody takes it: bookmarks live longer that way."""
    start = int(hashlib.sha256(seed.encode()).hexdigest(), 16) % (LAST - FIRST)
    for step in range(LAST - FIRST):
        port = FIRST + (start + step * 7) % (LAST - FIRST)
        if is_free(port):
            return port
    raise LoftyError(f"no free port between {FIRST} and {LAST}", hint="name one with --port")


def holder(port: int) -> str:
    """Who listens there, for a person: `python3 (process 1234)`; empty where the system does not tell."""
    import psutil

    try:
        for connection in psutil.net_connections(kind="tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except (psutil.Error, OSError, ValueError):
        return ""
    return ""


def post(host: str, port: int, path: str, token: str, timeout: float = 2.0) -> bool:
    """Send an empty request to a workspace; whether it was taken."""
    import http.client

    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("POST", path, headers={"Authorization": f"token {token}", "Content-Length": "0"})
        return connection.getresponse().status < 300
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
