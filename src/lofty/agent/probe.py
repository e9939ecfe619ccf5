"""Asking a server on this machine, never for longer than a moment."""

from __future__ import annotations

import http.client


def fetch(port: int, path: str, token: str, timeout: float = 2.0) -> bytes | None:
    """The body when it answers 200; None for any other answer, or none. A hung server must not hang the asker."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"Authorization": f"token {token}"})
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return body if answer.status == 200 else None
