"""A strict S3 server in memory, to test and to measure against.

It refuses what Amazon's refuses: unknown keys, an ETag where only `*` is allowed, small parts, a delete of many without
a checksum. It does not verify signatures. `python -m tests.stores.s3 --port N --delay MS` runs it alone; then
`GET /_/requests` gives what was asked for since the last time it was asked.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import itertools
import json
import re
import signal
import time
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from email.utils import formatdate
from urllib.parse import quote, unquote
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.stores.wire import Data, Reply, Request, Server

KEY, SECRET = "LOFTYTESTKEY", "lofty-test-secret-0123456789/abcdefghij+"
REGION = "us-east-1"
PART = 5 * 1024 * 1024
"""The least size of a part that is not the last."""
XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
NAMESPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
KEPT = ("content-type", "cache-control", "content-disposition", "content-language", "content-encoding")
MESSAGES = {
    "AccessDenied": "Access Denied",
    "ExpiredToken": "The provided token has expired.",
    "InternalError": "We encountered an internal error. Please try again.",
    "InvalidAccessKeyId": "The AWS Access Key Id you provided does not exist in our records.",
    "NoSuchBucket": "The specified bucket does not exist",
    "NoSuchKey": "The specified key does not exist.",
    "PreconditionFailed": "At least one of the pre-conditions you specified did not hold",
    "SlowDown": "Please reduce your request rate.",
}


@dataclass(slots=True)
class Object:
    """What lies under a key."""

    data: Data
    etag: str
    modified: float
    headers: dict[str, str]
    generation: int = 0
    """Google's number of a version."""


@dataclass(slots=True)
class _Upload:
    key: str
    headers: dict[str, str]
    parts: dict[int, tuple[Data, str]] = field(default_factory=dict)


class Bucket:
    """Objects by name; their order is made when somebody lists."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self._keys: list[str] | None = []

    def put(self, key: str, item: Object) -> None:
        if key not in self.objects:
            self._keys = None
        self.objects[key] = item

    def remove(self, key: str) -> None:
        if self.objects.pop(key, None) is not None:
            self._keys = None

    def names(self) -> list[str]:
        if self._keys is None:
            self._keys = sorted(self.objects)
        return self._keys


class Refusal(Exception):
    """Becomes an answer."""

    def __init__(self, status: int, code: str, message: str = "") -> None:
        super().__init__(code)
        self.reply = (status, code, message)


class S3(Server):
    """`with S3() as server: Store(server.url)`, with `server.environ` in the environment."""

    def __init__(
        self,
        *buckets: str,
        port: int = 0,
        delay: float = 0.0,
        region: str | None = None,
        encrypted: bool = False,
    ) -> None:
        """`region`: refuse signatures for another one. `encrypted`: ETags are no MD5, as in a bucket with a key of its
        own; that saves the server half of its work on large objects."""
        super().__init__(port=port, delay=delay)
        self.buckets = {name: Bucket() for name in buckets or ("bucket",)}
        self.region = region
        self._encrypted = encrypted
        self.ranges = True
        """Without, it sends the whole where a part was asked for, as a server may."""
        self._uploads: dict[str, _Upload] = {}
        self._numbers = itertools.count(1)
        self._expired = False
        self._full: tuple[int, str] | None = None

    @property
    def url(self) -> str:
        """The first bucket, as `lofty` is given it."""
        return f"s3://{next(iter(self.buckets))}"

    @property
    def environ(self) -> dict[str, str]:
        """What a client needs, and nothing that sends it elsewhere for credentials."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": self.region or REGION,
            "AWS_ENDPOINT_URL": self.address,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    # Faults of this store

    def expire(self) -> None:
        """The client's credentials have run out."""
        self._expired = True

    def renew(self) -> None:
        """They are good again."""
        self._expired = False

    def full(self, status: int = 507, code: str = "InsufficientStorage") -> None:
        """Nothing more can be written, until `room`."""
        self._full = (status, code)

    def room(self) -> None:
        """There is room again."""
        self._full = None

    def flip(self, key: str, bucket: str | None = None) -> None:
        """Damage one byte in the middle of an object, silently."""
        item = self._bucket(bucket).objects[key]
        damaged = bytearray(item.data)
        damaged[len(damaged) // 2] ^= 0xFF
        item.data = damaged

    def truncate(self, key: str, bucket: str | None = None) -> None:
        """Lose the second half of an object, silently."""
        item = self._bucket(bucket).objects[key]
        item.data = item.data[: len(item.data) // 2]

    def keys(self, prefix: str = "", bucket: str | None = None) -> list[str]:
        """What is there."""
        return [key for key in self._bucket(bucket).names() if key.startswith(prefix)]

    def data(self, key: str, bucket: str | None = None) -> bytes:
        """What lies under a key."""
        return bytes(self._bucket(bucket).objects[key].data)

    def _bucket(self, name: str | None) -> Bucket:
        return self.buckets[name or next(iter(self.buckets))]

    # Requests

    def kind(self, request: Request) -> str:
        if request.path.startswith("/_/"):
            return "_"
        query, key = request.query, request.path.partition("/")[2].partition("/")[2]
        match request.method:
            case "GET" if not key:
                return "list" if "location" not in query and "uploads" not in query else "bucket"
            case "GET" | "HEAD" if key:
                return request.method.lower()
            case "PUT" if key and "partNumber" in query:
                return "part"
            case "PUT" if "x-amz-copy-source" in request.headers:
                return "copy"
            case "PUT" if key:
                if "if-none-match" in request.headers:
                    return "create"
                return "swap" if "if-match" in request.headers else "put"
            case "POST" if "delete" in query:
                return "delete-many"
            case "POST" if "uploads" in query:
                return "begin"
            case "POST" if "uploadId" in query:
                return "complete"
            case "DELETE" if key:
                return "abort" if "uploadId" in query else "delete"
        return "bucket"

    def error(self, status: int, code: str, message: str = "") -> Reply:
        text = escape(message or MESSAGES.get(code, code))
        body = (
            f"{XML}<Error><Code>{code}</Code><Message>{text}</Message><RequestId>4442587FB7D0A2F9</RequestId></Error>"
        )
        return Reply(status, {"Content-Type": "application/xml"}, body.encode())

    def answer(self, request: Request) -> Reply:
        if request.path.startswith("/_/"):
            return self._about_itself(request)
        try:
            self._admit(request)
            return self._answer(request)
        except Refusal as refusal:
            return self.error(*refusal.reply)

    def _about_itself(self, request: Request) -> Reply:
        counts = {f"{method} {kind}": count for (method, kind), count in sorted(self.requests.items()) if kind != "_"}
        told = {"requests": counts, "received": self.received, "sent": self.sent}
        self.requests.clear()
        self.received = self.sent = 0
        if request.path == "/_/clear":
            for bucket in self.buckets.values():
                for key in bucket.names():
                    bucket.remove(key)
        return Reply(200, {"Content-Type": "application/json"}, json.dumps(told).encode())

    def _admit(self, request: Request) -> None:
        signed = request.headers.get("authorization", "") or request.query.get("X-Amz-Credential", "")
        found = re.search(r"(?:Credential=)?([^/ ]+)/\d{8}/([^/]+)/s3/aws4_request", signed)
        if not found:
            raise Refusal(403, "AccessDenied")
        if found[1] != KEY:
            raise Refusal(403, "InvalidAccessKeyId")
        if self._expired:
            raise Refusal(400, "ExpiredToken")
        if self.region and found[2] != self.region:
            text = f"The authorization header is malformed; the region '{found[2]}' is wrong; expecting '{self.region}'"
            raise Refusal(400, "AuthorizationHeaderMalformed", text)

    def _answer(self, request: Request) -> Reply:
        name, _, key = request.path[1:].partition("/")
        if not name:
            raise Refusal(501, "NotImplemented")
        if request.method == "PUT" and not key:
            self.buckets.setdefault(name, Bucket())
            return Reply()
        bucket = self.buckets.get(name)
        if bucket is None:
            raise Refusal(404, "NoSuchBucket")
        if not key:
            return self._answer_bucket(name, bucket, request)
        if request.method in ("PUT", "POST"):
            if self._full:
                raise Refusal(*self._full)
            request.body = _unwrapped(request)
            self._check_md5(request)
        match request.method:
            case "GET" | "HEAD":
                return self._get(bucket, key, request)
            case "PUT" if "partNumber" in request.query:
                return self._part(bucket, request)
            case "PUT":
                return self._put(bucket, key, request)
            case "POST" if "uploads" in request.query:
                return self._begin(name, key, request)
            case "POST" if "uploadId" in request.query:
                return self._complete(name, bucket, request)
            case "DELETE" if "uploadId" in request.query:
                self._uploads.pop(request.query["uploadId"], None)
                return Reply(204)
            case "DELETE":
                self._compare(bucket, key, request)
                bucket.remove(key)
                return Reply(204)
        raise Refusal(501, "NotImplemented")

    def _answer_bucket(self, name: str, bucket: Bucket, request: Request) -> Reply:
        match request.method:
            case "HEAD":
                return Reply(200, {"x-amz-bucket-region": self.region or REGION})
            case "GET" if "location" in request.query:
                return _xml(f"<LocationConstraint {NAMESPACE}>{self.region or ''}</LocationConstraint>")
            case "GET" if "uploads" in request.query:
                return _xml(f"<ListMultipartUploadsResult {NAMESPACE}></ListMultipartUploadsResult>")
            case "GET" if "versioning" in request.query:
                return _xml(f"<VersioningConfiguration {NAMESPACE}/>")
            case "GET" if not {"acl", "policy", "lifecycle", "versions"} & request.query.keys():
                return self._list(name, bucket, request.query)
            case "POST" if "delete" in request.query:
                return self._delete_many(bucket, request)
            case "DELETE":
                if bucket.objects:
                    raise Refusal(409, "BucketNotEmpty")
                del self.buckets[name]
                return Reply(204)
        raise Refusal(501, "NotImplemented")

    @staticmethod
    def _check_md5(request: Request) -> None:
        told = request.headers.get("content-md5")
        if told and base64.b64decode(told) != hashlib.md5(request.body).digest():
            raise Refusal(400, "BadDigest")

    # Objects

    def _etag(self, data: Data) -> str:
        return f'"{next(self._numbers):032x}"' if self._encrypted else f'"{hashlib.md5(data).hexdigest()}"'

    def _store(self, bucket: Bucket, key: str, data: Data, etag: str, headers: dict[str, str]) -> Object:
        item = Object(data, etag, self.now(), headers)
        bucket.put(key, item)
        return item

    def _written(self, item: Object) -> dict[str, str]:
        sealed = {"x-amz-server-side-encryption": "aws:kms"} if self._encrypted else {}
        return {"ETag": item.etag, **sealed}

    def _compare(self, bucket: Bucket, key: str, request: Request) -> None:
        """The conditions of a write."""
        item = bucket.objects.get(key)
        none, wanted = request.headers.get("if-none-match"), request.headers.get("if-match")
        if none is not None and none != "*":
            raise Refusal(501, "NotImplemented", "A header you provided implies functionality that is not implemented")
        if none and item is not None:
            raise Refusal(412, "PreconditionFailed")
        if wanted is not None and item is None:
            raise Refusal(404, "NoSuchKey")
        if wanted not in (None, "*") and item is not None and item.etag != _quoted(wanted):
            raise Refusal(412, "PreconditionFailed")

    def _put(self, bucket: Bucket, key: str, request: Request) -> Reply:
        self._compare(bucket, key, request)
        source = request.headers.get("x-amz-copy-source")
        if source is None:
            item = self._store(bucket, key, request.body, self._etag(request.body), _kept(request))
            return Reply(200, self._written(item))
        old = self._source(source, request)
        replaced = request.headers.get("x-amz-metadata-directive") == "REPLACE"
        item = self._store(bucket, key, old.data, old.etag, _kept(request) if replaced else old.headers)
        modified, etag = _iso(item.modified), escape(item.etag)
        return _xml(f"<CopyObjectResult><LastModified>{modified}</LastModified><ETag>{etag}</ETag></CopyObjectResult>")

    def _source(self, source: str, request: Request) -> Object:
        name, _, key = unquote(source).lstrip("/").partition("/")
        if name not in self.buckets or key not in self.buckets[name].objects:
            raise Refusal(404, "NoSuchKey")
        item = self.buckets[name].objects[key]
        wanted = request.headers.get("x-amz-copy-source-if-match")
        if wanted and _quoted(wanted) != item.etag:
            raise Refusal(412, "PreconditionFailed")
        return item

    def _get(self, bucket: Bucket, key: str, request: Request) -> Reply:
        item = bucket.objects.get(key)
        if item is None:
            raise Refusal(404, "NoSuchKey")
        headers = {
            **self._written(item),
            "Last-Modified": formatdate(item.modified, usegmt=True),
            "Accept-Ranges": "bytes",
            "Content-Type": "binary/octet-stream",
            **item.headers,
        }
        wanted, known = request.headers.get("if-match"), request.headers.get("if-none-match")
        if wanted and wanted != "*" and item.etag not in map(_quoted, wanted.split(",")):
            raise Refusal(412, "PreconditionFailed")
        if known and (known == "*" or item.etag in map(_quoted, known.split(","))):
            return Reply(304, {"ETag": item.etag})
        size = len(item.data)
        span = _span(request.headers.get("range"), size)
        if span is None or not self.ranges:
            return Reply(200, headers, item.data)
        headers["Content-Range"] = f"bytes {span[0]}-{span[1] - 1}/{size}"
        return Reply(206, headers, item.data, span)

    # Uploads in parts

    def _begin(self, name: str, key: str, request: Request) -> Reply:
        upload = f"upload-{next(self._numbers)}"
        self._uploads[upload] = _Upload(f"{name}/{key}", _kept(request))
        return _xml(
            f"<InitiateMultipartUploadResult {NAMESPACE}><Bucket>{name}</Bucket><Key>{escape(key)}</Key>"
            f"<UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
        )

    def _upload(self, request: Request) -> _Upload:
        upload = self._uploads.get(request.query["uploadId"])
        name, _, key = request.path[1:].partition("/")
        if upload is None or upload.key != f"{name}/{key}":
            raise Refusal(404, "NoSuchUpload")
        return upload

    def _part(self, bucket: Bucket, request: Request) -> Reply:
        upload, source = self._upload(request), request.headers.get("x-amz-copy-source")
        data = request.body
        if source is not None:
            old = self._source(source, request)
            span = _span(request.headers.get("x-amz-copy-source-range"), len(old.data))
            data = old.data[slice(*span)] if span else old.data
        etag = self._etag(data)
        upload.parts[int(request.query["partNumber"])] = (data, etag)
        if source is not None:
            now = _iso(self.now())
            return _xml(
                f"<CopyPartResult><LastModified>{now}</LastModified><ETag>{escape(etag)}</ETag></CopyPartResult>"
            )
        return Reply(200, {"ETag": etag})

    def _complete(self, name: str, bucket: Bucket, request: Request) -> Reply:
        upload = self._upload(request)
        key = upload.key.partition("/")[2]
        wanted = []
        for part in _tree(request.body).findall("{*}Part"):
            wanted.append((int(_text(part, "PartNumber")), _quoted(_text(part, "ETag"))))
        if not wanted or [number for number, _ in wanted] != sorted({number for number, _ in wanted}):
            raise Refusal(400, "InvalidPartOrder" if wanted else "MalformedXML")
        if any(upload.parts.get(number, (b"", ""))[1] != etag for number, etag in wanted):
            raise Refusal(400, "InvalidPart")
        if any(len(upload.parts[number][0]) < PART for number, _ in wanted[:-1]):
            raise Refusal(400, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
        self._compare(bucket, key, request)
        data = b"".join(upload.parts[number][0] for number, _ in wanted)
        digest = hashlib.md5(b"".join(bytes.fromhex(etag.strip('"')) for _, etag in wanted)).hexdigest()
        item = self._store(bucket, key, data, f'"{digest}-{len(wanted)}"', upload.headers)
        del self._uploads[request.query["uploadId"]]
        return _xml(
            f"<CompleteMultipartUploadResult {NAMESPACE}><Location>{self.address}{escape(request.path)}</Location>"
            f"<Bucket>{name}</Bucket><Key>{escape(key)}</Key><ETag>{escape(item.etag)}</ETag>"
            "</CompleteMultipartUploadResult>"
        )

    # Many at once

    def _delete_many(self, bucket: Bucket, request: Request) -> Reply:
        headers = request.headers
        if "content-md5" not in headers and not any(name.startswith("x-amz-checksum") for name in headers):
            raise Refusal(400, "InvalidRequest", "Missing required header for this request: Content-MD5")
        request.body = _unwrapped(request)
        self._check_md5(request)
        tree = _tree(request.body)
        keys = [_text(item, "Key") for item in tree.findall("{*}Object")]
        if not keys or len(keys) > 1000:
            raise Refusal(400, "MalformedXML")
        for key in keys:
            bucket.remove(key)
        quiet = tree.findtext("{*}Quiet") == "true"
        told = "" if quiet else "".join(f"<Deleted><Key>{escape(key)}</Key></Deleted>" for key in keys)
        return _xml(f"<DeleteResult {NAMESPACE}>{told}</DeleteResult>")

    def _list(self, name: str, bucket: Bucket, query: dict[str, str]) -> Reply:
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        limit = min(int(query.get("max-keys", 1000)), 1000)
        token = query.get("continuation-token")
        after = base64.urlsafe_b64decode(token).decode() if token else query.get("start-after") or query.get("marker")
        shown, groups, last = _page(bucket.names(), prefix, delimiter, after or "", limit + 1)
        more = len(shown) + len(groups) > limit
        if more:
            shown, groups, last = _page(bucket.names(), prefix, delimiter, after or "", limit)
        name_of = quote if query.get("encoding-type") == "url" else escape
        out = [f"<ListBucketResult {NAMESPACE}><Name>{name}</Name><Prefix>{name_of(prefix)}</Prefix>"]
        out.append(f"<MaxKeys>{limit}</MaxKeys><IsTruncated>{str(more).lower()}</IsTruncated>")
        if delimiter:
            out.append(f"<Delimiter>{name_of(delimiter)}</Delimiter>")
        if name_of is quote:
            out.append("<EncodingType>url</EncodingType>")
        if query.get("list-type") == "2":
            out.append(f"<KeyCount>{len(shown) + len(groups)}</KeyCount>")
            if more:
                next_one = base64.urlsafe_b64encode(last.encode()).decode()
                out.append(f"<NextContinuationToken>{next_one}</NextContinuationToken>")
        elif more:
            out.append(f"<NextMarker>{name_of(last)}</NextMarker>")
        for key in shown:
            item = bucket.objects[key]
            out.append(
                f"<Contents><Key>{name_of(key)}</Key><LastModified>{_iso(item.modified)}</LastModified>"
                f"<ETag>{escape(item.etag, {chr(34): '&quot;'})}</ETag><Size>{len(item.data)}</Size>"
                "<StorageClass>STANDARD</StorageClass></Contents>"
            )
        out += [f"<CommonPrefixes><Prefix>{name_of(group)}</Prefix></CommonPrefixes>" for group in groups]
        out.append("</ListBucketResult>")
        return _xml("".join(out))


def _page(keys: list[str], prefix: str, delimiter: str, after: str, limit: int) -> tuple[list[str], list[str], str]:
    """Keys and groups of one page, and where it ends: the last key, or one that follows a whole group."""
    index = max(bisect_left(keys, prefix), bisect_right(keys, after) if after else 0)
    shown: list[str] = []
    groups: list[str] = []
    last = after
    while index < len(keys) and keys[index].startswith(prefix) and len(shown) + len(groups) < limit:
        key = keys[index]
        cut = key.find(delimiter, len(prefix)) if delimiter else -1
        if cut < 0:
            shown.append(key)
            last = key
            index += 1
        else:
            groups.append(key[: cut + len(delimiter)])
            last = groups[-1] + chr(0x10FFFF)
            index = bisect_right(keys, last)
    return shown, groups, last


def _span(text: str | None, size: int) -> tuple[int, int] | None:
    """Start and end of a `Range`; a refusal where nothing of it is there."""
    found = re.fullmatch(r"bytes=(\d*)-(\d*)", text or "")
    if not found or found[0] == "bytes=-":
        return None
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(int(found[2]) + 1, size) if found[2] else size
    if start >= size:
        raise Refusal(416, "InvalidRange", "The requested range is not satisfiable")
    return start, end


def _unwrapped(request: Request) -> Data:
    """The body without the frames of a streaming signature."""
    streamed = request.headers.get("x-amz-content-sha256", "").startswith("STREAMING")
    if not streamed and "aws-chunked" not in request.headers.get("content-encoding", ""):
        return request.body
    body, parts, at = request.body, [], 0
    while True:
        end = body.find(b"\r\n", at)
        if end < 0:
            raise Refusal(400, "IncompleteBody")
        length = int(body[at:end].split(b";")[0], 16)
        if length == 0:
            break
        parts.append(body[end + 2 : end + 2 + length])
        at = end + 4 + length
    data = b"".join(parts)
    if len(data) != int(request.headers.get("x-amz-decoded-content-length", len(data))):
        raise Refusal(400, "IncompleteBody")
    return data


def _kept(request: Request) -> dict[str, str]:
    headers = {n: v for n, v in request.headers.items() if n in KEPT or n.startswith("x-amz-meta-")}
    coding = headers.pop("content-encoding", "").replace("aws-chunked", "").strip(", ")
    return {**headers, **({"content-encoding": coding} if coding else {})}


def _quoted(etag: str) -> str:
    return f'"{etag.strip().strip(chr(34))}"'


def _iso(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(moment))


def _xml(text: str) -> Reply:
    return Reply(200, {"Content-Type": "application/xml"}, (XML + text).encode())


def _tree(body: Data) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(bytes(body))
    except ElementTree.ParseError:
        raise Refusal(400, "MalformedXML") from None


def _text(element: ElementTree.Element, name: str) -> str:
    return element.findtext(f"{{*}}{name}") or ""


def main() -> None:
    """Run until the process is ended; the first line on stdout is the address."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--delay", type=float, default=0.0, help="milliseconds per request")
    parser.add_argument("--bucket", action="append", default=[])
    parser.add_argument("--encrypted", action="store_true", help="ETags that are no MD5")
    given = parser.parse_args()
    signals = (signal.SIGINT, signal.SIGTERM)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    with S3(*given.bucket, port=given.port, delay=given.delay / 1000, encrypted=given.encrypted) as server:
        print(server.address, flush=True)
        signal.sigwait(signals)


if __name__ == "__main__":
    main()
