"""What terraform-provider-iterative, whose heir lofty is, has left in an account: told as it told it, and removed.

Its names and places are those of its last version, 0.11: everything bears the task's identifier; files lie under
`data/`, what machines report under `reports/` (`status-…` as JSON with an exit code in `status`, `task-…` a log).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

from ...errors import Forbidden, LoftyError
from ...model.state import Event, Machine, Observation
from ...store.base import Store
from ..base import Resource
from .door import SecurityGroup
from .group import delete_group, describe_group, public_addresses
from .session import Clients, Gone, translated
from .template import delete_template, has_template

STATUS, LOG = "status-", "task-"
"""How the names of reports begin."""
ACTIVITIES = 20
"""Events shown, of a group that may have tried for days."""


class Remains:
    """Of one task; what there is, is looked up once."""

    def __init__(self, clients: Clients, name: str, container: str = "") -> None:
        """`container`: the URL of the task's directory, where it lies in a bucket of the person's own."""
        self._clients, self.name = clients, name
        self._own = not container
        place, mark, region = (container or f"s3://{name}?region={clients.region}").partition("?")
        self.files, self._reports_url = (f"{place}/{part}{mark}{region}" for part in ("data", "reports"))
        self.resources: Sequence[Resource] = [one for one in self._possible() if one.read()]

    def _possible(self) -> Iterator[Resource]:
        if self._own:
            yield _Bucket(self._clients, self.name)
        yield SecurityGroup(self._clients, self.name, {}, shut=True)  # it has rules of another kind
        yield _KeyPair(self._clients, self.name)
        yield _Template(self._clients, self.name)
        yield _Group(self._clients, self.name)

    def observe(self) -> Observation:
        """The group's machines, which count as running, and those that have reported an end."""
        group = describe_group(self._clients, self.name)
        there = [str(one["InstanceId"]) for one in group["Instances"]] if group else []
        addresses = public_addresses(self._clients, there)
        machines = [Machine(id=one, state="running", public_address=addresses.get(one, "")) for one in there]
        for key, text in self._reports(STATUS):
            machines.append(Machine(id=key, state="succeeded" if _is_success(text) else "failed"))
        return Observation(
            state="running" if there else "stopped", machines=tuple(machines), events=tuple(self._events(group))
        )

    def logs(self) -> list[str]:
        """One text for each machine that has sent one."""
        return [text for _, text in self._reports(LOG)]

    def _events(self, group: dict[str, Any] | None) -> Iterator[Event]:
        if group is None:
            return
        with translated("look at the group's activities"):
            found = self._clients.autoscaling.describe_scaling_activities(
                AutoScalingGroupName=self.name, MaxRecords=ACTIVITIES
            )["Activities"]
        for one in reversed(found):
            words = (one.get("Description"), one.get("Cause"), one.get("StatusMessage"))
            yield Event(time=one["StartTime"].timestamp(), code=one["StatusCode"], text="\n".join(filter(None, words)))

    @cached_property
    def _reported(self) -> list[tuple[str, str]]:
        if self._own and not any(one.kind == _Bucket.kind for one in self.resources):
            return []
        store, found = Store(self._reports_url), []
        for entry in store.entries():
            if not entry.key.startswith((STATUS, LOG)):
                continue  # the whole journal of a machine, where somebody asked for it
            with suppress(KeyError):  # its machines replace them all the time
                found.append((entry.key, store.get(entry.key).decode(errors="replace")))
        return found

    def _reports(self, kind: str) -> list[tuple[str, str]]:
        return [(name, text) for name, text in self._reported if name.startswith(kind)]


def _is_success(text: str) -> bool:
    """By the words of systemd, which is what the old machines asked."""
    try:
        said = json.loads(text)
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("result") != "timeout" and str(said.get("status")) == "0"


class _Kept:
    """Something that is only looked at and removed."""

    kind = name = ""

    def __init__(self, clients: Clients, name: str) -> None:
        self._clients, self.name = clients, name

    def create(self) -> None:
        """Nobody makes such things any more."""
        raise LoftyError(f"lofty makes no {self.kind} of that kind", hint="lofty tf migrate")


class _Group(_Kept):
    kind = "group"

    def read(self) -> bool:
        return describe_group(self._clients, self.name) is not None

    def delete(self) -> None:
        delete_group(self._clients, self.name)


class _Template(_Kept):
    kind = "launch template"

    def read(self) -> bool:
        return has_template(self._clients, self.name)

    def delete(self) -> None:
        with suppress(Gone):
            delete_template(self._clients, self.name)


class _KeyPair(_Kept):
    kind = "key pair"

    def read(self) -> bool:
        with suppress(Gone), translated("look at the key pair"):
            return bool(self._clients.ec2.describe_key_pairs(KeyNames=[self.name])["KeyPairs"])
        return False

    def delete(self) -> None:
        with suppress(Gone), translated("remove the key pair"):
            self._clients.ec2.delete_key_pair(KeyName=self.name)


class _Bucket(_Kept):
    kind = "store"

    def read(self) -> bool:
        """Listed and not asked for by name: a bucket of that name may be somebody else's."""
        try:
            with translated("look for the bucket of an old task"):
                pages = self._clients.s3.get_paginator("list_buckets").paginate(Prefix=self.name)
                return any(one["Name"] == self.name for page in pages for one in page["Buckets"])
        except Forbidden as error:
            raise Forbidden(
                f"whether the old task's bucket {self.name} is there cannot be found out: {error}",
                hint="allow s3:ListAllMyBuckets",
            ) from error

    def delete(self) -> None:
        with suppress(Gone), translated("remove the bucket of an old task"):
            Store(f"s3://{self.name}?region={self._clients.region}").clear()
            self._clients.s3.delete_bucket(Bucket=self.name)
