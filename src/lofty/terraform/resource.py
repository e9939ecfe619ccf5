"""The seam to what terraform manages: what a resource and a data source are, as plain blocking Python.

Methods run in threads of their own, several at once. They raise `LoftyError`, whose message becomes the summary and
whose hint the detail of what terraform shows; `diagnostics.Refused` names several places at once. Values are those of
`schema.Value`; a missing key in what a method gives counts as nothing set.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, Literal

import msgspec

from ..errors import LoftyError, Unsupported
from .diagnostics import Diagnostic, Path
from .schema import Schema, Values

Operation = Literal["create", "read", "update", "delete"]
Level = Literal["trace", "debug", "info", "warn", "error"]


class Call:
    """One question of terraform's, while it is being answered."""

    def __init__(
        self,
        *,
        cancelled: threading.Event,
        timeout: float | None = None,
        private: bytes = b"",
        say: Callable[[Level, str], None] = lambda level, text: None,
    ) -> None:
        self.cancelled = cancelled
        """Set once the person has pressed Ctrl-C: end soon, and raise `Partial` with what exists."""
        self.timeout = timeout
        """Seconds that this may take, from the `timeouts` block or the resource's own; None: no limit."""
        self.private = private
        """What the resource left here in its last call, kept by terraform beside the state; may be set anew."""
        self.say = say
        """A line of the log, which a person sees with TF_LOG_PROVIDER set. Never a secret."""
        self.warnings: list[Diagnostic] = []

    def warn(self, summary: str, detail: str = "", path: Path = ()) -> None:
        """Shown to the person whether the call succeeds or not."""
        self.warnings.append(Diagnostic(summary, detail, path, "warning"))


class Plan(msgspec.Struct, kw_only=True):
    """What would come out, and what makes a new resource necessary."""

    values: Values
    replace: list[Path] = []


class Partial(LoftyError):
    """Something went wrong when something existed already: terraform keeps this state, and marks a resource that was
    being created for replacement. What the state does not name is as it was planned, or as it was where it was to be
    deleted; what was not known yet is None."""

    def __init__(self, state: Values, error: Exception) -> None:
        super().__init__(str(error))
        self.state = state
        self.error = error


class Resource:
    """Something that terraform makes, changes and removes."""

    name: str
    schema: Schema
    timeouts: ClassVar[Mapping[Operation, float]] = {}
    """Seconds that each may take unless the person says otherwise. Those named here can be set in a block `timeouts`,
    which is added to the schema."""

    def validate(self, config: Values) -> Iterable[Diagnostic]:
        """What is wrong with a configuration as a whole; single attributes have been asked already. Values may be
        UNKNOWN. Without a network and without credentials."""
        return ()

    def plan(self, call: Call, prior: Values | None, config: Values, proposed: Plan) -> Plan:
        """What would come out. `proposed` is right as far as the schema tells: defaults are filled in; when created
        (`prior` is None) or replaced, what is computed is UNKNOWN; when changed in place, it stays as it was, and this
        is where to say `UNKNOWN` of what will be different. Not asked when a resource is to be destroyed."""
        return proposed

    def create(self, call: Call, planned: Values) -> Values:
        """Make it, and give its state, where nothing is UNKNOWN."""
        raise NotImplementedError

    def read(self, call: Call, state: Values) -> Values | None:
        """Its state now; None when it is gone, so that it will be created again. Where that cannot be found out,
        `call.warn` and the state as it was."""
        raise NotImplementedError

    def update(self, call: Call, prior: Values, planned: Values) -> Values:
        """Change it in place, and give its state."""
        raise NotImplementedError

    def delete(self, call: Call, state: Values) -> None:
        """Remove it; gone already is a success."""
        raise NotImplementedError

    def import_(self, call: Call, id: str) -> Values:  # noqa: A002 (terraform's word)
        """Its state as far as the identifier tells; `read` is asked for the rest right after."""
        raise Unsupported(f"{self.name} cannot be imported")

    def upgrade(self, call: Call, version: int, state: dict[str, Any]) -> Values:
        """A state from the file, written under this or an earlier version of the schema or by another provider, as
        JSON gave it. Names that the schema does not have are dropped afterwards."""
        return state

    def move(self, call: Call, source: str, type_name: str, version: int, state: dict[str, Any]) -> Values:
        """The state of another provider's resource as one of this kind, for a `moved` block. `source` is that
        provider's address, `registry.terraform.io/NAMESPACE/NAME`."""
        raise Unsupported(f"{type_name} cannot become {self.name}")


class DataSource:
    """Something that terraform looks up."""

    name: str
    schema: Schema

    def validate(self, config: Values) -> Iterable[Diagnostic]:
        """As for a resource."""
        return ()

    def read(self, call: Call, config: Values) -> Values:
        """Everything, with the arguments as they were given."""
        raise NotImplementedError
