"""What there is of lofty in an account: by the store, by tags and by names, so that a thing is found whichever of them
is missing. All of it comes in pages: an account with a thousand tasks is asked as often as one with fifty."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ...errors import Forbidden
from ...model.spec import TaskSpec
from ...model.state import Handle, Record
from ...store import states
from ...store.base import Store
from ...store.records import Records
from ..base import Resource
from . import roles
from .place import STATES, Place, region_code
from .seen import observation
from .session import Clients, Gone, translated
from .storage import Bucket
from .tags import OWNER, TASK, as_dict, record_in

_TAGGED = [{"Name": "tag-key", "Values": [TASK]}]
"""The filter for what is lofty's, as EC2 and Auto Scaling both take it."""


def regions(clients: Clients) -> list[str]:
    """Where lofty was ever used in the account: its buckets bear the region's name, and one listing has them all. Where
    that may not be asked, or the listing is a little late, the region that is set."""
    start = f"lofty-{clients.account}-"
    named: list[str] = []
    with suppress(Forbidden), translated("look for lofty's buckets"):
        for page in clients.s3.get_paginator("list_buckets").paginate(Prefix=start):
            named += [one["Name"].removeprefix(start) for one in page["Buckets"] if one["Name"].startswith(start)]
    if clients.region not in named:
        with suppress(Forbidden):  # a region that the account has not enabled: nothing of its is there
            if Bucket(clients, Place.of(clients, "").bucket).read():
                named.append(clients.region)
    return sorted(named)


def records(clients: Clients, owner: str) -> Iterator[Record]:
    """The tasks of an owner in one region. Their groups say what they are; the store has those without a group (one is
    being made, or being removed), and groups whose store is gone are found too, since they may cost money. How they
    stand is told by groups and the listing of states together."""
    there = {str(group["AutoScalingGroupName"]): group for group in groups(clients)}
    stored = Bucket(clients, Place.of(clients, "").bucket).read()
    told = states.told(_store(clients, STATES).entries()) if stored else {}
    for task_id in _tasks(clients) if stored else []:
        group = there.pop(task_id, None)
        tags = as_dict(group["Tags"]) if group else {}
        if tags.get(OWNER, owner) == owner:
            spec = record_in(tags) or _stored(clients, task_id)
            if spec is None or spec.owner == owner:
                words = told.get(task_id, states.Told())
                seen = observation(spec, words.machines, group, time.time(), deadline=words.deadline)
                yield Record(handle=handle(clients, task_id), spec=spec, seen=seen)
    for task_id, group in there.items():
        if as_dict(group["Tags"]).get(OWNER) == owner:
            yield Record(handle=handle(clients, task_id), spec=None, seen=observation(None, (), group, time.time()))


def handle(clients: Clients, task_id: str) -> Handle:
    """Of a task in the region of these clients."""
    return Handle(driver="aws", region=clients.region, id=task_id, store=Place.of(clients, task_id).store)


def tasks(clients: Clients) -> list[str]:
    """The identifiers of all tasks that the store of the region knows, whoever's."""
    return _tasks(clients) if Bucket(clients, Place.of(clients, "").bucket).read() else []


def _tasks(clients: Clients) -> list[str]:
    return _store(clients, "tasks").folders("")


def _store(clients: Clients, prefix: str) -> Store:
    return Store(f"s3://{Place.of(clients, '').bucket}/{prefix}")


def groups(clients: Clients) -> Iterator[dict[str, Any]]:
    """All that are lofty's, whoever's."""
    with translated("look at the groups"):
        pages = clients.autoscaling.get_paginator("describe_auto_scaling_groups")
        for page in pages.paginate(Filters=_TAGGED, MaxRecords=100):
            yield from page["AutoScalingGroups"]


def unclaimed(clients: Clients) -> list[tuple[str, str]]:
    """Kinds and task identifiers of what has lofty's mark in the region and no record in the store. The store is asked
    last: whatever is being made has had its record since before it was there."""
    found = [*_marked(clients)]
    if Bucket(clients, Place.of(clients, "").bucket).read():
        found += [("store", task_id) for task_id in _store(clients, STATES).folders("")]
    known = set(tasks(clients))
    return [(kind, task_id) for kind, task_id in found if task_id not in known]


def _marked(clients: Clients) -> Iterator[tuple[str, str]]:
    yield from (("group", str(group["AutoScalingGroupName"])) for group in groups(clients))
    listed: tuple[tuple[str, str, str, dict[str, Any], str], ...] = (
        ("launch template", "ec2", "describe_launch_templates", {"Filters": _TAGGED}, "LaunchTemplates"),
        ("security group", "ec2", "describe_security_groups", {"Filters": _TAGGED}, "SecurityGroups"),
        ("role", "iam", "list_roles", {}, "Roles"),
        ("instance profile", "iam", "list_instance_profiles", {}, "InstanceProfiles"),
    )
    of_region = re.compile(rf"(lofty-.+-[0-9a-f]{{8}})-{region_code(clients.region)}")
    for kind, service, operation, asked, key in listed:
        # Roles cannot be listed by tag, and need not be listable at all: whoever may not gets a sweep without them.
        with suppress(Forbidden), translated(f"look for every {kind}"):
            for page in getattr(clients, service).get_paginator(operation).paginate(**asked):
                for one in page[key]:
                    if service == "ec2":
                        yield kind, as_dict(one["Tags"])[TASK]
                    elif match := of_region.fullmatch(one.get("RoleName") or one["InstanceProfileName"]):
                        yield kind, match[1]


def shares_a_role(clients: Clients) -> bool:
    """Whether a task of the region has machines that share a role, or is still being made and may yet."""
    with translated("look for every launch template"):
        pages = clients.ec2.get_paginator("describe_launch_templates")
        made = [one for page in pages.paginate(Filters=_TAGGED) for one in page["LaunchTemplates"]]
    marked = any(as_dict(one["Tags"]).items() >= roles.MARK.items() for one in made)
    return marked or bool(set(tasks(clients)) - {one["LaunchTemplateName"] for one in made})


def shared_role(clients: Clients) -> list[Resource]:
    """The role that tasks share and its profile, as far as they are there, in the order in which they can be deleted.
    None for who may not see in which regions there are tasks that use it."""
    with suppress(Forbidden):
        with translated("look for lofty's buckets"):
            clients.s3.list_buckets(Prefix=f"lofty-{clients.account}-", MaxBuckets=1)
        return [one for one in reversed(roles.shared(clients)) if one.read()]
    return []


def _stored(clients: Clients, task_id: str) -> TaskSpec | None:
    with suppress(Gone):
        return Records(Store(handle(clients, task_id).store)).spec()
    return None
