"""Finds the fenced blocks of a page, runs those that a person would type, and compares what they print."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lofty.cli.output import STAGES

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_DRAWN_ON_A_TERMINAL = {f"{text} ..." for text in STAGES.values()}
"""Through a pipe each stage is a line; on a terminal it is drawn, and gone when it is over."""


class Block(NamedTuple):
    """One fenced block."""

    language: str
    text: str


class Step(NamedTuple):
    """A command, and what the page says that it prints."""

    command: str
    expected: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in their order."""
    return [Block(match[1], match[2]) for match in _FENCE.finditer(page.read_text())]


def steps(text: str) -> Iterator[Step]:
    """The commands of a console block."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, expected = part.partition("\n")
        yield Step(command, expected)


def fits(expected: str, given: str) -> bool:
    """Whether an output is the one expected: `...` within a line stands for anything in that line, on a line of
    its own for any lines, none included."""
    pattern = ""
    for line in expected.rstrip().splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            words = re.split(r"(\s{2,}|\.\.\.)", line)
            # A column is as wide as its widest cell, which differs from machine to machine.
            pattern += "".join(".*" if w == "..." else r"\s+" if w.isspace() else re.escape(w) for w in words) + r"\n"
    return re.fullmatch(pattern, clean(given)) is not None


def clean(output: str) -> str:
    """An output as a person sees it at the end."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip() not in _DRAWN_ON_A_TERMINAL]
    return "".join(f"{line}\n" for line in lines)


def type_in(command: str, cwd: Path, environ: dict[str, str]) -> tuple[int, str]:
    """Run a command line as a shell does; exit code, and everything it printed."""
    path = f"{Path(sys.executable).parent}:{environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=cwd,
        env={**environ, "PATH": path, "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
    )
    return done.returncode, done.stdout
