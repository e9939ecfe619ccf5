"""Writes `docs/reliability.md`: every call of making and of removing a task on AWS, struck in every way, and what came
of it. Plays the whole campaign of `tests/aws` against the emulated cloud, which takes about ten minutes on two cores.

python docs/reliability.py
"""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"
sys.path.insert(0, str(ROOT))

from tests.aws.campaign import FAULTS, Phase, Result, recorded, scenarios  # noqa: E402

OPENING = """\
# What is left when something goes wrong

<!-- Made by docs/reliability.py, which plays it. Do not edit: `python docs/reliability.py` -->

Every call to AWS that `lofty lab` and `lofty down` make, found by recording them, is struck in five ways: it **fails**
(500, nothing happened), its answer is **lost** (it happened), it is **refused** (a right is missing, so no other try
helps), or the computer is **killed** at that moment (`kill -9`, a power cut), before the call had an effect or after.
Afterwards a computer that knows nothing of it runs `lofty down`, the same name is used again and removed, and
`lofty sweep` leaves the account empty, the bucket included. A scenario that leaves anything at all fails the test.

In the cells: **done**: it succeeded all the same · **undone**: it ended with an error, and had removed by itself
everything that it had made · **down**: what was left went with `lofty down`; *down, then sweep*: only with
`lofty sweep` · **nothing was there**. Of `lofty down`, *an error, down* says that it had to be run again.
"""


PARTS = 4
"""Of a phase, played apart."""


def play(phase: Phase, part: int) -> list[Result]:
    """The scenarios of a part of a phase, in a process of its own."""
    import pytest
    from tests.aws.account import Account, hurry
    from tests.aws.campaign import played
    from tests.cloudbox.cloud import Cloudbox

    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as patch,
        Cloudbox(machines=False) as cloud,
    ):
        hurry(cloud)
        account = Account(cloud, Path(folder), patch)
        found = scenarios(phase, recorded(account, phase))
        return [played(account, scenario) for scenario in found if scenario.number % PARTS == part]


def page(results: dict[Phase, list[Result]]) -> Iterator[str]:
    """The whole page."""
    yield OPENING
    count = sum(map(len, results.values()))
    yield f"{datetime.now(UTC):%Y-%m-%d}: {count} scenarios, none left anything.\n"
    for phase, found in results.items():
        yield f"## lofty {phase}\n"
        yield f"| call | {' | '.join(FAULTS)} |\n|---|{'---|' * len(FAULTS)}"
        rows: dict[str, dict[str, dict[str, None]]] = defaultdict(lambda: defaultdict(dict))
        for scenario, outcome in found:
            rows[scenario.call][scenario.fault][outcome] = None
        for call, by_fault in rows.items():
            yield f"| {call} | {' | '.join(' / '.join(by_fault[fault]) for fault in FAULTS)} |"
        yield ""


def main() -> None:
    """Play and write."""
    phases: tuple[Phase, ...] = ("lab", "down")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        parts = {phase: [pool.submit(play, phase, part) for part in range(PARTS)] for phase in phases}
        results = {
            phase: sorted((result for part in found for result in part.result()), key=lambda one: one.scenario.number)
            for phase, found in parts.items()
        }
    PAGE.write_text("\n".join(page(results)).rstrip() + "\n")


if __name__ == "__main__":
    main()
