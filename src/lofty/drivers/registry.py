"""Names to drivers. The only place that names them, and it does so in strings: nothing is imported before use.

Others add theirs through the entry-point group `lofty.drivers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from ..errors import MissingExtra, SpecError, Unsupported, unknown_choice

if TYPE_CHECKING:
    from collections.abc import Callable

    from .base import Driver, DriverFactory, MachineSide, Settings


class Entry(NamedTuple):
    """Where a driver lies."""

    factory: str
    machine: str
    signs: Signs | None = None
    """How to tell, without a request and without its libraries, that a person uses that cloud; None: always."""


class Signs(NamedTuple):
    """What a cloud's own tools leave on a computer where somebody is logged in."""

    package: str
    """The library that its driver needs."""
    variables: tuple[str, ...]
    files: tuple[str, ...]

    def seen(self, environ: Mapping[str, str]) -> bool:
        """Whether there is any of it, and the library."""
        home = Path(environ.get("HOME") or Path.home())
        used = any(environ.get(name) for name in self.variables) or any((home / name).is_file() for name in self.files)
        return used and find_spec(self.package) is not None


AWS = Signs(
    "boto3",
    ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
    (".aws/credentials", ".aws/config"),
)
DRIVERS: dict[str, Entry] = {
    "aws": Entry("lofty.drivers.aws.driver:AwsDriver", "lofty.drivers.aws.machine:AwsMachine", AWS),
    "fake": Entry("lofty.drivers.fake.driver:FakeDriver", "lofty.drivers.fake.machine:FakeMachine"),
    "local": Entry("lofty.drivers.local.driver:LocalDriver", "lofty.drivers.local.machine:LocalMachine"),
}
POLICIES: dict[str, str] = {"aws": "lofty.drivers.aws.policy:client_policy"}
"""Callables that give the least rights a person needs on a cloud, in that cloud's own form."""
HIDDEN = frozenset({"fake"})
"""Known, but not offered to people: for tests."""


def names() -> tuple[str, ...]:
    """The drivers a person may name."""
    return tuple(sorted((set(DRIVERS) | set(_plugins())) - HIDDEN))


def used(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The drivers that a person with this environment may have tasks with."""
    entries = {name: _entry(name) for name in names()}
    return tuple(name for name, entry in entries.items() if entry.signs is None or entry.signs.seen(environ))


def load(name: str, settings: Settings) -> Driver:
    """The driver of that name, made from settings. Raises `SpecError` for an unknown name and `MissingExtra`,
    with the command to install it, when its libraries are not there."""
    factory = cast("DriverFactory", _attribute(name, _entry(name).factory))
    return factory(settings)


def load_machine(name: str) -> MachineSide:
    """The part of a driver that runs on the machine."""
    machine = cast("type[MachineSide]", _attribute(name, _entry(name).machine))
    return machine()


def policy(name: str) -> dict[str, object]:
    """The least rights that a person needs on a cloud, in its own form. `Unsupported` where there is no such thing."""
    if name not in POLICIES:
        known = ", ".join(sorted(POLICIES))
        raise Unsupported(f"'{name}' has no policy to print", hint=f"lofty check --policy --on {known}")
    return cast("Callable[[], dict[str, object]]", _attribute(name, POLICIES[name]))()


def _entry(name: str) -> Entry:
    entry = DRIVERS.get(name) or _plugins().get(name)
    if entry is None:
        raise SpecError(unknown_choice("cloud", name, names()), hint="lofty check")
    return entry


def _plugins() -> dict[str, Entry]:
    from importlib.metadata import entry_points

    found: dict[str, Entry] = {}
    for point in entry_points(group="lofty.drivers"):
        module = point.value.partition(":")[0]
        found[point.name] = Entry(point.value, f"{module}:Machine")
    return found


def _attribute(name: str, path: str) -> object:
    module, _, attribute = path.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        if error.name and error.name.startswith("lofty"):
            raise
        raise MissingExtra(
            f"'{name}' needs the package {error.name}, which is not installed", hint=f"pip install 'lofty[{name}]'"
        ) from error
