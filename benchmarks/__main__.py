"""`python -m benchmarks [NAME...] [--write] [-n N]`: measure, print, and with --write bring the page up to date."""

from __future__ import annotations

import argparse
import os
from types import ModuleType

from . import aws, cli, first, logs, page, ready, rest, terraform
from .sync import few, large, live, many, nothing, vast

BENCHMARKS: dict[str, ModuleType] = {
    "ready": ready,
    "cli": cli,
    "logs": logs,
    "rest": rest,
    "first": first,
    "aws": aws,
    "terraform": terraform,
    "sync_a": many,
    "sync_b": large,
    "sync_c": nothing,
    "sync_d": few,
    "sync_e": vast,
    "sync_f": live,
}
GROUPS = {"sync": [name for name in BENCHMARKS if name.startswith("sync_")]}


def main() -> None:
    """Run those that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join((*BENCHMARKS, "sync for all its parts")))
    parser.add_argument("--write", action="store_true", help="update docs/benchmarks.md")
    parser.add_argument("-n", type=int, help="rounds, lines or seconds, instead of each benchmark's own number")
    options = parser.parse_args()
    names = [name for given in options.names for name in GROUPS.get(given, [given])]
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        parser.error(
            f"there is no benchmark {', '.join(sorted(unknown))}: choose from {', '.join((*GROUPS, *BENCHMARKS))}"
        )
    for name in names or BENCHMARKS:
        benchmark = BENCHMARKS[name]
        print(f"\n{benchmark.TITLE}", flush=True)
        before = os.getloadavg()[0]
        figures = benchmark.run() if options.n is None else benchmark.run(options.n)
        for figure in figures:
            target = f"   {figure.target}: {figure.verdict.strip('*')}" if figure.target else ""
            print(f"  {figure.name:45} {figure.value}{target}", flush=True)
        if options.write:
            load = (before, os.getloadavg()[0])
            page.write(name, page.section(name, benchmark.TITLE, benchmark.ABOUT, figures, load), list(BENCHMARKS))


if __name__ == "__main__":
    main()
