"""`docs/benchmarks.md`: a section for each benchmark, replaced when it is run again."""

from __future__ import annotations

import os
import platform
import re
import time
from pathlib import Path

import psutil

from .measure import ROOT, Figure

PAGE = ROOT / "docs" / "benchmarks.md"
OPENING = """\
# Benchmarks

Written by `make bench ARGS=--write`, or a part of it by `python -m benchmarks NAME --write`. Medians, with the least
and the greatest in brackets. Where two things are compared they took turns in one run, so that other load on the
machine weighs on both, and the ratio is taken round by round. What misses its target says so.
"""


def machine() -> str:
    """What it was measured on."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists() and (found := re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)):
        model = found[1]
    memory = psutil.virtual_memory().total / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"


def section(name: str, title: str, about: str, figures: list[Figure], load: tuple[float, float]) -> str:
    """One benchmark as Markdown."""
    date = time.strftime("%Y-%m-%d")
    rows = [f"| {f.name} | {f.value} | {f.n} | {f.target} | {f.verdict} |" for f in figures]
    head = f"{date}, {machine()}; load average {load[0]:.1f} before, {load[1]:.1f} after. `python -m benchmarks {name}`"
    lines = [
        f"<!-- {name} -->",
        f"## {title}",
        "",
        about,
        "",
        head,
        "",
        "| what | value | n | target | |",
        "| --- | --- | --- | --- | --- |",
        *rows,
        f"<!-- end of {name} -->",
    ]
    return "\n".join(lines) + "\n"


def write(name: str, text: str, order: list[str]) -> None:
    """Put a section into the page, in place of its older self or in the order of benchmarks."""
    page = PAGE.read_text() if PAGE.exists() else ""
    sections = dict(re.findall(r"(?s)<!-- (\w+) -->\n(.*?<!-- end of \1 -->\n)", page))
    present = {key: f"<!-- {key} -->\n{body}" for key, body in sections.items()}
    present[name] = text
    PAGE.write_text("\n".join([OPENING, *(present[key] for key in order if key in present)]))
