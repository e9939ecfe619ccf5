"""The processor time of small commands, against an interpreter that does nothing."""

from __future__ import annotations

import sys

from .measure import LOFTY, Figure, Series, cpu_seconds, place, plain, ratio

TITLE = "Small commands"
ABOUT = """\
Processor time (user and system) of a command, divided by that of `python -c pass` with the same interpreter, taken in
turns. `ls` lists one job that has ended."""
ROUNDS = 25
COMMANDS = {"lofty --version": ["--version"], "lofty --help": ["--help"], "lofty ls": ["ls"]}
LIMITS: dict[str, float | None] = {"lofty --version": 8.0, "lofty --help": 8.0, "lofty ls": None}


def run(n: int = ROUNDS) -> list[Figure]:
    """Measure `n` rounds."""
    with place() as here:
        (here.folder / "nothing.py").touch()
        here.run("run", "nothing.py")
        floor = Series("`python -c pass`", [], "ms")
        series = {name: Series(f"`{name}`", [], "ms") for name in COMMANDS}

        def spent(*command: str) -> float:
            return 1000 * cpu_seconds(command, here.environ, here.folder)

        for words in COMMANDS.values():
            spent(str(LOFTY), *words)  # bytecode is written at the first use
        for _ in range(n):
            floor.values.append(spent(sys.executable, "-c", "pass"))
            for name, words in COMMANDS.items():
                series[name].values.append(spent(str(LOFTY), *words))
    figures = [plain(floor)]
    for name, one in series.items():
        figures += [plain(one), ratio(f"{one.name} ÷ `python -c pass`", one, floor, LIMITS[name])]
    return figures
