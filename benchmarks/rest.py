"""What a workspace costs while nobody uses it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil

from .measure import Figure, bare_jupyter, number, place

TITLE = "A workspace at rest"
ABOUT = """\
Share of one core over a minute, and memory at its end, of two workspaces that nobody has opened, side by side. Memory
is the proportional set size (a page that several processes share counts once in all), with the resident size in
brackets, which counts it for each. The agent comes with its keeper. Jupyter, TensorBoard (which has not loaded before
its first visit) and a bare `jupyter-lab` are there for comparison."""
SECONDS = 60
SETTLE_SECONDS = 15
CORE_SHARE, MEMORY = 0.5, 60.0
RULES = {"plain": ", no idle rule", "idle": ", with `--idle 1h`", "bare": ""}
PARTS = {"launch.py": "Jupyter", "board.py": "TensorBoard", "lofty.agent": "agent and keeper"}


def run(n: int = SECONDS) -> list[Figure]:
    """Measure over `n` seconds."""
    with place() as here, bare_jupyter(here, here.example("bare")) as bare:
        bare.ready()
        asked: dict[str, tuple[str, ...]] = {"plain": (), "idle": ("--idle", "1h")}
        ids = {name: here.document("lab", "-d", *o, cwd=here.example(name))["id"] for name, o in asked.items()}
        time.sleep(min(SETTLE_SECONDS, n))
        found = {name: _parts(task) for name, task in ids.items()}
        found["bare"] = {"bare `jupyter-lab`": [psutil.Process(bare.process.pid)]}
        before = {name: {part: _cpu(some) for part, some in parts.items()} for name, parts in found.items()}
        began = time.monotonic()
        time.sleep(n)
        seconds = time.monotonic() - began
        figures = []
        for name, parts in found.items():
            for part in sorted(parts):
                share = 100 * (_cpu(parts[part]) - before[name][part]) / seconds
                figures += _figures(part + RULES[name], share, parts[part], ours=part == PARTS["lofty.agent"])
    return figures


def _figures(name: str, share: float, processes: list[psutil.Process], *, ours: bool) -> list[Figure]:
    proportional, resident = _memory(processes)
    memory = f"{number(proportional)} MiB ({number(resident)})"
    core = f"{number(share)} % of a core"
    if not ours:
        return [Figure(f"{name}: processor", core, 1), Figure(f"{name}: memory", memory, 1)]
    return [
        Figure(f"{name}: processor", core, 1, f"below {CORE_SHARE} %", share < CORE_SHARE),
        Figure(f"{name}: memory", memory, 1, f"below {MEMORY:.0f} MiB", proportional < MEMORY),
    ]


def _parts(task: str) -> dict[str, list[psutil.Process]]:
    parts: dict[str, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        try:
            if process.environ().get("LOFTY_STORE", "").endswith(f"/{task}"):
                words = " ".join(process.cmdline())
                part = next((title for word, title in PARTS.items() if word in words), "other")
                parts.setdefault(part, []).append(process)
        except psutil.Error:
            continue
    return parts


def _cpu(processes: list[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        times = process.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _memory(processes: list[psutil.Process]) -> tuple[float, float]:
    """MiB: proportional, resident."""
    resident = sum(process.memory_info().rss for process in processes) / 2**20
    if sys.platform != "linux":
        return resident, resident
    proportional = 0
    for process in processes:
        for line in Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                proportional += int(line.split()[1])
    return proportional / 1024, resident
