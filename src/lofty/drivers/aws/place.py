"""Where a task's things are on AWS: whatever is named is named from the task's identifier, so that whoever comes later
finds it."""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple

from ...model.state import Handle
from .session import Clients

STATES = "states"
"""Prefix of what lists show of all tasks."""


class Place(NamedTuple):
    """Where a task's things are, as computed from its identifier."""

    bucket: str
    region: str
    account: str
    id: str

    @classmethod
    def of(cls, clients: Clients, task_id: str) -> Place:
        """In the region of these clients."""
        region, account = clients.region, clients.account
        return cls(f"lofty-{account}-{region}", region, account, task_id)

    @classmethod
    def at(cls, handle: Handle) -> Place:
        """Of a task that is known, without asking whose the account is."""
        bucket = handle.store.split("/")[2]
        return cls(bucket, handle.region, bucket.split("-")[1], handle.id)

    @property
    def prefix(self) -> str:
        """Within the bucket."""
        return f"tasks/{self.id}"

    @property
    def store(self) -> str:
        """The store's URL."""
        return f"s3://{self.bucket}/{self.prefix}"

    @property
    def shown(self) -> str:
        """Within the bucket: the leases, and what lists show (see `lofty.store.states`)."""
        return f"{STATES}/{self.id}"

    @property
    def states(self) -> str:
        """The URL of that."""
        return f"s3://{self.bucket}/{self.shown}"

    @property
    def role(self) -> str:
        """Of the role and its profile. Those are the account's, not a region's: the last four digits are the
        region's."""
        return f"{self.id}-{region_code(self.region)}"

    @property
    def agent(self) -> str:
        """The key of the bundle that the machines fetch."""
        return f"{self.prefix}/agent/bundle.tgz"


def region_code(region: str) -> str:
    """Four digits for a region."""
    return sha256(region.encode()).hexdigest()[:4]
