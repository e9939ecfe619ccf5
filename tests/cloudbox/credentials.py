"""Keys that the cloud handed out, and whether a request was signed with one of them (AWS Signature Version 4)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import parse_qsl, quote

from tests.cloudbox.catalogue import ACCOUNT
from tests.cloudbox.protocol import Refused

_TOLERANCE = 300
_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class Key:
    """A pair of keys and whom it stands for."""

    id: str
    secret: str
    arn: str
    role: str = ""
    """The role's name; a person has none."""
    session: str = ""
    """The token that must come along; a person has none."""
    expires: float = float("inf")


@dataclass(frozen=True)
class Signed:
    """What a request says about itself, before anything of it is believed."""

    method: str
    path: str
    """As it was sent, still encoded."""
    query: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def presigned(self) -> dict[str, str]:
        """The signature in the address, if it is there."""
        words = dict(parse_qsl(self.query, keep_blank_values=True))
        return words if "X-Amz-Signature" in words else {}

    @property
    def scope(self) -> list[str]:
        """Key, day, region, service; empty for a request that nobody signed."""
        found = re.search(r"Credential=([^,\s]+)", self.headers.get("authorization", ""))
        whole = found.group(1) if found else self.presigned.get("X-Amz-Credential", "")
        return whole.split("/")[:4] if whole.count("/") == 4 else []


class Keys:
    """All keys of the account."""

    def __init__(self) -> None:
        self._keys: dict[str, Key] = {}

    def person(self) -> Key:
        """A key for a person, for as long as the cloud is there."""
        return self._add(Key(_name("AKIA"), secrets.token_urlsafe(30), f"arn:aws:iam::{ACCOUNT}:user/ada"))

    def session(self, seconds: float) -> Key:
        """A key for a person that ends, as a login in a browser gives."""
        arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/AWSReservedSSO_Science/ada"
        token = secrets.token_urlsafe(60)
        return self._add(Key(_name("ASIA"), secrets.token_urlsafe(30), arn, "", token, time.time() + seconds))

    def role(self, role: str, instance: str, seconds: float) -> Key:
        """A key for a machine."""
        return self._add(
            Key(
                _name("ASIA"),
                secrets.token_urlsafe(30),
                f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{instance}",
                role,
                secrets.token_urlsafe(60),
                time.time() + seconds,
            )
        )

    def forget(self, identity: str) -> None:
        """Take a key back: whoever has it is a stranger from now on."""
        self._keys.pop(identity, None)

    def _add(self, key: Key) -> Key:
        self._keys[key.id] = key
        return key

    def check(self, signed: Signed, service: str, *, signatures: bool, skew: float = 0.0) -> Key:
        """Who asks; refused as the service would when that cannot be told."""
        if not signed.scope:
            raise (
                Refused("AccessDenied", "Access Denied", 403)
                if service == "s3"
                else Refused("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
            )
        key = self._keys.get(signed.scope[0])
        if key is None:
            raise _unknown(service)
        presigned = signed.presigned
        token = presigned.get("X-Amz-Security-Token") if presigned else signed.headers.get("x-amz-security-token")
        if (token or "") != key.session:
            raise (
                Refused("InvalidToken", "The provided token is malformed or otherwise invalid.")
                if (service == "s3")
                else _unknown(service)
            )
        if key.expires <= time.time():
            raise _expired(service)
        if signatures:
            self._verify(signed, key, service, time.time() + skew)
        return key

    def _verify(self, signed: Signed, key: Key, service: str, now: float) -> None:
        presigned = signed.presigned
        if presigned:
            names, signature = presigned["X-Amz-SignedHeaders"], presigned["X-Amz-Signature"]
            moment = presigned["X-Amz-Date"]
            if _time(moment) + int(presigned["X-Amz-Expires"]) < now:
                raise Refused("AccessDenied", "Request has expired", 403)
        else:
            found = re.search(r"SignedHeaders=([^,\s]+),\s*Signature=(\w+)", signed.headers["authorization"])
            if not found:
                raise Refused("IncompleteSignature", "The request signature does not conform to AWS standards.")
            names, signature = found.groups()
            moment = signed.headers.get("x-amz-date", "")
            if abs(_time(moment) - now) > _TOLERANCE:
                raise _skewed(service)
        if not hmac.compare_digest(signature, self._signature(signed, key, names, moment)):
            text = "The request signature we calculated does not match the signature you provided."
            raise _unknown(service) if service == "ec2" else Refused("SignatureDoesNotMatch", text, 403)

    def _signature(self, signed: Signed, key: Key, names: str, moment: str) -> str:
        _, day, region, service = signed.scope
        query = sorted(
            (_encode(name), _encode(value))
            for name, value in parse_qsl(signed.query, keep_blank_values=True)
            if name != "X-Amz-Signature"
        )
        if signed.presigned:
            payload = "UNSIGNED-PAYLOAD"
        else:
            payload = signed.headers.get("x-amz-content-sha256") or hashlib.sha256(signed.body).hexdigest()
        canonical = "\n".join(
            [
                signed.method,
                signed.path or "/",
                "&".join(f"{name}={value}" for name, value in query),
                *(f"{name}:{' '.join(signed.headers.get(name, '').split())}" for name in names.split(";")),
                "",
                names,
                payload,
            ]
        )
        scope = f"{day}/{region}/{service}/aws4_request"
        text = "\n".join([_ALGORITHM, moment, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        secret = f"AWS4{key.secret}".encode()
        for part in (day, region, service, "aws4_request", text):
            secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
        return secret.hex()


def _name(kind: str) -> str:
    return kind + base64.b32encode(secrets.token_bytes(10)).decode()


def _encode(text: str) -> str:
    return quote(text, safe="-_.~")


def _time(moment: str) -> float:
    try:
        return datetime.strptime(moment, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0


def _unknown(service: str) -> Refused:
    if service == "ec2":
        return Refused("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
    if service == "s3":
        return Refused("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.", 403)
    code = "InvalidClientTokenId" if service in ("iam", "sts", "autoscaling") else "UnrecognizedClientException"
    return Refused(code, "The security token included in the request is invalid.", 403)


def _expired(service: str) -> Refused:
    if service == "ec2":
        return Refused("RequestExpired", "Request has expired.")
    if service in ("ssm", "pricing", "service-quotas"):
        return Refused("ExpiredTokenException", "The security token included in the request is expired")
    return Refused("ExpiredToken", "The provided token has expired.", 400 if service == "s3" else 403)


def _skewed(service: str) -> Refused:
    if service == "ec2":
        return Refused("RequestExpired", "Request has expired.")
    if service == "s3":
        text = "The difference between the request time and the current time is too large."
        return Refused("RequestTimeTooSkewed", text, 403)
    return Refused("SignatureDoesNotMatch", "Signature expired", 403)
