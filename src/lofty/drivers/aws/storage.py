"""What of a task lies in S3: the bucket of its region, its store, and the agent that its machines fetch."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from ...boot.bundle import Arch, bundle
from ...errors import Forbidden
from ...model.spec import TaskSpec
from ...store.base import Store
from ...store.records import Records
from .place import Place
from .session import Clients, Exists, Gone, translated

RECORD = "task.json"


class Bucket:
    """The account's bucket for lofty in one region. It stays when the last task has gone: in it lies the agent, which
    the next task need not send again."""

    kind = "bucket"

    def __init__(self, clients: Clients, name: str) -> None:
        self._clients, self.name = clients, name

    def read(self) -> bool:
        """Whether it exists."""
        try:
            with translated("look at the bucket"):
                self._clients.s3.head_bucket(Bucket=self.name)
        except Gone:
            return False
        return True

    def create(self) -> None:
        """Make it, or find it made."""
        more: dict[str, Any] = {}
        if self._clients.region != "us-east-1":  # the one region that must not be named
            more["CreateBucketConfiguration"] = {"LocationConstraint": self._clients.region}
        try:
            with translated("make the bucket"):
                self._clients.s3.create_bucket(Bucket=self.name, **more)
        except Exists:
            if not self.read():
                raise

    def delete(self) -> None:
        """Nothing: `lofty sweep` removes it with the agents in it, once no task is left."""


class EmptyBucket(Bucket):
    """The same when no task is in it."""

    def delete(self) -> None:
        """With the agents. A task that begins meanwhile has its record in it already, and a bucket that is not empty
        cannot be deleted; or it finds no bucket, and its `create` fails and leaves nothing."""
        Store(f"s3://{self.name}/agents").clear()
        with suppress(Gone), translated("remove the bucket"):
            self._clients.s3.delete_bucket(Bucket=self.name)


class TaskStore:
    """The task's prefixes; `task.json` is what makes it a task."""

    kind = "store"

    def __init__(self, clients: Clients, place: Place, task: TaskSpec) -> None:
        self._clients, self._place, self.name, self._task = clients, place, place.store, task

    def read(self) -> bool:
        """Whether it exists."""
        return Records(Store(self.name)).spec() is not None

    def create(self) -> None:
        """Make it, or find it made."""
        Records(Store(self.name)).create_spec(self._task)

    def delete(self) -> None:
        """The record last: as long as anything is there, it says whose."""
        try:
            self._abort_uploads()
        except Gone:
            return  # the whole bucket is
        Store(self._place.states).clear()
        store = Store(self.name)
        store.delete([entry.key for entry in store.entries() if entry.key != RECORD])
        store.delete([RECORD])

    def _abort_uploads(self) -> None:
        """Parts of large files whose sender died on the way: no listing shows them, and they are paid for."""
        s3, bucket = self._clients.s3, self._place.bucket
        with suppress(Forbidden), translated("look for unfinished uploads"):
            pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=f"{self._place.prefix}/")
            for page in pages:
                for one in page.get("Uploads", ()):
                    with suppress(Gone), translated("end an unfinished upload"):
                        s3.abort_multipart_upload(Bucket=bucket, Key=one["Key"], UploadId=one["UploadId"])


class Agent:
    """The bundle, in the task's prefix, where its machines may read it. It is sent once for each version of lofty, and
    copied within the bucket from then on."""

    kind = "agent"

    def __init__(self, clients: Clients, place: Place, cache: Path, arch: Arch) -> None:
        self._clients, self._place, self._cache, self._arch = clients, place, cache, arch
        self.name = f"s3://{place.bucket}/{place.agent}"

    def read(self) -> bool:
        """Whether it exists."""
        return self._has(self._place.agent)

    def _has(self, key: str) -> bool:
        try:
            with translated("look at the agent"):
                self._clients.s3.head_object(Bucket=self._place.bucket, Key=key)
        except Gone:
            return False
        return True

    def create(self) -> None:
        """Make it, or find it made."""
        made = bundle(self._cache, self._arch)
        shared, bucket = f"agents/{made.name}", self._place.bucket
        if not self._has(shared):
            Store(f"s3://{bucket}").put(shared, made.read_bytes())
        with translated("copy the agent"):
            self._clients.s3.copy_object(
                Bucket=bucket, Key=self._place.agent, CopySource={"Bucket": bucket, "Key": shared}
            )

    def delete(self) -> None:
        """With the prefix that it lies in."""
