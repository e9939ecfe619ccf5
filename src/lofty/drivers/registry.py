"""Names to drivers. The only place that names them, and it does so in strings: nothing is imported before use.

Others add theirs through the entry-point group `lofty.drivers`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, cast

from ..errors import MissingExtra, SpecError, unknown_choice

if TYPE_CHECKING:
    from .base import Driver, DriverFactory, MachineSide, Settings


class Entry(NamedTuple):
    """Where a driver lies, and what to install when importing it fails."""

    factory: str
    machine: str
    install: str = ""


DRIVERS: dict[str, Entry] = {
    "fake": Entry("lofty.drivers.fake:FakeDriver", "lofty.drivers.fake:FakeMachine"),
    "local": Entry("lofty.drivers.local.driver:LocalDriver", "lofty.drivers.local.machine:LocalMachine"),
}
HIDDEN = frozenset({"fake"})
"""Known, but not offered to people: for tests."""


def names() -> tuple[str, ...]:
    """The drivers a person may name."""
    return tuple(sorted((set(DRIVERS) | set(_plugins())) - HIDDEN))


def load(name: str, settings: Settings) -> Driver:
    """The driver of that name, made from settings. Raises `SpecError` for an unknown name and `MissingExtra`,
    with the command to install it, when its libraries are not there."""
    factory = cast("DriverFactory", _attribute(name, _entry(name).factory))
    return factory(settings)


def load_machine(name: str) -> MachineSide:
    """The part of a driver that runs on the machine."""
    machine = cast("type[MachineSide]", _attribute(name, _entry(name).machine))
    return machine()


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
        install = _entry(name).install or f"pip install 'lofty[{name}]'"
        raise MissingExtra(f"'{name}' needs the package {error.name}, which is not installed", hint=install) from error
