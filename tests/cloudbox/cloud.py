"""`Cloudbox`: everything together, started and ended as one."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import boto3

from tests.cloudbox.account import Account
from tests.cloudbox.api import Api, Call, Strike
from tests.cloudbox.catalogue import REGION
from tests.cloudbox.compute import Compute, Life
from tests.cloudbox.conditions import Conditions
from tests.cloudbox.groups import Groups
from tests.cloudbox.index import Index
from tests.cloudbox.machines import Machine, Park
from tests.cloudbox.metadata import Metadata
from tests.cloudbox.network import GATEWAY, Network
from tests.cloudbox.protocol import Lost, Refused
from tests.cloudbox.rules import Rules
from tests.cloudbox.services import Services

_TICK = 0.1
_only = threading.Lock()


@dataclass(frozen=True)
class Seen:
    """One instance as it was when it was looked at."""

    id: str
    state: str
    group: str
    private: str
    public: str
    type: str
    zone: str
    market: str
    console: str


class Handle:
    """What a test can do to one instance, which no client of the cloud can."""

    def __init__(self, cloud: Cloudbox, life: Life) -> None:
        self._cloud, self._life = cloud, life

    def cut(self) -> None:
        """Power failure; the cloud notices after `rules.failure_noticed`."""
        with self._cloud.account.lock:
            self._cloud.compute.cut(self._life)

    def reboot(self) -> None:
        """Restart in order, with the same disk; back when it is up again as far as its init."""
        machine = self._machine()
        before = machine.leader()
        machine.reboot()
        machine.wait_other_init(before, 30)

    def notice(self, seconds: float = 2.0) -> None:
        """Announce a spot interruption and carry it out so many seconds later."""
        with self._cloud.account.lock:
            self._cloud.compute.notice(self._life, seconds)

    def rebalance(self) -> None:
        """Recommend to move elsewhere; a group with CapacityRebalance starts another machine first."""
        with self._cloud.account.lock:
            self._cloud.compute.rebalance(self._life)

    def off_network(self) -> None:
        """Pull the network cable."""
        self._machine().off_network()

    def on_network(self) -> None:
        """Put it back."""
        self._machine().on_network()

    def run(self, command: str, timeout: float = 30) -> str:
        """A shell command's output, run on the machine as root."""
        return self._machine().run(command, timeout)

    @property
    def seen(self) -> Seen:
        """How it is now."""
        return self._cloud.look(self._life)

    def _machine(self) -> Machine:
        if self._life.machine is None:
            raise RuntimeError(f"{self._life.id} has no machine: it is {self._life.state}")
        return self._life.machine


class Cloudbox:
    """A cloud of one account, for as long as the block lasts.

        with Cloudbox(wheels=folder) as cloud, cloud.inside():
            lofty.ok("lab", "--cloud", "aws", **cloud.environ)
            first = cloud.machines()[0]
            cloud.machine(first.id).notice(2)
            ...
            lofty.ok("down", "--all", "-y", **cloud.environ)
            assert cloud.leftovers() == ["bucket ..."]

    With machines it lives in a network of its own: whatever talks to it has to be started, or to run, in
    `with cloud.inside():`. Without, the API listens on loopback, and instances are only told about.
    One at a time in a process, since moto's state belongs to the process.
    """

    def __init__(self, *, machines: bool = True, cloud_init: bool = False, wheels: Path | None = None) -> None:
        self.account = Account()
        self._network = Network() if machines else None
        self._park = Park(self._network, cloud_init=cloud_init) if self._network else None
        self.compute = Compute(self.account, self._park)
        self.groups = Groups(self.account, self.compute)
        services = Services(self.account, self.compute, self.groups)
        self._api = Api(self.account, self.groups, services, Conditions(self.account, self.compute))
        self._person = self.account.keys.person()
        self._wheels = wheels
        self._index: Index | None = None
        self._metadata: Metadata | None = None
        self._stop = threading.Event()
        self._clock = threading.Thread(target=self._tick, daemon=True, name="cloud")
        self._url = ""

    def __enter__(self) -> Self:
        if not _only.acquire(blocking=False):
            raise RuntimeError("one cloud at a time")
        try:
            self.account.reset()
            host = GATEWAY if self._network else "127.0.0.1"
            if self._network and self._park:
                self._network.start()
                self._park.open()
                os.environ["LT_GUARD_NETWORK"] = self._network.identity
                self._metadata = Metadata(self.account, self.compute, self._network)
                self._metadata.start()
            with self.inside():
                self._url = f"http://{host}:{self._api.start(host)}"
                if self._wheels:
                    self._index = Index(self._wheels, host)
            self._clock.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        problems = list(self._api.problems)
        self._end()
        if problems and kind is None:
            raise RuntimeError("the cloud itself failed:\n" + "\n".join(problems))

    def _end(self) -> None:
        try:
            self._stop.set()
            if self._clock.ident:
                self._clock.join()
            self._api.stop()
            with self.account.lock:
                self.compute.close()
            for part in (self._metadata, self._index, self._park):
                if part:
                    part.close() if isinstance(part, Park) else part.stop()
            os.environ.pop("LT_GUARD_NETWORK", None)
            if self._network:
                self._network.stop()
        finally:
            _only.release()

    def _tick(self) -> None:
        while not self._stop.wait(_TICK):
            try:
                with self.account.lock:
                    self.compute.tick()
                    self.groups.scaling.tick()
            except Exception:
                self._api.problems.append(traceback.format_exc())

    # For whoever talks to it

    @property
    def environ(self) -> dict[str, str]:
        """A person's environment."""
        host = self._url.partition("://")[2].partition(":")[0]
        environ = {
            "AWS_ACCESS_KEY_ID": self._person.id,
            "AWS_SECRET_ACCESS_KEY": self._person.secret,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self._url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": f"{host},127.0.0.1,localhost",
            "no_proxy": f"{host},127.0.0.1,localhost",
        }
        if self._network:
            environ["LT_GUARD_NETWORK"] = self._network.identity
        return environ

    def session(self, seconds: float) -> dict[str, str]:
        """A person's environment whose credentials end after so many seconds."""
        key = self.account.keys.session(seconds)
        mine = {"AWS_ACCESS_KEY_ID": key.id, "AWS_SECRET_ACCESS_KEY": key.secret, "AWS_SESSION_TOKEN": key.session}
        return {**self.environ, **mine}

    @property
    def url(self) -> str:
        """Where the API listens."""
        return self._url

    @property
    def index_url(self) -> str:
        """Where machines find the wheels of the folder that was given."""
        if self._index is None:
            raise RuntimeError("no folder of wheels was given")
        return self._index.url

    def client(self, service: str, **options: Any) -> Any:
        """boto3's client for the person; to be used inside. It tries once, so that what is refused is seen."""
        from botocore.config import Config

        return boto3.client(
            service,
            **{
                "endpoint_url": self._url,
                "aws_access_key_id": self._person.id,
                "aws_secret_access_key": self._person.secret,
                "region_name": REGION,
                "config": Config(retries={"total_max_attempts": 1}, proxies={}),
                **options,
            },
        )

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """This thread, and processes that it starts, are in the cloud's network; without machines, where they were."""
        with self._network.inside() if self._network else contextlib.nullcontext():
            yield

    # What a test may turn

    @property
    def rules(self) -> Rules:
        """The switches."""
        return self.account.rules

    @property
    def calls(self) -> list[Call]:
        """Every request since the last reset."""
        return self._api.calls

    @property
    def problems(self) -> list[str]:
        """What went wrong in the cloud itself since the last reset; a mistake of ours, not of a client."""
        return self._api.problems

    def at_call(self, number: int, do: Callable[[Call], object], *, match: str = "", after: bool = False) -> None:
        """Call back at the n-th request from now whose `service:Operation` has the pattern in it: before it has an
        effect, or after, when its answer is not out yet. What is raised there is what the client gets."""
        self._api.strike(Strike(re.compile(match), number, after, do))

    def fail(
        self,
        number: int,
        *,
        match: str = "",
        after: bool = False,
        code: str = "InternalFailure",
        message: str = "struck",
        status: int = 500,
    ) -> None:
        """Refuse the n-th request; with `after` what it asked for was done all the same."""

        def refuse(_: Call) -> None:
            raise Refused(code, message, status)

        self.at_call(number, refuse, match=match, after=after)

    def lose(self, number: int, *, match: str = "", after: bool = True) -> None:
        """End the connection of the n-th request without an answer."""

        def lose(_: Call) -> None:
            raise Lost

        self.at_call(number, lose, match=match, after=after)

    def calm(self) -> None:
        """Forget the strikes that have not come yet."""
        self._api.calm()

    def writing(self, bucket: str, key: str) -> contextlib.AbstractContextManager[bool]:
        """While it lasts somebody else is writing this object: a conditional write of it conflicts."""
        return self._api.in_flight(bucket, key)

    # What a test may see

    def machines(self, group: str = "") -> list[Seen]:
        """All instances, terminated ones included, oldest first; or a group's."""
        with self.account.lock:
            return [self.look(life) for life in self.compute.lives.values() if group in ("", life.group)]

    def machine(self, identity: str) -> Handle:
        """One instance."""
        return Handle(self, self.compute.lives[identity])

    def look(self, life: Life) -> Seen:
        """An instance as it is now."""
        instance = life.instance
        return Seen(
            life.id,
            life.state,
            life.group,
            instance.private_ip or "",
            instance.public_ip or "",
            instance.instance_type,
            instance.placement.zone,
            life.market,
            life.machine.console() if life.machine else life.console,
        )

    def leftovers(self) -> list[str]:
        """Everything in the account that somebody pays for, or has to clean up."""
        with self.account.lock:
            ec2, iam = self.account.ec2, self.account.iam
            groups = self.groups.scaling.groups.values()
            buckets = self.account.s3.buckets
            return [
                *(f"group {group.name}" for group in groups),
                *(f"scheduled action {group.name}/{name}" for group in groups for name in group.actions),
                *(f"launch template {template.name}" for template in ec2.launch_templates.values()),
                *(
                    f"security group {one.name}"
                    for own in ec2.groups.values()
                    for one in own.values()
                    if one.name != "default"
                ),
                *(f"key pair {name}" for name in ec2.key_pairs),
                *(f"instance {life.id}" for life in self.compute.lives.values() if life.state != "terminated"),
                *(f"volume {volume}" for volume in ec2.volumes),
                *(f"network interface {interface}" for interface in ec2.enis),
                *(f"role {role.name}" for role in iam.roles.values() if not role.path.startswith("/aws-service-role/")),
                *(f"instance profile {name}" for name in iam.instance_profiles),
                *(f"bucket {name}" for name in buckets),
                *(f"object {name}/{key}" for name, bucket in buckets.items() for key in bucket.keys),
                *(
                    f"upload {name}/{part.key_name}"
                    for name, own in buckets.items()
                    for part in own.multiparts.values()
                ),
            ]

    def reset(self) -> None:
        """An empty account under default rules, for the next test."""
        with self.account.lock:
            self.compute.close()
            self.groups.scaling.reset()
            self.account.reset()
            self.account.rules = Rules()
            self._api.reset()
