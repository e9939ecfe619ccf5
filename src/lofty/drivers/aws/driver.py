"""AWS. The task's store is a prefix of a bucket, its machines are an Auto Scaling group of their own: the cloud itself
replaces a lost machine, and a scheduled action made before the first one ends them all at the deadline."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ...errors import CloudError, Unavailable
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
from . import check, found, offers
from .address import mine
from .catalogue import arch_of
from .resources import (
    Agent,
    Bucket,
    EmptyBucket,
    Group,
    Place,
    Profile,
    Role,
    SecurityGroup,
    TaskStore,
    Template,
    describe_group,
)
from .seen import instances, observation, size
from .session import Clients, Gone, code_of, translated
from .tags import tags_of
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
    features: frozenset[Feature] = frozenset({"spot", "gpus", "parallelism", "ssh", "regions", "billed"})

    def __init__(self, settings: Settings) -> None:
        self._clients = Clients(settings.environ, settings.region)
        self._cache = Path(settings.cache)
        self._seen: Sequence[Offer] = ()
        """What was offered last."""
        self._heard: dict[str, tuple[bytes, tuple[Event, ...]]] = {}
        """Events of tasks that were looked at, and what their machines said then."""

    def check(self) -> Sequence[Finding]:
        """Identity, region, permissions, quotas."""
        return check.findings(self._clients, Need())

    def offers(self, need: Need) -> Sequence[Offer]:
        """Cheapest first; of several types that fit, the group takes whichever is to be had."""
        self._seen = offers.offers(self._clients.at(need.region), need)
        return self._seen

    def resources(self, task: TaskSpec, offer: Offer | None) -> Sequence[Resource]:
        """Store, agent, role, door, template, group: whatever a machine needs is there before one can start."""
        clients, tags = self._clients.at(offer.region if offer else task.need.region), tags_of(task)
        place = Place.of(clients, task.id)
        types = self._types(offer)
        arch = arch_of(types[0]) if types else "x86_64"
        return [
            Bucket(clients, place.bucket),
            TaskStore(clients, place, task),
            Agent(clients, place, self._cache, arch),
            Role(clients, place, tags),
            Profile(clients, place.role, tags),
            SecurityGroup(clients, place.id, tags),
            Template(clients, place, task, arch, types, self._cache, gpu=bool(offer and offer.gpus)),
            Group(clients, place, task, types),
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
        for region in found.regions(self._clients):
            clients = self._clients.at(region)
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
        return left

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
        return observation(spec, machines, group, time.time(), events=events, deadline=records.deadline())

    def _events(self, records: Records, handle: Handle, words: Sequence[_Word]) -> tuple[Event, ...]:
        """Asked for when a machine has a new word, as it has after each event: to list them costs as much as twelve
        other requests, and who waits for a task looks all the time."""
        said = msgspec.json.encode([machine for machine, _ in words])
        if self._heard.get(handle.id, (b"", ()))[0] != said:
            self._heard[handle.id] = (said, records.events())
        return self._heard[handle.id][1]

    def _trouble(self, clients: Clients, group: str) -> str | None:
        """Why the group gets no machine."""
        with translated("look at the group's activities"):
            answer = clients.autoscaling.describe_scaling_activities(AutoScalingGroupName=group, MaxRecords=5)
        for activity in answer["Activities"]:
            if activity["StatusCode"] == "Failed":
                told = meaning_of_activity(activity.get("StatusMessage", ""))
                return str(told) if told is not None else activity.get("StatusMessage")
        return None

    def scale(self, handle: Handle, machines: int, deadline: float | None) -> Handle:
        """The deadline first; then as many machines as are asked for."""
        clients, records = self._clients.at(handle.region), Records(Store(handle.store))
        if machines:
            if deadline is None:
                raise CloudError("a machine of AWS needs a deadline", hint="--timeout 24h")
            records.put_deadline(deadline)
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

    def logs(self, handle: Handle, cursor: Cursor) -> Iterator[tuple[LogLine, Cursor]]:
        """The segments that the agents write."""
        yield from Records(Store(handle.store)).log(cursor)

    def reach(self, handle: Handle, port: int, rank: int = 0) -> Endpoint:
        """By ssh, from the address that asks now and from no other."""
        word = _word(handle, rank)
        if word is None or word[0].state not in ALIVE or not word[0].host_key:
            raise Unavailable("there is no machine at the moment", hint="lofty ls", retry_after=2)
        machine = word[0]
        clients = self._clients.at(handle.region)
        with translated("look at the machine"):
            seen = clients.ec2.describe_instances(InstanceIds=[machine.holder])["Reservations"]
        address = next((one["Instances"][0].get("PublicIpAddress") for one in seen), None)
        if not address:
            raise CloudError(f"{machine.holder} has no public address", hint="lofty check --on aws", retry_after=2)
        SecurityGroup(clients, handle.id, {}).let_in(mine(clients.endpoint))
        return Endpoint(how="ssh", host=address, port=port, user=machine.user, host_key=machine.host_key)


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
