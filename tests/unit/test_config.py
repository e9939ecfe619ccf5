"""Options: one table, four places, the nearer to the person wins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lofty import config
from lofty.errors import SpecError


@pytest.fixture
def places(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text('[tool.lofty]\ntimeout = "1h"\nidle = "1m"\nname = "a"\nregion = "r1"\n')
    (tmp_path / "lofty.toml").write_text('timeout = "2h"\nidle = "2m"\nname = "b"\n')
    return tmp_path


def test_argument_before_variable_before_lofty_toml_before_pyproject(places: Path) -> None:
    environ = {"LOFTY_TIMEOUT": "3h", "LOFTY_IDLE": "3m"}
    found = config.resolve("lab", places, {"timeout": "4h"}, environ)
    assert (found.timeout, found.idle, found.name, found.region) == (4 * 3600, 180, "b", "r1")
    assert found.given == {"timeout": "4h", "idle": "3m", "name": "b", "region": "r1"}


def test_what_nobody_asked_for_has_its_default_and_is_not_given(tmp_path: Path) -> None:
    found = config.resolve("run", tmp_path, {"spot": None}, {"LOFTY_TIMEOUT": ""})
    assert found.given == {}
    assert (found.on, found.parallelism, found.timeout, found.spot) == ("local", 1, None, None)


def test_options_of_other_verbs_are_left_alone_where_they_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "lofty.toml").write_text("port = 8888\nparallelism = 3\nmax-price = 1.5\n")
    lab, run = (config.resolve(verb, tmp_path, {}, {}) for verb in ("lab", "run"))
    assert lab.port == 8888
    assert run.parallelism == 3
    assert lab.max_price == run.max_price == 1.5
    with pytest.raises(AttributeError):
        _ = run.port
    with pytest.raises(SpecError):
        config.resolve("run", tmp_path, {"port": 1}, {})


@pytest.mark.parametrize(
    ("file", "text"),
    [("lofty.toml", "timout = '1h'"), ("pyproject.toml", "[tool.lofty]\ntimout = '1h'")],
)
def test_a_wrong_key_is_named_with_its_place_and_the_nearest(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(SpecError, match=r"'timout'.*did you mean 'timeout'") as caught:
        config.resolve("lab", tmp_path, {}, {})
    assert str(tmp_path / file) in str(caught.value)
    assert caught.value.hint


def test_a_wrong_keyword_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="did you mean 'memory'"):
        config.resolve("lab", tmp_path, {"memroy": "4"}, {})


@pytest.mark.parametrize(
    ("key", "raw", "value"),
    [
        ("on", "local", "local"), ("name", 7, "7"), ("spot", True, True), ("spot", "yes", True), ("spot", "0", False),
        ("disk", "20", 20.0), ("max_price", 0.5, 0.5), ("port", "8888", 8888), ("timeout", 90, 90.0),
        ("timeout", "1h30m", 5400.0), ("timeout", "none", None), ("idle", "never", None), ("idle", 0, None),
        ("cpus", "8+", "8+"), ("memory", 16, "16"), ("gpu", "T4:2", "T4:2"), ("env", ["A", "B=1"], ("A", "B=1")),
        ("env", "A", ("A",)), ("env", {"A": 1, "B": "x"}, ("A=1", "B=x")), ("exclude", ("*.csv",), ("*.csv",)),
    ],
)  # fmt: skip
def test_each_kind_of_value(tmp_path: Path, key: str, raw: object, value: object) -> None:
    assert getattr(config.resolve("lab", tmp_path, {key: raw}, {}), key) == value


@pytest.mark.parametrize(
    ("key", "raw"),
    [
        ("spot", "maybe"), ("spot", 3), ("disk", "-1"), ("disk", "x"), ("disk", "nan"), ("max_price", 0),
        ("port", "80x"), ("port", 70000), ("port", -1), ("port", 0), ("timeout", "soon"), ("timeout", True),
        ("cpus", "some"), ("memory", "0"), ("gpu", "a b"), ("name", ["x"]), ("name", True), ("exclude", 5),
        ("exclude", [["a"]]), ("disk", "1e12"),
    ],
)  # fmt: skip
def test_each_kind_refuses_what_it_cannot_mean(tmp_path: Path, key: str, raw: object) -> None:
    with pytest.raises(SpecError, match=f"--{key.replace('_', '-')}: ") as caught:
        config.resolve("lab", tmp_path, {key: raw}, {})
    assert caught.value.hint


def test_no_machine_is_not_a_number_of_machines(tmp_path: Path) -> None:
    with pytest.raises(SpecError):
        config.resolve("run", tmp_path, {"parallelism": "0"}, {})


@pytest.mark.parametrize(
    "text", ["timeout = ", "\x00", "[[[", 'timeout = "1h"\ntimeout = "2h"'], ids=["half", "nul", "brackets", "twice"]
)
@pytest.mark.parametrize("file", ["lofty.toml", "pyproject.toml"])
def test_a_broken_file_is_named(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text)
    with pytest.raises(SpecError, match=file) as caught:
        config.resolve("lab", tmp_path, {}, {})
    assert caught.value.hint == f"mend {tmp_path / file}"


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "lofty.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SpecError, match=r"lofty\.toml"):
        config.resolve("lab", tmp_path, {}, {})


@pytest.mark.parametrize("text", ["tool = 3", "[tool]\nlofty = 3", "[tool]\nother = 1", ""])
def test_a_pyproject_without_a_table_of_ours(tmp_path: Path, text: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    if "lofty" in text:
        with pytest.raises(SpecError):
            config.resolve("lab", tmp_path, {}, {})
    else:
        assert config.resolve("lab", tmp_path, {}, {}).given == {}


def test_every_option_has_a_variable(tmp_path: Path) -> None:
    good: dict[str, Any] = {
        "text": "x", "flag": "true", "number": "1", "whole": "1", "duration": "1h", "amount": "1", "gpu": "T4",
        "list": "A,B",
    }  # fmt: skip
    for option in config.OPTIONS:
        verb = sorted(option.verbs)[0]
        found = config.resolve(verb, tmp_path, {}, {f"LOFTY_{option.name.upper()}": good[option.kind]})
        assert list(found.given) == [option.name]


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"environment: timeout: 'soon'"):
        config.resolve("lab", tmp_path, {}, {"LOFTY_TIMEOUT": "soon"})


def test_other_variables_of_ours_are_no_options(tmp_path: Path) -> None:
    assert config.resolve("lab", tmp_path, {}, {"LOFTY_HOME": "/x", "LOFTY_CACHE": "/y", "HOME": "/z"}).given == {}


def test_variables_that_go_along() -> None:
    environ = {"A": "1", "AWS_X": "2", "AWS_Y": "3", "EMPTY": ""}
    assert config.variables(("A",), environ) == {"A": "1"}
    assert config.variables(("A=5", "B=", "C=x=y"), environ) == {"A": "5", "B": "", "C": "x=y"}
    assert config.variables(("AWS_*",), environ) == {"AWS_X": "2", "AWS_Y": "3"}
    assert config.variables(("MISSING", "EMPTY"), environ) == {"EMPTY": ""}
