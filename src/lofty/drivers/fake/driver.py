"""The driver of the cloud in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...errors import LoftyError
from ...model.spec import Need, TaskSpec
from ...model.state import (
    Cursor,
    Endpoint,
    Finding,
    Handle,
    LogLine,
    Observation,
    Offer,
    Record,
    combined,
    latest_start,
    machine_seconds,
)
from ..base import Feature, Resource, Settings
from . import catalogue
from .cloud import Cloud
from .resources import FakeResource, FakeStore


class FakeDriver:
    """One computer's view of a `Cloud`."""

    name = "fake"
    features: frozenset[Feature] = frozenset({"spot", "gpus", "parallelism", "regions", "billed"})

    def __init__(self, settings: Settings, cloud: Cloud | None = None) -> None:
        self.cloud = cloud or Cloud.at(settings.home)
        if self.cloud.address:
            self.features = self.features | {"ssh"}

    def check(self) -> Sequence[Finding]:
        """Whether the cloud lets us in."""
        try:
            with self.cloud.lock:
                self.cloud.strike("check")
        except LoftyError as error:
            return [Finding(ok=False, what=str(error), hint=error.hint or "")]
        return [Finding(ok=True, what=f"{self.cloud.name} answers")]

    def offers(self, need: Need) -> Sequence[Offer]:
        """From a table of prices with a date, in every region."""
        wanted = catalogue.wanted(need)
        with self.cloud.lock:
            self.cloud.strike("offers")
        fitting = [offer for offer in catalogue.machines(spot=need.spot) if wanted(offer)]
        return sorted(fitting, key=lambda offer: (offer.usd_per_hour, offer.region, offer.machine))

    def resources(self, task: TaskSpec, offer: Offer | None) -> Sequence[Resource]:
        """The store, the role that may use it, and the scaling group that has the role."""
        return [
            FakeStore(self.cloud, task),
            FakeResource(self.cloud, task, "role"),
            FakeResource(self.cloud, task, "group", needs="role"),
        ]

    def find(self, owner: str) -> Sequence[Record]:
        """By tag, over all kinds of objects: a task of which only a role is left is found too."""
        with self.cloud.lock:
            self.cloud.strike("find")
            names = self.cloud.tagged(owner)
            return [
                Record(handle=self._handle(name), spec=self.cloud.records(name).spec(), seen=self._seen(name))
                for name in names
            ]

    def _handle(self, task_id: str) -> Handle:
        return Handle(driver=self.name, region="north-1", id=task_id, store=self.cloud.store_url(task_id))

    def observe(self, handle: Handle) -> Observation:
        """What the cloud's machines and the task's records say together."""
        with self.cloud.lock:
            self.cloud.strike("observe")
            return self._seen(handle.id)

    def _seen(self, task_id: str) -> Observation:
        records = self.cloud.records(task_id)
        if records.spec() is None:
            return Observation(state="gone")
        machines, deadline = self.cloud.look(task_id) or ([], None)
        newest = latest_start(machines)
        return Observation(
            state=combined(newest),
            machines=newest,
            events=records.events(),
            machine_seconds=machine_seconds(machines, self.cloud.now()),
            deadline=deadline,
        )

    def scale(self, handle: Handle, machines: int, deadline: float | None) -> Handle:
        """Set the group's size; its deadline is the cloud's to keep."""
        with self.cloud.lock:
            self.cloud.strike("scale")
            self.cloud.scale(handle.id, machines, deadline)
            self.cloud.strike("scale", after=True)
        return handle

    def logs(self, handle: Handle, cursor: Cursor) -> Iterator[tuple[LogLine, Cursor]]:
        """From the store, which outlives the machines."""
        with self.cloud.lock:
            self.cloud.strike("logs")
        yield from self.cloud.records(handle.id).log(cursor)

    def reach(self, handle: Handle, port: int, rank: int = 0) -> Endpoint:
        """The address that was handed in; otherwise as if a tunnel ended here."""
        with self.cloud.lock:
            self.cloud.strike("reach")
            return self.cloud.address or Endpoint(how="loopback", host="127.0.0.1", port=port)
