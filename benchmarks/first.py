"""The first start on a machine, environments and all."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from .measure import CACHE, Figure, Series, place, plain

TITLE = "The very first start"
ABOUT = """\
`lofty lab` where no environment exists yet, with uv's cache warm (the packages were downloaded before): stage by stage
as `--timings` tells, then the same workspace started a second time. Nothing is compiled before the first start, which
therefore compiles what it imports; the rest is compiled in the background afterwards."""
ROUNDS = 3


def run(n: int = ROUNDS) -> list[Figure]:
    """Measure `n` first starts."""
    stages: dict[str, Series] = {}
    for _ in range(n):
        # Beside uv's cache, on the same disk: environments are links into it.
        cache = Path(tempfile.mkdtemp(prefix="bench-", dir=CACHE))
        try:
            with place(cache) as here:
                folder = here.example("workspace")
                for when in ("first", "second"):
                    timings = here.document("lab", "-d", "--timings", cwd=folder)["timings"]
                    for stage, seconds in timings.items():
                        stages.setdefault(f"{when} start: {stage}", Series("", [], "s")).values.append(seconds)
                    here.run("stop")
        finally:
            shutil.rmtree(cache)
    return [plain(series._replace(name=name)) for name, series in stages.items()]
