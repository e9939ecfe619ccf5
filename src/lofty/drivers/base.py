"""The seam between lofty and a cloud: eight methods, values in and values out.

A driver never sleeps, retries, prints or reads the environment. Order, undo, retry and time belong to the engine;
settings come in through the constructor. What is true for every driver is written down as tests in
`lofty.testing.contract`, which each driver's own tests inherit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol, runtime_checkable

import msgspec

from ..model.spec import Need, TaskSpec
from ..model.state import Cursor, Endpoint, Finding, Handle, LogLine, Observation, Offer, Record

Feature = Literal["spot", "fallback", "gpus", "parallelism", "in-place", "ssh", "regions", "billed"]
"""spot: cheap machines that may be taken away · fallback: machines on demand where there is none of those · gpus ·
parallelism: more than one machine a task ·
in-place: the machine is this computer, so it can work directly in the user's directory ·
ssh: machines are reached through it, and a person can have a shell on one · regions ·
billed: machines cost money, so a deadline and an idle rule are on unless refused."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a driver is told instead of reading the environment."""

    home: str
    """Where lofty keeps its state on this computer."""
    cache: str
    """Where lofty keeps what can be made again."""
    region: str = ""
    environ: dict[str, str] = {}
    """The variables that a machine's processes inherit where the machine is this computer."""


class Resource(Protocol):
    """One object in a cloud. Creating what exists and deleting what is gone are both successes."""

    kind: str
    """`store` for the one that is the task's object store prefix; otherwise the cloud's own word."""
    name: str
    """As the cloud knows it; of the store, its URL."""

    def read(self) -> bool:
        """Whether it exists."""

    def create(self) -> None:
        """Make it, with owner, expiry and task in the create call itself."""

    def delete(self) -> None:
        """Remove it and all that is in it."""


@runtime_checkable
class Noted(Protocol):
    """What a resource has besides, that may turn out otherwise than asked for."""

    @property
    def notes(self) -> Sequence[str]:
        """What the person has to know, once it was made."""


class Driver(Protocol):
    """One cloud, or this computer."""

    name: str
    features: frozenset[Feature]

    def check(self) -> Sequence[Finding]:
        """What works and what does not, each with a hint; read-only, never raises for missing credentials."""

    def offers(self, need: Need) -> Sequence[Offer]:
        """Machines that fit, cheapest first. Raises `SpecError` for words it does not know."""

    def resources(self, task: TaskSpec, offer: Offer | None) -> Sequence[Resource]:
        """Everything the task needs, in creation order. Pure: same input, same names; no call leaves.
        Without an offer the resources can be read and deleted, which needs names only."""

    def find(self, owner: str) -> Sequence[Record]:
        """Every task of an owner, whoever made it and from wherever."""

    def observe(self, handle: Handle) -> Observation:
        """The task as it is now; defined at every moment, before creation and after deletion included."""

    def scale(self, handle: Handle, machines: int, deadline: float | None) -> Handle:
        """Set how many machines the task has, and the deadline that the cloud itself enforces, which is set first.
        Idempotent; 0 stops paying for machines; the present number with another deadline is `extend`. Where the need
        has `fallback`, asking again for machines that there were no spot machines for gets them on demand."""

    def logs(self, handle: Handle, cursor: Cursor) -> Iterator[tuple[LogLine, Cursor]]:
        """Lines from the cursor on that are there now, each with the cursor behind it: no gap, no repeat,
        also after the machine is gone."""

    def reach(self, handle: Handle, port: int, rank: int = 0) -> Endpoint:
        """How that port of the machine of that rank is reached; never opens anything to the public. Raises
        `Unavailable` while there is no such machine, or it has not published its host key yet."""


@runtime_checkable
class Unclaimed(Protocol):
    """What a driver has besides, whose cloud can hold things of lofty that no task's record leads to: what all tasks of
    an account share, and what was made so short before a computer died that `down` did not see it yet."""

    def unclaimed(self) -> Sequence[Resource]:
        """Such things of the account, whoever made them, in the order in which they can be deleted. What is shared is
        among them only while there is no task at all."""


@runtime_checkable
class Heir(Protocol):
    """What a driver has besides, on whose cloud the predecessor may have left something."""

    def inherited(self, region: str, name: str, container: str) -> Inherited | None:
        """A task of the predecessor's by its identifier; None where nothing is left of it. `container`: the URL of its
        directory, where that lies in a place of the person's own, and stays."""


class Inherited(Protocol):
    """A task that the predecessor has made: nobody makes such ones any more."""

    files: str
    """The URL of them, an object each."""
    resources: Sequence[Resource]
    """What is left of it, in the order of creation."""

    def observe(self) -> Observation:
        """Its machines that are there, those that have reported an end, and what has happened."""

    def logs(self) -> list[str]:
        """What each of its machines has said."""


DriverFactory = Callable[[Settings], Driver]
"""What a registry entry names: a callable that makes the driver from settings."""


class MachineSide(Protocol):
    """A driver's few lines that run on the machine, beside the agent."""

    def identity(self) -> str:
        """Which machine of the task this is."""

    def notice(self) -> str | None:
        """Why the cloud is about to take this machine away; None while it is not."""

    def end(self) -> None:
        """Have the cloud remove this machine, or the whole group, for good; nothing where there is no cloud."""
