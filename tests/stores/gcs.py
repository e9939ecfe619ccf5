"""A strict fake of Google Cloud Storage's XML interface, as far as a store uses it.

It is S3's in most of its forms. What differs: a bearer token, generations that grow with every write, and conditions
that name them; a write with the condition of an ETag is refused, because the real one does not honour it.
"""

from __future__ import annotations

import itertools
from typing import Any

from tests.stores.s3 import S3, Bucket, Object, Refusal
from tests.stores.wire import Data, Reply, Request

TOKEN = "emulator"


class GCS(S3):
    """`with GCS() as server: Store(server.url)`, with `server.environ` in the environment."""

    def __init__(self, *buckets: str, **options: Any) -> None:
        super().__init__(*buckets, **options)
        self._generations = itertools.count(1_700_000_000_000_000, 1000)

    @property
    def url(self) -> str:
        return f"gs://{next(iter(self.buckets))}"

    @property
    def environ(self) -> dict[str, str]:
        return {"STORAGE_EMULATOR_HOST": self.address, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}

    def kind(self, request: Request) -> str:
        known = super().kind(request)
        if known == "put" and (wanted := request.headers.get("x-goog-if-generation-match")):
            return "create" if wanted == "0" else "swap"
        return known

    def _admit(self, request: Request) -> None:
        given = request.headers.get("authorization", "")
        if given != f"Bearer {TOKEN}":
            raise Refusal(401, "AuthenticationRequired", "Authentication required.")
        if self._expired:
            raise Refusal(401, "AuthenticationRequired", "Invalid Credentials")

    def _answer(self, request: Request) -> Reply:
        if request.method == "POST" and "delete" in request.query:
            raise Refusal(400, "InvalidArgument")  # there is no deleting of many in this interface
        name, _, key = request.path[1:].partition("/")
        if request.method == "DELETE" and key and name in self.buckets and key not in self.buckets[name].objects:
            raise Refusal(404, "NoSuchKey")
        return super()._answer(request)

    def _compare(self, bucket: Bucket, key: str, request: Request) -> None:
        if {"if-match", "if-none-match"} & request.headers.keys():
            raise Refusal(501, "NotImplemented", "Writes are conditional on generations here")
        wanted = request.headers.get("x-goog-if-generation-match")
        item = bucket.objects.get(key)
        if wanted is not None and int(wanted) != (item.generation if item else 0):
            raise Refusal(412, "PreconditionFailed")

    def _store(self, bucket: Bucket, key: str, data: Data, etag: str, headers: dict[str, str]) -> Object:
        item = super()._store(bucket, key, data, etag, headers)
        item.generation = next(self._generations)
        return item

    def _written(self, item: Object) -> dict[str, str]:
        return {"ETag": item.etag, "x-goog-generation": str(item.generation)}
