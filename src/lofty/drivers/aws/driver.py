"""AWS. The task's store is a prefix of a bucket, its machines are an Auto Scaling group of their own: the cloud itself
replaces a lost machine, and a scheduled action made before the first one ends them all at the deadline."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ...errors import CapacityError, CloudError, LoftyError, Unavailable, Unsupported
from ...model.spec import Need, TaskSpec
from ...model.state import (
    ALIVE,
    Cursor,
    Endpoint,
    Event,
    Finding,
    Handle,
    LogLine,
    Machine,
    Observation,
    Offer,
    Record,
)
from ...store import states
from ...store.base import Store
from ...store.records import Records
from ..base import Feature, Resource, Settings
from . import check, found, images, offers, policy, predecessor, roles
from .address import mine, towards
from .catalogue import arch_of
from .door import SecurityGroup
from .group import Group, describe_group, public_addresses, set_market
from .network import Network
from .place import Place
from .seen import instances, observation, size
from .session import Clients, Gone, code_of, translated
from .storage import Agent, Bucket, EmptyBucket, TaskStore
from .tags import tags_of
from .template import Template
from .trouble import meaning_of_activity

DEADLINE = "lofty-deadline"
"""Name of the scheduled action."""
LEAD = 60.0
"""Seconds that the cloud's deadline lies behind the agent's own, so that it has time for its last push."""
MOST_TYPES = 40
"""A group takes no more."""
GOING = frozenset({"ScalingActivityInProgress", "ResourceInUse"})
"""What a group that is being removed answers to whoever wants it changed."""


_Word = tuple[Machine, states.Lease]


class AwsDriver:
    """Machines of EC2, spot or not."""

    name = "aws"
    features: frozenset[Feature] = frozenset({"spot", "fallback", "gpus", "parallelism", "ssh", "regions", "billed"})

    def __init__(self, settings: Settings) -> None:
        self._clients = Clients(settings.environ, settings.region)
        self._cache = Path(settings.cache)
        self._seen: Sequence[Offer] = ()
        """What was offered last."""
        self._specs: dict[str, TaskSpec] = {}
        self._addresses: dict[str, str] = {}
        """Public ones of machines, which keep them for life."""
        self._heard: dict[str, tuple[bytes, tuple[Event, ...]]] = {}
        """Events of tasks that were looked at, and what their machines said then."""

    def check(self) -> Sequence[Finding]:
        """Identity, region, permissions, quotas."""
        return check.findings(self._clients, Need())

    def offers(self, need: Need) -> Sequence[Offer]:
        """Cheapest first; of several types that fit, the group takes whichever is to be had."""
        images.check(need.image)
        self._seen = offers.offers(self._clients.at(need.region), need)
        return self._seen

    def resources(self, task: TaskSpec, offer: Offer | None) -> Sequence[Resource]:
        """Store, agent, role, door, template, group: whatever a machine needs is there before one can start."""
        clients, tags = self._clients.at(offer.region if offer else task.need.region), tags_of(task)
        place = Place.of(clients, task.id)
        types = self._types(offer)
        arch = arch_of(types[0]) if types else "x86_64"
        identity, parts = _identity(clients, place, task)
        network = Network(clients, task.need.subnets)
        return [
            Bucket(clients, place.bucket),
            TaskStore(clients, place, task),
            Agent(clients, place, self._cache, arch),
            *parts,
            SecurityGroup(clients, place.id, tags, network, shut=bool(task.tunnel)),
            Template(clients, place, task, arch, types, self._cache, identity, network, gpu=bool(offer and offer.gpus)),
            Group(clients, place, task, types, network),
        ]

    def _types(self, offer: Offer | None) -> list[str]:
        """The offer's type first, then the others that were offered beside it and run the same programs."""
        if offer is None:
            return []
        same = (offer.spot, arch_of(offer.machine))
        also = [one.machine for one in self._seen if (one.spot, arch_of(one.machine)) == same]
        return list(dict.fromkeys([offer.machine, *also]))[:MOST_TYPES]

    def find(self, owner: str) -> Sequence[Record]:
        """In all regions where lofty was ever used. A record found names its region, whatever was asked for when it
        was made."""
        return [
            _placed(record)
            for region in found.regions(self._clients)
            for record in found.records(self._clients.at(region), owner)
        ]

    def unclaimed(self) -> Sequence[Resource]:
        """Whatever has lofty's mark and no record; and the bucket of a region that has no task, with the agents that
        lie in it for the next one. It is the bucket of all owners, so `down` of the last task leaves it: only who
        sweeps says that nobody works here any more."""
        left: list[Resource] = []
        sharing = False
        for region in found.regions(self._clients):
            clients = self._clients.at(region)
            sharing = sharing or found.shares_a_role(clients)
            marked = found.unclaimed(clients)
            for task_id in dict.fromkeys(task_id for _, task_id in marked):
                need = Need(region=region)
                spec = TaskSpec(
                    id=task_id, name=task_id, owner="", kind="job", created=0, on="aws", processes=(), need=need
                )
                parts = reversed(self.resources(spec, None))
                left += [one for one in parts if (one.kind, task_id) in marked]
            bucket = EmptyBucket(clients, Place.of(clients, "").bucket)
            if bucket.read() and not found.tasks(clients):
                left.append(bucket)
        if not sharing:
            left += found.shared_role(self._clients)
        return left

    def inherited(self, region: str, name: str, container: str) -> predecessor.Remains | None:
        """Whatever bears the task's identifier."""
        found = predecessor.Remains(self._clients.at(region), name, container)
        return found if found.resources else None

    def observe(self, handle: Handle) -> Observation:
        """What the agents say, corrected by what the group has."""
        records, clients = Records(Store(handle.store)), self._clients.at(handle.region)
        spec, group = records.spec(), describe_group(clients, handle.id)
        if spec is None:
            return observation(None, (), group, time.time())
        words = [word for rank in range(spec.parallelism) if (word := _word(handle, rank)) is not None]
        events = self._events(records, handle, words)
        if size(group) and not instances(group) and (trouble := self._trouble(clients, handle.id)) is not None:
            events = (*events, Event(time=time.time(), code="launch-failed", text=trouble))
        machines = [_alive(machine, lease) for machine, lease in words]
        self._add_addresses(clients, [one for one in machines if one.state in ALIVE and one.holder in instances(group)])
        return observation(spec, machines, group, time.time(), events=events, deadline=records.deadline())

    def _events(self, records: Records, handle: Handle, words: Sequence[_Word]) -> tuple[Event, ...]:
        """Asked for when a machine has a new word, as it has after each event: to list them costs as much as twelve
        other requests, and who waits for a task looks all the time."""
        said = msgspec.json.encode([machine for machine, _ in words])
        if self._heard.get(handle.id, (b"", ()))[0] != said:
            self._heard[handle.id] = (said, records.events())
        return self._heard[handle.id][1]

    def _add_addresses(self, clients: Clients, machines: Sequence[Machine]) -> None:
        """Asked once for each machine; where it may not be asked, there is none to be seen."""
        new = [one.holder for one in machines if one.holder not in self._addresses]
        self._addresses |= public_addresses(clients, new)
        for machine in machines:
            machine.public_address = self._addresses.get(machine.holder, "")

    def _trouble(self, clients: Clients, group: str) -> str | None:
        """Why the group gets no machine."""
        refusal = self._refusal(clients, group)
        return str(refusal) if refusal is not None else None

    def _refusal(self, clients: Clients, group: str) -> LoftyError | None:
        """Why the group got no machine when it last tried."""
        with translated("look at the group's activities"):
            answer = clients.autoscaling.describe_scaling_activities(AutoScalingGroupName=group, MaxRecords=5)
        for activity in answer["Activities"]:
            if activity["StatusCode"] == "Failed":
                said = activity.get("StatusMessage", "")
                return meaning_of_activity(said) or CloudError(said or "the machine could not be started")
        return None

    def scale(self, handle: Handle, machines: int, deadline: float | None) -> Handle:
        """The deadline first; then as many machines as are asked for."""
        clients, records = self._clients.at(handle.region), Records(Store(handle.store))
        if machines:
            if deadline is None:
                raise CloudError("a machine of AWS needs a deadline", hint="--timeout 24h")
            records.put_deadline(deadline)
            states.show_deadline(Store(Place.at(handle).states), deadline)
            spec = records.spec()
            if spec is not None and spec.need.fallback:
                self._choose_market(clients, handle.id, records)
            at = datetime.fromtimestamp(deadline + LEAD, UTC)
            with _finished(handle), translated("set the deadline"):
                clients.autoscaling.put_scheduled_update_group_action(
                    AutoScalingGroupName=handle.id,
                    ScheduledActionName=DEADLINE,
                    StartTime=at,
                    MinSize=0,
                    MaxSize=0,
                    DesiredCapacity=0,
                )
        try:
            with translated("set the number of machines"):
                clients.autoscaling.update_auto_scaling_group(
                    AutoScalingGroupName=handle.id, MinSize=0, MaxSize=machines, DesiredCapacity=machines
                )
        except Gone:
            if machines:
                raise
        except CloudError as error:
            if machines or code_of(error) not in GOING:
                raise
        return handle

    def _choose_market(self, clients: Clients, name: str, records: Records) -> None:
        """Spot where a task begins; on demand for the machines that it still lacks, when there were none of those."""
        group = describe_group(clients, name)
        if group is None:
            return
        wanted, there = int(group["DesiredCapacity"]), len(group["Instances"])
        dry = wanted > there and isinstance(self._refusal(clients, name), CapacityError)
        if wanted and not dry:
            return
        if not set_market(clients, group, on_demand=dry):
            return
        text = "no spot machine is to be had: from now on on demand" if dry else "spot machines again"
        records.add_event(Event(time=time.time(), code="on-demand" if dry else "spot", text=text))

    def _spec(self, handle: Handle) -> TaskSpec | None:
        """Read once: it is frozen, and who holds a way open asks for it all the time."""
        if handle.store not in self._specs and (spec := Records(Store(handle.store)).spec()) is not None:
            self._specs[handle.store] = spec
        return self._specs.get(handle.store)

    def logs(self, handle: Handle, cursor: Cursor) -> Iterator[tuple[LogLine, Cursor]]:
        """The segments that the agents write."""
        yield from Records(Store(handle.store)).log(cursor)

    def reach(self, handle: Handle, port: int, rank: int = 0) -> Endpoint:
        """By ssh, from the address that asks now and from no other. Not where a tunnel is the way: then nobody is let
        in."""
        spec = self._spec(handle)
        if spec is not None and spec.tunnel:
            raise Unsupported(f"machines of '{spec.name}' let nobody in: --tunnel", hint=f"lofty url {spec.name}")
        word = _word(handle, rank)
        if word is None or not (word[0].state in ALIVE or word[0].kept) or not word[0].host_key:
            raise Unavailable("there is no machine at the moment", hint="lofty ls", retry_after=2)
        machine = word[0]
        clients = self._clients.at(handle.region)
        with translated("look at the machine"):
            seen = clients.ec2.describe_instances(InstanceIds=[machine.holder])["Reservations"]
        found: dict[str, Any] = next((one["Instances"][0] for one in seen), {})
        address = found.get("PublicIpAddress")
        inside = spec is not None and spec.need.subnets and found.get("PrivateIpAddress")
        if not address and not inside:
            raise CloudError(f"{machine.holder} has no public address", hint="lofty check --on aws", retry_after=2)
        # Into a network of the person's own without public addresses leads a way of the person's own.
        here = mine(clients.endpoint) if address else towards(str(inside))
        address = address or str(inside)
        SecurityGroup(clients, handle.id, {}).let_in(here)
        return Endpoint(how="ssh", host=address, port=port, user=machine.user, host_key=machine.host_key)


def _identity(clients: Clients, place: Place, task: TaskSpec) -> tuple[roles.Identity, Sequence[Resource]]:
    """What the machines are, and what has to be made for it."""
    if task.role:
        identity, one = roles.given(clients, task.role)
        return identity, [one]
    tags, identity = tags_of(task), roles.Identity(place.role)
    group = policy.group_arn(place.region, place.account, place.id, clients.partition)
    document = policy.machine_policy(place.bucket, (place.prefix, place.shown), group, task.container)
    role = roles.TaskRole(clients, place.role, tags, document, identity, may_share=not task.container)
    return identity, [role, roles.TaskProfile(clients, place.role, tags, identity)]


def _word(handle: Handle, rank: int) -> _Word | None:
    """The machine that has the lease, or had it last, and that lease; None where there was none yet."""
    lease = states.lease(Store(Place.at(handle).states), rank)
    machine = Records(Store(handle.store)).machine(lease.machine) if lease is not None else None
    return (machine, lease) if machine is not None and lease is not None else None


def _alive(machine: Machine, lease: states.Lease) -> Machine:
    """With its last sign of life."""
    return msgspec.structs.replace(machine, heartbeat=max(machine.heartbeat or 0.0, lease.renewed))


@contextmanager
def _finished(handle: Handle) -> Iterator[None]:
    """Around what needs the group, which is made last."""
    try:
        yield
    except Gone as error:
        name = handle.id.removeprefix("lofty-").rpartition("-")[0]
        raise CloudError(f"'{name}' was never finished", hint=f"lofty down {name} --discard") from error


def _placed(record: Record) -> Record:
    """Its region in what was asked for: where there is no offer, that is what names its things."""
    if record.spec is None:
        return record
    need = msgspec.structs.replace(record.spec.need, region=record.handle.region)
    return msgspec.structs.replace(record, spec=msgspec.structs.replace(record.spec, need=need))
