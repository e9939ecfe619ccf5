"""How long a line that a job prints takes to `lofty logs -f`."""

from __future__ import annotations

import random
import time

from .measure import Figure, Series, below, place, plain, quantile

TITLE = "Delay of a log line"
ABOUT = """\
A job prints the time every 0.2 to 0.5 s; `lofty logs -f` in another process shows it; the reader of its pipe notes when
it came. The line has by then been through the job's pipe, the agent, the store on disk, and the follower."""
LINES = 100
JOB = """\
import random, time
for _ in range({lines}):
    time.sleep(random.uniform(0.2, 0.5))
    print(repr(time.time()), flush=True)
"""


def run(n: int = LINES) -> list[Figure]:
    """Measure `n` lines."""
    delays: list[float] = []
    with place() as here:
        (here.folder / "clock.py").write_text(JOB.format(lines=n + 3))
        here.run("run", "-d", "clock.py")
        time.sleep(random.uniform(0, 0.2))
        reader = here.start("logs", "-f", "clock-1")
        assert reader.stdout is not None
        delays.extend(time.time() - float(line) for line in reader.stdout)
        reader.wait()
    delays = delays[3:]  # printed before the reader was there
    worst = Series("95 of 100 lines within", [quantile(delays, 0.95)], "s")
    return [below(Series("delay of a line", delays, "s"), 0.5), plain(worst)._replace(n=len(delays))]
