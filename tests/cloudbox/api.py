"""The front door: every request is known, signed, allowed and checked before moto or this cloud's own services see it.

Requests are recorded, and a test can strike at the n-th: before it has an effect, or after, when only the answer is
missing.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import itertools
import re
import socket
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from moto.core.exceptions import ServiceException
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import PublicAccessBlock
from werkzeug.serving import make_server
from werkzeug.test import run_wsgi_app

from tests.cloudbox.account import Account
from tests.cloudbox.authority import authorize, needs, sees_absence
from tests.cloudbox.catalogue import REGION
from tests.cloudbox.conditions import Conditions
from tests.cloudbox.credentials import Key, Signed
from tests.cloudbox.groups import Groups
from tests.cloudbox.protocol import Answer, Asked, Lost, Refused, answer, outcome, parse, refusal
from tests.cloudbox.services import Services

_EVERYWHERE = ("iam", "sts", "pricing")
_BUSY = {
    "ec2": ("RequestLimitExceeded", "Request limit exceeded.", 503),
    "s3": ("SlowDown", "Please reduce your request rate.", 503),
    "ssm": ("ThrottlingException", "Rate exceeded", 400),
    "pricing": ("ThrottlingException", "Rate exceeded", 400),
    "service-quotas": ("TooManyRequestsException", "Rate exceeded", 400),
}
_WRITES = ("PutObject", "CopyObject", "CompleteMultipartUpload", "DeleteObject")


@dataclass
class Call:
    """One request to the API."""

    number: int
    service: str
    operation: str
    params: dict[str, Any]
    key: str
    """The id of the key it was signed with."""
    time: float = field(default_factory=time.time)
    outcome: str = ""
    """`ok`, the error's code, or `lost`."""

    @property
    def name(self) -> str:
        """`ec2:RunInstances`."""
        return f"{self.service}:{self.operation}"


@dataclass
class Strike:
    """Something that happens at one call."""

    match: re.Pattern[str]
    left: int
    after: bool
    do: Callable[[Call], object]


class Api:
    """The server. What it answers is decided under the account's lock, one request at a time."""

    def __init__(self, account: Account, groups: Groups, services: Services, conditions: Conditions) -> None:
        self.calls: list[Call] = []
        self._numbers = itertools.count(1)
        self.problems: list[str] = []
        """What went wrong in the cloud itself, as opposed to what a client was refused."""
        self._strikes: list[Strike] = []
        self._account, self._groups = account, groups
        self._services, self._conditions = services, conditions
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._objects = threading.RLock()
        self._counting = threading.Lock()
        self._writing: Counter[tuple[str, str]] = Counter()
        self._throttled: Counter[str] = Counter()
        self._server: Any = None
        self._thread: threading.Thread | None = None

    def start(self, host: str) -> int:
        """Listen; the caller's thread is where the socket belongs. The port."""
        self._server = make_server(host, 0, self, threaded=True, request_handler=_Quiet)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True, name="api")
        self._thread.start()
        return int(self._server.port)

    def stop(self) -> None:
        """Stop listening."""
        if self._thread:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def strike(self, strike: Strike) -> None:
        """Let something happen once."""
        self._strikes.append(strike)

    def calm(self) -> None:
        """No strikes any more."""
        self._strikes.clear()

    def reset(self) -> None:
        """No calls, no strikes."""
        self.calls.clear()
        self._numbers = itertools.count(1)
        self.problems.clear()
        self._strikes.clear()
        self._throttled.clear()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
        try:
            status, headers, body = self._serve(environ)
        except Lost as lost:
            with contextlib.suppress(OSError):
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError from lost
        start_response(f"{status} X", list(headers.items()))
        return [body]

    # One request

    def _serve(self, environ: dict[str, Any]) -> Answer:
        signed = _signed(environ)
        signing_name = signed.scope[3] if signed.scope else "s3"
        call = Call(next(self._numbers), signing_name, "", {}, signed.scope[0] if signed.scope else "")
        service, head = signing_name, signed.method == "HEAD"
        writing: contextlib.AbstractContextManager[bool] = contextlib.nullcontext(False)
        try:
            asked = parse(signing_name, signed.method, signed.path, signed.query, dict(signed.headers), signed.body)
            service = asked.service
            call.service, call.operation = asked.service, asked.operation
            call.params = asked.params or {
                "Bucket": asked.bucket, "Key": asked.key, "Prefix": asked.query.get("prefix", "")
            }  # fmt: skip
            self.calls.append(call)
            self._strike(call, after=False)
            if asked.operation in _WRITES:
                writing = self.in_flight(asked.bucket, asked.key)
            with writing as contested, self._objects if service == "s3" else self._account.lock:
                done = self._decide(environ, signed, asked, contested=contested)
            call.outcome = outcome(done[0], done[2])
            self._strike(call, after=True)
        except Refused as refused:
            call.outcome = refused.code
            return refusal(service, refused, bodiless=head)
        except Lost:
            call.outcome = "lost"
            raise
        except Exception:
            call.outcome = "InternalFailure"
            self.problems.append(traceback.format_exc())
            return refusal(service, Refused("InternalFailure", traceback.format_exc(), 500), bodiless=head)
        return done

    def _decide(self, environ: dict[str, Any], signed: Signed, asked: Asked, *, contested: bool) -> Answer:
        rules = self._account.rules
        key = self._account.keys.check(signed, asked.service, signatures=rules.signatures, skew=rules.skew)
        bucket = self._account.s3.buckets.get(asked.bucket)
        if bucket is not None:  # of any region, which the request has to be signed for
            if signed.scope[2] != bucket.region_name:
                text = f"the region '{signed.scope[2]}' is wrong; expecting '{bucket.region_name}'"
                raise Refused("AuthorizationHeaderMalformed", f"The authorization header is malformed; {text}")
        elif signed.scope[2] != REGION and asked.service not in _EVERYWHERE and asked.name != "s3:ListBuckets":
            raise Refused("OptInRequired", "You are not subscribed to this service.", 403)
        if not self._services.known(asked.service, asked.operation):
            raise Refused("NotImplemented", f"cloudbox does not know {asked.name}: add it with what AWS does", 501)
        if self._throttled[asked.name] < rules.throttle.get(asked.name, 0):
            self._throttled[asked.name] += 1
            raise Refused(*_BUSY.get(asked.service, ("Throttling", "Rate exceeded", 400)))
        if rules.policies and asked.name != "sts:GetCallerIdentity":
            authorize(key, asked, needs(asked, dict(signed.headers), signed.body, self._groups), self._account)
        if asked.service == "s3":
            return self._object(environ, signed, asked, key, contested=contested)
        if asked.params.pop("DryRun", False):
            raise Refused("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
        token, request = str(asked.params.get("ClientToken") or ""), repr(asked.params)
        if asked.name in self._services.once and (known := self._account.remembered(asked.name, token, request)):
            same, kept = known
            if not same:
                raise Refused("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent.")
            return kept if isinstance(kept, tuple) else answer(asked, kept)
        try:
            kept, done = self._perform(environ, signed, asked, key)
        except ServiceException as error:  # moto's own objects, called from here
            code = getattr(error, "code", None) or type(error).__name__
            raise Refused(str(code), str(getattr(error, "message", error))) from error
        if done[0] < 300:
            self._account.remember(asked.name, token, request, kept)
        return done

    def _perform(self, environ: dict[str, Any], signed: Signed, asked: Asked, key: Key) -> tuple[Any, Answer]:
        """What to remember of it, and the answer."""
        services = self._services
        if do := services.own.get(asked.name):
            services.caller = key.arn
            result = do(asked.params)
            return result, answer(asked, result)
        if check := self._conditions.before.get(asked.name):
            check(asked.params)
        # A name that is taken is taken for a newcomer too, however new; everybody else does not see it yet.
        creating = asked.operation.startswith(("Create", "Import")) and asked.operation != "CreateTags"
        with contextlib.nullcontext() if creating else self._account.hidden():
            done = self._by_moto(environ, signed)
        if done[0] < 300 and (note := self._conditions.after.get(asked.name)):
            note(asked.params)
        return done, done

    def _by_moto(self, environ: dict[str, Any], signed: Signed) -> Answer:
        environ["wsgi.input"] = io.BytesIO(signed.body)
        chunks, status, headers = run_wsgi_app(self._moto, environ, buffered=True)
        plain = {name: value for name, value in headers.items() if name.lower() not in ("connection", "date", "server")}
        return int(status.split()[0]), plain, b"".join(chunks)

    # Objects

    def _object(self, environ: dict[str, Any], signed: Signed, asked: Asked, key: Key, *, contested: bool) -> Answer:
        _check_body(signed)
        none, match = signed.headers.get("if-none-match"), signed.headers.get("if-match")
        if asked.operation in _WRITES and (none or match):
            if none and none != "*":
                text = "A header you provided implies functionality that is not implemented"
                raise Refused("NotImplemented", text, 501)
            if contested:
                text = "The conditional request cannot succeed due to a conflicting operation against this resource."
                raise Refused("ConditionalRequestConflict", text, 409)
        done = self._by_moto(environ, signed)
        absent = asked.operation in ("GetObject", "HeadObject") and done[0] == 404
        if absent and self._account.rules.policies and not sees_absence(key, asked, self._account):
            raise Refused("AccessDenied", "Access Denied", 403)
        if asked.operation == "CreateBucket" and done[0] == 200:
            self._defaults(asked.bucket)
        return done

    def _defaults(self, bucket: str) -> None:
        """A new bucket is encrypted and closed to the public."""
        kept = self._account.s3.buckets[bucket]
        if not kept.encryption:
            rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}
            kept.encryption = {"Rule": rule}
        if not kept.public_access_block:
            kept.public_access_block = PublicAccessBlock("true", "true", "true", "true")

    @contextlib.contextmanager
    def in_flight(self, bucket: str, key: str) -> Iterator[bool]:
        """One write of an object; whether another was there first."""
        place = (bucket, key)
        with self._counting:
            contested = self._writing[place] > 0
            self._writing[place] += 1
        try:
            yield contested
        finally:
            with self._counting:
                self._writing[place] -= 1

    def _strike(self, call: Call, *, after: bool) -> None:
        for strike in list(self._strikes):
            if strike.after is after and strike.match.search(call.name):
                strike.left -= 1
                if strike.left == 0:
                    self._strikes.remove(strike)
                    strike.do(call)


class _Quiet(MotoRequestHandler):
    def log(self, *_: object) -> None:
        pass

    def connection_dropped(self, *_: object, **__: object) -> None:
        pass


def _signed(environ: dict[str, Any]) -> Signed:
    headers = {
        name[5:].replace("_", "-").lower(): str(value) for name, value in environ.items() if name.startswith("HTTP_")
    }
    for name in ("content-type", "content-length"):
        if value := environ.get(name.upper().replace("-", "_")):
            headers[name] = str(value)
    path, _, query = str(environ.get("RAW_URI") or environ.get("REQUEST_URI")).partition("?")
    if environ.get("wsgi.input_terminated"):
        body = environ["wsgi.input"].read()
    else:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    return Signed(str(environ["REQUEST_METHOD"]), path, query, headers, body)


def _check_body(signed: Signed) -> None:
    told = signed.headers.get("x-amz-content-sha256", "")
    if re.fullmatch(r"[0-9a-f]{64}", told) and hashlib.sha256(signed.body).hexdigest() != told:
        text = "The provided 'x-amz-content-sha256' header does not match what was computed."
        raise Refused("XAmzContentSHA256Mismatch", text)
    digest = signed.headers.get("content-md5")
    if digest and base64.b64encode(hashlib.md5(signed.body).digest()).decode() != digest:
        raise Refused("BadDigest", "The Content-MD5 you specified did not match what we received.")
