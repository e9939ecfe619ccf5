"""Names to drivers, loaded when used."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest

from lofty.drivers import registry
from lofty.drivers.base import Settings
from lofty.drivers.fake.driver import FakeDriver
from lofty.errors import MissingExtra, SpecError
from lofty.testing import Cloud


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=str(tmp_path), cache=str(tmp_path))


@pytest.mark.parametrize("name", sorted(registry.DRIVERS))
def test_every_name_loads_a_driver_of_that_name_and_its_machine_side(settings: Settings, name: str) -> None:
    assert registry.load(name, settings).name == name
    assert callable(registry.load_machine(name).notice)


def test_the_table_is_in_order_and_the_fake_is_not_offered() -> None:
    assert list(registry.DRIVERS) == sorted(registry.DRIVERS)
    assert registry.names() == tuple(sorted(set(registry.DRIVERS) - {"fake"}))


def test_an_unknown_name_is_answered_with_the_nearest(settings: Settings) -> None:
    for load in (lambda: registry.load("loca", settings), lambda: registry.load_machine("loca")):
        with pytest.raises(SpecError, match="did you mean 'local'") as caught:
            load()
        assert caught.value.hint == "lofty check"


def test_a_missing_library_is_answered_with_how_to_install_it(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needy_driver.py").write_text("import a_cloud_sdk_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(registry.DRIVERS, "needy", registry.Entry("needy_driver:Needy", "needy_driver:M"))
    with pytest.raises(MissingExtra, match="a_cloud_sdk_that_is_not_there") as caught:
        registry.load("needy", settings)
    assert caught.value.hint == "pip install 'lofty[needy]'"
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_cloud_is_asked_where_somebody_uses_it(tmp_path: Path) -> None:
    """`lofty ls` of a person without an account asks nobody, and imports nothing for it."""
    nobody = {"HOME": str(tmp_path)}
    assert registry.used(nobody) == ("local",)
    assert registry.used({**nobody, "AWS_PROFILE": "work"}) == ("aws", "local")
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[default]\n")
    assert registry.used(nobody) == ("aws", "local")


def test_a_fault_of_our_own_is_not_taken_for_a_missing_library(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_driver.py").write_text("import lofty.not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(registry.DRIVERS, "broken", registry.Entry("broken_driver:X", "broken_driver:Y"))
    with pytest.raises(ModuleNotFoundError):
        registry.load("broken", settings)


def test_others_add_theirs_by_entry_point(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("theirs", "lofty.drivers.fake.driver:FakeDriver", "lofty.drivers")
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: EntryPoints([point]))
    assert "theirs" in registry.names()
    assert isinstance(registry.load("theirs", settings), FakeDriver)


def test_no_driver_is_imported_before_it_is_used() -> None:
    code = "import sys, lofty.drivers.registry as r; r.names(); print([m for m in sys.modules if 'drivers.' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "['lofty.drivers.registry']"


def test_the_fake_of_a_home_is_one_cloud(settings: Settings) -> None:
    first, second = (registry.load("fake", settings) for _ in range(2))
    assert isinstance(first, FakeDriver)
    assert isinstance(second, FakeDriver)
    assert first.cloud is second.cloud is Cloud.at(settings.home)
