"""Errors as AWS really writes them, in each of its protocols, from a server on loopback; and properties of the words
that they become."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofty.drivers.aws import prices, session, trouble
from lofty.drivers.aws.session import Clients, Exists, Gone, meaning_of_activity, translated
from lofty.errors import (
    CapacityError,
    CloudError,
    Forbidden,
    LoftyError,
    NotLoggedIn,
    QuotaExceeded,
    Throttled,
    Unavailable,
)

from .aws import ENVIRON

EC2 = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Response><Errors><Error><Code>{code}</Code>'
    "<Message>{message}</Message></Error></Errors><RequestID>1</RequestID></Response>"
)
QUERY = (
    '<ErrorResponse xmlns="http://autoscaling.amazonaws.com/doc/2011-01-01/"><Error><Type>Sender</Type>'
    "<Code>{code}</Code><Message>{message}</Message></Error><RequestId>1</RequestId></ErrorResponse>"
)
S3 = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
JSON = '{{"__type":"com.amazonaws#{code}","message":"{message}"}}'


class Server:
    """Says one thing to everybody, and counts."""

    def __init__(self) -> None:
        self.status, self.body, self.asked = 200, b"", 0
        self.silent = threading.Event()
        self.silent.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                outer.asked += 1
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.silent.wait(20)
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.body) if self.command != "HEAD" else 0))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(outer.body)

            do_GET = do_POST = do_HEAD = do_PUT = answer  # noqa: N815 (names of http.server)

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """A client that waited long enough has gone."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def says(self, status: int, body: str, **words: str) -> None:
        self.status, self.body = status, body.format(**words).encode()

    def close(self) -> None:
        self.silent.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[Server, Clients]]:
    server = Server()
    yield server, Clients({**ENVIRON, "AWS_ENDPOINT_URL": server.url})
    server.close()


@pytest.fixture
def wire(running: tuple[Server, Clients], monkeypatch: pytest.MonkeyPatch) -> tuple[Server, Clients]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running[0].asked = 0
    return running


class Case(NamedTuple):
    call: Callable[[Clients], Any]
    status: int
    body: str
    code: str
    message: str
    kind: type[LoftyError]
    said: str


def machines(clients: Clients) -> Any:
    return clients.ec2.describe_instances()


def groups(clients: Clients) -> Any:
    return clients.autoscaling.describe_auto_scaling_groups()


def role(clients: Clients) -> Any:
    return clients.iam.create_role(RoleName="x", AssumeRolePolicyDocument="{}")


def who(clients: Clients) -> Any:
    return clients.sts.get_caller_identity()


def limits(clients: Clients) -> Any:
    return clients.quotas.get_service_quota(ServiceCode="ec2", QuotaCode="L-1216C47A")


def price_list(clients: Clients) -> Any:
    return clients.pricing.get_products(ServiceCode="AmazonEC2")


def parameter(clients: Clients) -> Any:
    return clients.ssm.get_parameters(Names=["/a"])


def head(clients: Clients) -> Any:
    return clients.s3.head_bucket(Bucket="lofty-bucket")


def put(clients: Clients) -> Any:
    return clients.s3.put_object(Bucket="lofty-bucket", Key="k", Body=b"", IfNoneMatch="*")


CASES = [
    Case(machines, 403, EC2, "UnauthorizedOperation", "You are not authorized to perform: ec2:DescribeInstances on x",
         Forbidden, "the right ec2:DescribeInstances is missing"),
    Case(machines, 400, EC2, "RequestExpired", "Request has expired.", NotLoggedIn, "clock"),
    Case(machines, 401, EC2, "AuthFailure", "AWS was not able to validate the provided access credentials",
         NotLoggedIn, "wrong"),
    Case(machines, 503, EC2, "RequestLimitExceeded", "Request limit exceeded.", Throttled, "too many"),
    Case(machines, 400, EC2, "VcpuLimitExceeded", "vCPU limit of 0", QuotaExceeded, "limit of 0"),
    Case(machines, 500, EC2, "InsufficientInstanceCapacity", "not sufficient", CapacityError, "not sufficient"),
    Case(machines, 400, EC2, "DependencyViolation", "sg-1 has a dependent object", CloudError, "dependent"),
    Case(machines, 503, "<html>gateway</html>", "", "", Unavailable, ""),
    Case(groups, 400, QUERY, "ValidationError", "AutoScalingGroup name not found - null", Gone, "not found"),
    Case(groups, 400, QUERY, "AlreadyExists", "AutoScalingGroup by this name already exists", Exists, "already"),
    Case(groups, 400, QUERY, "ScalingActivityInProgress", "in progress", CloudError, "in progress"),
    Case(groups, 500, QUERY, "ResourceContention", "try again", CloudError, "try again"),
    Case(role, 403, QUERY, "AccessDenied", "User: x is not authorized to perform: iam:CreateRole on resource: y with "
         "an explicit deny in a service control policy", Forbidden, "service control policy"),
    Case(role, 409, QUERY, "EntityAlreadyExists", "Role with name x already exists.", Exists, "already exists"),
    Case(role, 409, QUERY, "LimitExceeded", "Cannot exceed quota for RolesPerAccount: 1000", QuotaExceeded, "1000"),
    Case(who, 403, QUERY, "ExpiredToken", "The security token included in the request is expired", NotLoggedIn,
         "expired"),
    Case(who, 403, QUERY, "InvalidClientTokenId", "The security token included in the request is invalid.",
         NotLoggedIn, "wrong"),
    Case(limits, 400, JSON, "NoSuchResourceException", "no such quota", Gone, "no such quota"),
    Case(limits, 400, JSON, "TooManyRequestsException", "slow down", Throttled, "too many"),
    Case(price_list, 400, JSON, "AccessDeniedException", "User: x is not authorized to perform: pricing:GetProducts",
         Forbidden, "pricing:GetProducts"),
    Case(price_list, 400, JSON, "ExpiredTokenException", "expired", NotLoggedIn, "expired"),
    Case(parameter, 400, JSON, "ThrottlingException", "Rate exceeded", Throttled, "too many"),
    Case(parameter, 400, JSON, "UnrecognizedClientException", "invalid token", NotLoggedIn, "wrong"),
    Case(head, 404, "", "", "", Gone, ""),
    Case(head, 403, "", "", "", Forbidden, "HeadBucket"),
    Case(put, 503, S3, "SlowDown", "Please reduce your request rate.", Throttled, "too many"),
    Case(put, 404, S3, "NoSuchBucket", "The specified bucket does not exist", Gone, "does not exist"),
    Case(put, 409, S3, "ConditionalRequestConflict", "in flight", CloudError, "in flight"),
    Case(put, 403, S3, "RequestTimeTooSkewed", "too large", NotLoggedIn, "clock"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.call.__name__}-{case.code or case.status}")
def test_what_aws_writes_is_read_rightly_and_asked_once(wire: tuple[Server, Clients], case: Case) -> None:
    server, clients = wire
    server.says(case.status, case.body, code=case.code, message=case.message)
    with pytest.raises(LoftyError) as caught, translated("try it"):
        case.call(clients)
    assert type(caught.value) is case.kind
    assert case.said in str(caught.value)
    assert caught.value.hint
    assert server.asked == 1, "trying again is the engine's business"


def test_a_server_that_never_answers(wire: tuple[Server, Clients], monkeypatch: pytest.MonkeyPatch) -> None:
    server, _ = wire
    monkeypatch.setattr(session, "READ", 0.2)
    clients = Clients({**ENVIRON, "AWS_ENDPOINT_URL": server.url})
    server.silent.clear()
    try:
        with pytest.raises(Unavailable) as caught, translated("wait"):
            clients.sts.get_caller_identity()
    finally:
        server.silent.set()
    assert caught.value.retry_after == trouble.BROKEN_AFTER


def test_who_is_not_online_is_told_at_once_and_later_breaks_are_tried_again() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        clients = Clients({**ENVIRON, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{nobody.getsockname()[1]}"})
        with pytest.raises(Unavailable) as first:
            _ = clients.account
        with pytest.raises(Unavailable) as later, translated("look"):
            clients.ec2.describe_instances()
    assert first.value.retry_after is None
    assert "online" in (first.value.hint or "")
    assert later.value.retry_after == trouble.BROKEN_AFTER


def test_many_threads_share_one_client() -> None:
    clients = Clients(ENVIRON)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: clients.sts, range(16)))
    assert len({id(one) for one in made}) == 1


# --- properties ---------------------------------------------------------------------------------------------------

known_codes = st.sampled_from(sorted(trouble.MEANINGS))


@given(known_codes, st.text(max_size=80), st.sampled_from([400, 403, 404, 409, 412, 429, 500, 503]))
def test_a_known_code_means_the_same_whatever_is_said_beside_it(code: str, message: str, status: int) -> None:
    if code != "AlreadyExists":
        assert trouble.family_of(code, message, status) == trouble.MEANINGS[code]


@given(st.text(max_size=40), st.text(max_size=80), st.integers(400, 599))
def test_every_answer_becomes_an_error_of_ours_with_a_hint(code: str, message: str, status: int) -> None:
    from botocore.exceptions import ClientError

    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    with pytest.raises(LoftyError) as caught, translated("try it"):
        raise ClientError(response, "DoIt")
    assert caught.value.hint
    assert isinstance(caught.value.__cause__, ClientError)


@given(st.text(max_size=200))
def test_any_message_of_a_group_can_be_read(message: str) -> None:
    found = meaning_of_activity(message)
    assert found is None or found.hint


zone_prices = st.builds(
    prices.ZonePrice,
    machine=st.just("m5.large"),
    zone=st.sampled_from(["a", "b", "c"]),
    usd=st.floats(0.0001, 100, allow_nan=False),
)


@given(st.lists(zone_prices, max_size=6), st.sets(st.sampled_from(["a", "b", "c"])))
def test_the_spot_price_is_the_lowest_of_the_zones_that_have_the_type(
    told: list[prices.ZonePrice], zones: set[str]
) -> None:
    price = prices.of_spot(told, zones)
    usable = [one.usd for one in told if one.zone in zones]
    assert (price.usd_per_hour if price else None) == min(usable, default=None)
    if price:
        assert price.source
        assert price.date
        assert ("up to" in price.source) == (max(usable) > min(usable))
