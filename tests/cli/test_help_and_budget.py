"""The first contact: help that fits the screen, and a command that starts at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lofty import __version__
from lofty.cli.main import LATER, VERBS
from lofty.config import OPTIONS

from ..conftest import ROOT, Lofty

PARTS = [["tf", part] for part in ("install", "uninstall", "check")]


@pytest.mark.parametrize(
    "words", [[], *([verb] for verb in VERBS), *PARTS], ids=lambda words: " ".join(words) or "lofty"
)
def test_help_fits_eighty_columns_and_says_what_it_is(lofty: Lofty, words: list[str]) -> None:
    for width in ("80", "200"):
        result = lofty.ok(*words, "--help", COLUMNS=width)
        lines = result.out.splitlines()
        assert max(len(line) for line in lines) <= 80
        assert lines[0].startswith(" ".join(["Usage: lofty", *words]))
        assert result.err == ""
    assert lofty.ok(*words, "-h").out == lofty.ok(*words, "--help").out


@pytest.mark.parametrize("words", [[], ["tf"]])
def test_without_a_command_there_is_help(lofty: Lofty, words: list[str]) -> None:
    said = lofty(*words)
    assert (said.code, said.out) == (2, "")
    assert said.err == lofty.ok(*words, "--help").out


def test_help_names_every_verb_and_every_option(lofty: Lofty) -> None:
    text = lofty.ok("--help").out
    assert all(f"\n  {verb} " in text for verb in VERBS)
    for verb in ("lab", "run", "notebook"):
        shown = lofty.ok(verb, "--help").out
        for option in OPTIONS:
            assert (f"--{option.name.replace('_', '-')}" in shown) == (verb in option.verbs), f"{verb} {option.name}"


def test_verbs_and_those_to_come_are_those_of_the_design() -> None:
    assert not set(VERBS) & set(LATER)
    promised = "lab notebook run ls url open ssh logs pull push stop start extend down price sweep check init tf"
    assert set(promised.split()) <= set(VERBS) | set(LATER)
    assert all(Path(ROOT, "src/lofty/cli", f"{verb}.py").is_file() for verb in VERBS)


def test_the_version(lofty: Lofty) -> None:
    assert lofty.ok("--version").out == lofty.ok("-V").out == f"lofty {__version__}\n"


HEAVY = ("rich", "obstore", "asyncio", "psutil", "msgspec", "filelock", "yaml", "urllib.request", "ssl", "http.client")
"""What no first contact waits for."""
COUNT = """
import sys
before = set(sys.modules)
{code}
print(len(set(sys.modules) - before), *sorted(set(sys.modules) - before))
"""
MAIN = (
    "from lofty.cli.main import run\nimport io, contextlib\nwith contextlib.redirect_stdout(io.StringIO()): run([{}])"
)


@pytest.mark.parametrize(
    ("code", "most"),
    [("import lofty", 30), (MAIN.format("'--version'"), 77), (MAIN.format("'--help'"), 88)],
    ids=["import", "version", "help"],
)
def test_few_modules_are_imported(code: str, most: int) -> None:
    """Counted rather than timed, so that it holds on a busy machine; the bound is the measured count and a tenth."""
    done = subprocess.run(
        [sys.executable, "-I", "-c", COUNT.format(code=code)], capture_output=True, text=True, timeout=60, check=True
    )
    count, *names = done.stdout.split()
    assert [name for name in names if name.startswith(HEAVY)] == []
    assert int(count) <= most, names
