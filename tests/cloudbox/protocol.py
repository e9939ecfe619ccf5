"""From bytes to an operation with parameters, and from a result or a refusal to bytes, by the SDK's own service models.

moto reads and writes by the same models; what it answers itself passes through untouched.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape

from moto.core.model import OperationModel, ServiceModel
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.serialize import XFormedAttributePicker, get_serializer_class
from moto.core.utils import get_service_model
from werkzeug.datastructures import MultiDict

Answer = tuple[int, dict[str, str], bytes]


class Refused(Exception):
    """The service says no, in its own words."""

    def __init__(self, code: str, message: str = "", status: int = 400) -> None:
        super().__init__(code, message, status)
        self.code, self.message, self.status = code, message, status


class Lost(Exception):
    """The connection ends without an answer."""


@dataclass
class Asked:
    """One request, understood."""

    service: str
    """The SDK's name: `ec2`, `autoscaling`, `s3`, `service-quotas` ..."""
    operation: str
    params: dict[str, Any] = field(default_factory=dict)
    bucket: str = ""
    key: str = ""
    query: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """As policies write it."""
        return f"{self.service}:{self.operation}"


_BY_SIGNING_NAME = {"servicequotas": "service-quotas"}
_PROTOCOLS = {"ec2": "ec2", "s3": "rest-xml", "ssm": "json", "pricing": "json", "service-quotas": "json"}

_FLAGS = (
    "uploadId",
    "uploads",
    "delete",
    "location",
    "versioning",
    "versions",
    "lifecycle",
    "policy",
    "tagging",
    "acl",
    "encryption",
    "publicAccessBlock",
    "ownershipControls",
    "cors",
    "attributes",
)
_S3 = {
    # method, whether a key is named, flag
    ("GET", False, "uploads"): "ListMultipartUploads",
    ("GET", False, "versions"): "ListObjectVersions",
    ("GET", False, ""): "ListObjects",
    ("HEAD", False, ""): "HeadBucket",
    ("PUT", False, ""): "CreateBucket",
    ("DELETE", False, ""): "DeleteBucket",
    ("POST", False, "delete"): "DeleteObjects",
    ("GET", True, ""): "GetObject",
    ("GET", True, "uploadId"): "ListParts",
    ("GET", True, "attributes"): "GetObjectAttributes",
    ("HEAD", True, ""): "HeadObject",
    ("PUT", True, ""): "PutObject",
    ("PUT", True, "uploadId"): "UploadPart",
    ("POST", True, "uploads"): "CreateMultipartUpload",
    ("POST", True, "uploadId"): "CompleteMultipartUpload",
    ("DELETE", True, ""): "DeleteObject",
    ("DELETE", True, "uploadId"): "AbortMultipartUpload",
}
_VERBS = {"GET": "Get", "PUT": "Put", "DELETE": "Delete"}
_ABOUT_BUCKETS = {
    "location": "BucketLocation",
    "versioning": "BucketVersioning",
    "lifecycle": "BucketLifecycleConfiguration",
    "policy": "BucketPolicy",
    "tagging": "BucketTagging",
    "acl": "BucketAcl",
    "encryption": "BucketEncryption",
    "publicAccessBlock": "PublicAccessBlock",
    "ownershipControls": "BucketOwnershipControls",
    "cors": "BucketCors",
}


def parse(signing_name: str, method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> Asked:
    """What is asked for; a request that no model knows is refused."""
    service = _BY_SIGNING_NAME.get(signing_name, signing_name)
    if service == "s3":
        return _parse_s3(method, path, query, headers)
    values = MultiDict(parse_qsl(query, keep_blank_values=True))
    if not (target := headers.get("x-amz-target")):
        values.update(MultiDict(parse_qsl(body.decode(), keep_blank_values=True)))
    operation = target.rpartition(".")[2] if target else values.get("Action", "")
    try:
        model = _operation(service, operation)
    except Exception as error:
        raise Refused("InvalidAction", f"no operation {operation!r} of {service!r}") from error
    parser: Any = PROTOCOL_PARSERS[_protocol(service)](model, map_type=dict)
    params = parser.parse(
        {"method": method, "values": values, "headers": headers, "body": body, "url_path": path, "url_params": {}}
    )
    return Asked(service, operation, dict(params))


def _parse_s3(method: str, path: str, query: str, headers: dict[str, str]) -> Asked:
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    words = dict(parse_qsl(query, keep_blank_values=True))
    if not bucket:
        return Asked("s3", "ListBuckets", query=words)
    flag = next((flag for flag in _FLAGS if flag in words), "")
    operation = _S3.get((method, bool(key), flag))
    if operation is None and flag in _ABOUT_BUCKETS and method in _VERBS:
        thing = f"Object{flag.capitalize()}" if key else _ABOUT_BUCKETS[flag]
        operation = _VERBS[method] + thing
    if operation is None:
        raise Refused("MethodNotAllowed", "The specified method is not allowed against this resource.", 405)
    if operation == "ListObjects" and words.get("list-type") == "2":
        operation = "ListObjectsV2"
    if "x-amz-copy-source" in headers:
        operation = {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}.get(operation, operation)
    return Asked("s3", operation, bucket=bucket, key=key, query=words)


def answer(asked: Asked, result: object) -> Answer:
    """A result in the operation's own form: a dictionary, or moto's objects."""
    serializer = get_serializer_class(asked.service, _protocol(asked.service))(
        operation_model=_operation(asked.service, asked.operation), value_picker=XFormedAttributePicker()
    )
    done = serializer.serialize(result)
    body = done["body"]
    headers = {str(key): str(value) for key, value in done["headers"].items()}
    return int(done["status_code"]), headers, body.encode() if isinstance(body, str) else body


def refusal(service: str, refused: Refused, *, bodiless: bool = False) -> Answer:
    """An error in the service's own form."""
    code, message = escape(refused.code), escape(refused.message or refused.code)
    request = uuid.uuid4()
    protocol = _protocol(service)
    if protocol == "json":
        text = json.dumps({"__type": refused.code, "message": refused.message})
        return refused.status, {"Content-Type": "application/x-amz-json-1.1"}, text.encode()
    inner = f"<Code>{code}</Code><Message>{message}</Message>"
    if protocol == "ec2":
        text = f"<Response><Errors><Error>{inner}</Error></Errors><RequestID>{request}</RequestID></Response>"
    elif protocol == "rest-xml":
        text = f"<Error>{inner}<RequestId>{request}</RequestId></Error>"
    else:
        kind = "Sender" if refused.status < 500 else "Receiver"
        inner = f"<Error><Type>{kind}</Type>{inner}</Error><RequestId>{request}</RequestId>"
        text = f"<ErrorResponse>{inner}</ErrorResponse>"
    return refused.status, {"Content-Type": "text/xml"}, b"" if bodiless else text.encode()


def outcome(status: int, body: bytes) -> str:
    """`ok`, or the error's code as a client will read it."""
    if status < 300:
        return "ok"
    if found := re.search(rb"<Code>([^<]+)</Code>", body):
        return found.group(1).decode()
    if found := re.search(rb'"__type":\s*"([^"]+)"', body):
        return found.group(1).decode().rpartition("#")[2]
    return str(status)


def _protocol(service: str) -> str:
    return _PROTOCOLS.get(service, "query")


def _operation(service: str, operation: str) -> OperationModel:
    model: ServiceModel = get_service_model(service)
    found: OperationModel = model.operation_model(operation)
    return found
