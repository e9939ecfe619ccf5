"""A request of Amazon's Query protocol, signed with a role's credentials, by the standard library alone. The machine
makes one in its life, its last; boto3 for that would be 2,000 files to unpack before its first second of work.

Signature Version 4: docs.aws.amazon.com, "Create a signed AWS API request".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit


class Credentials(NamedTuple):
    """Of a role, as the metadata service hands them out."""

    key: str
    secret: str
    token: str


class Request(NamedTuple):
    """A POST to `url`."""

    url: str
    headers: dict[str, str]
    body: bytes


def endpoint_of(service: str, region: str) -> str:
    """Where Amazon answers for a service in a region."""
    return f"https://{service}.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")


def query(
    service: str,
    region: str,
    words: Mapping[str, str],
    credentials: Credentials,
    *,
    endpoint: str = "",
    now: datetime | None = None,
) -> Request:
    """The action that `words` spell out, `Action` and `Version` among them."""
    endpoint, body = endpoint or endpoint_of(service, region), urlencode(words).encode()
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    headers = {
        "content-type": "application/x-www-form-urlencoded; charset=utf-8",
        "host": urlsplit(endpoint).netloc,
        "x-amz-date": stamp,
        "x-amz-security-token": credentials.token,
    }
    names, scope = ";".join(headers), f"{stamp[:8]}/{region}/{service}/aws4_request"
    lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
    canonical = "\n".join(("POST", "/", "", lines, names, hashlib.sha256(body).hexdigest()))
    text = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    secret = f"AWS4{credentials.secret}".encode()
    for part in (*scope.split("/"), text):
        secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
    said = f"Credential={credentials.key}/{scope}, SignedHeaders={names}, Signature={secret.hex()}"
    return Request(f"{endpoint}/", {**headers, "authorization": f"AWS4-HMAC-SHA256 {said}"}, body)
