"""Which environment a directory names, and when one has to be made again."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from lofty.agent import environment
from lofty.errors import EnvironmentFailed

from ..conftest import CACHE

PROJECT = '[project]\nname = "x"\nversion = "1"\n'


def lay(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / {"venv": ".venv/bin/python"}.get(name, name.replace("__", "."))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({}, "none"),
        ({"venv": "", "uv__lock": "", "pyproject__toml": PROJECT, "requirements__txt": ""}, "venv"),
        ({"uv__lock": "", "pyproject__toml": PROJECT, "requirements__txt": ""}, "lock"),
        ({"uv__lock": "", "requirements__txt": ""}, "requirements"),
        ({"pyproject__toml": PROJECT, "requirements__txt": ""}, "project"),
        ({"pyproject__toml": "[tool.ruff]\nline-length = 1\n", "requirements__txt": ""}, "requirements"),
        ({"pyproject__toml": "[tool.ruff]\n"}, "none"),
        ({"requirements__txt": "", "environment__yml": ""}, "requirements"),
        ({"environment__yml": ""}, "conda"),
    ],
)
def test_the_nearest_to_what_the_person_works_with_wins(tmp_path: Path, files: dict[str, str], kind: str) -> None:
    lay(tmp_path, **files)
    assert environment.detect(tmp_path, "").kind == kind


def test_the_active_interpreter_is_the_last_resort(tmp_path: Path) -> None:
    assert environment.detect(tmp_path, sys.executable).kind == "active"
    assert environment.detect(tmp_path, "/not/there").kind == "none"
    lay(tmp_path, requirements__txt="six\n")
    assert environment.detect(tmp_path, sys.executable).kind == "requirements"


def test_what_requirements_take_in_counts_too(tmp_path: Path) -> None:
    lay(tmp_path, requirements__txt="-r more.txt\n --constraint=c.txt\n-r missing.txt\n# -r no.txt\nsix -r\n")
    for name in ("more.txt", "c.txt", "no.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in environment.detect(tmp_path, "").files] == ["requirements.txt", "more.txt", "c.txt"]


@pytest.mark.parametrize(
    ("text", "python", "pip", "missing"),
    [
        ("dependencies: [python=3.11, pip, {pip: [six]}]", "3.11", ("six",), ""),
        ("dependencies: [python=3.11.4=h0_1, numpy]", "", (), "numpy"),
        ("dependencies: ['python==3.12.*']", "3.12", (), ""),
        ("dependencies: ['conda-forge::NumPy>=1.20', scipy=1.2, 'pandas <2']", "", (), "numpy, pandas, scipy"),
        ("dependencies: [{pip: [six==1.16.0, '-e .']}]", "", ("six==1.16.0", "-e ."), ""),
        ("name: x", "", (), ""),
        ("", "", (), ""),
    ],
)
def test_what_of_conda_can_be_had(tmp_path: Path, text: str, python: str, pip: tuple[str, ...], missing: str) -> None:
    lay(tmp_path, environment__yml=text)
    found = environment._conda(tmp_path / "environment.yml")
    assert found.pip == pip
    assert not python or found.python == python
    assert [note.rpartition(": ")[2] for note in found.notes] == ([missing] if missing else [])


@pytest.mark.parametrize("text", ["dependencies: 3", "[", "dependencies: {a: 1", "- a\n- b", "\x00", "just text"])
def test_an_environment_yml_that_cannot_be_read_is_said_in_one_line(tmp_path: Path, text: str) -> None:
    lay(tmp_path, environment__yml=text)
    with pytest.raises(EnvironmentFailed, match=r"environment\.yml") as caught:
        environment._conda(tmp_path / "environment.yml")
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_digests_tell_parts_apart() -> None:
    assert environment._digest(b"ab", b"c") != environment._digest(b"a", b"bc")
    assert environment._digest(b"a") != environment._digest(b"a", b"")
    assert environment._digest(b"a", b"b") == environment._digest(b"a", b"b")


def test_the_stamp_says_what_an_environment_was_made_from(tmp_path: Path) -> None:
    assert not environment._is_ready(tmp_path, "1")
    environment._set_ready(tmp_path, "1")
    assert environment._is_ready(tmp_path, "1")
    assert not environment._is_ready(tmp_path, "2")


def test_one_maker_at_a_time(tmp_path: Path) -> None:
    order: list[str] = []

    async def make(name: str) -> None:
        async with environment._Lock(tmp_path / "env"):
            order.append(f"{name} in")
            await asyncio.sleep(0.02)
            order.append(f"{name} out")

    async def both() -> None:
        await asyncio.gather(make("a"), make("b"), make("c"))

    asyncio.run(both())
    assert [word.split()[1] for word in order] == ["in", "out"] * 3


def test_an_environment_that_does_not_run_is_said(tmp_path: Path) -> None:
    lay(tmp_path, venv="#!/bin/sh\necho broken >&2; exit 3\n")
    (tmp_path / ".venv/bin/python").chmod(0o755)
    (tmp_path / "lock").touch()

    async def make() -> None:
        await environment.make_user(tmp_path, tmp_path / "cache", "key", active="", kernel=True, lock=tmp_path / "lock")

    with pytest.raises(EnvironmentFailed, match="broken") as caught:
        asyncio.run(make())
    assert caught.value.hint


def test_the_tools_are_held_to_their_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that names no hash, or another one, is refused, and what was begun is not taken for finished."""
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(CACHE / "uv"))
    lock = tmp_path / "lock"
    for text in ("six==1.16.0\n", f"six==1.16.0 --hash=sha256:{64 * '0'}\n"):
        lock.write_text(text)
        with pytest.raises(EnvironmentFailed, match=r"[Hh]ash"):
            asyncio.run(environment.make_tools(lock, tmp_path / "cache"))
    assert list((tmp_path / "cache" / "envs").glob(f"*/{environment.STAMP}")) == []
