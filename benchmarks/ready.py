"""From the command to a server that answers, against bare `jupyter lab` from the same environment."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from .measure import Figure, Place, Series, bare_jupyter, place, plain, ratio, seconds_to_answer

TITLE = "Ready: the second start of a workspace"
ABOUT = """\
Seconds from the command to the first 200 of `/api/status`, asked every 10 ms, with the environments made. Taken in
turns: `lofty start` and `lofty lab -d` on a stopped workspace, and bare `jupyter-lab` out of the very environment
that lofty made, bytecode compiled, settings untouched, in the same folder. lofty's side includes the agent and its look
at both environments; TensorBoard starts afterwards. It wins because its launcher keeps out an import that builds a
parser nobody uses, does not look for extensions that it knows, and asks nothing of the network; its own share of the
time is two more interpreters, the command's and the agent's."""
ROUNDS = 9


def run(n: int = ROUNDS) -> list[Figure]:
    """Measure `n` rounds."""
    with place() as here:
        folder = here.example("workspace")
        facts = here.document("lab", "-d", cwd=folder)
        here.run("stop")
        bare, again, lab = (Series(name, [], "s") for name in ("bare `jupyter-lab`", "`lofty start`", "`lofty lab`"))
        for count in range(n + 1):
            values = (_bare(here, folder), _lofty(here, facts["url"], "start"), _lofty(here, facts["url"], "lab"))
            if count:  # the first round warms the disk's cache
                for series, value in zip((bare, again, lab), values, strict=True):
                    series.values.append(value)
    return [
        plain(bare),
        plain(again),
        plain(lab),
        ratio("`lofty start` ÷ bare", again, bare, 0.7),
        ratio("`lofty lab` ÷ bare", lab, bare, 0.7),
    ]


def _lofty(here: Place, url: str, verb: str) -> float:
    parts = urlsplit(url)
    path = f"{parts.path.removesuffix('lab')}api/status"
    words = ["start", "workspace"] if verb == "start" else ["lab", "-d", "workspace"]
    began = time.monotonic()
    command = here.start(*words)
    seconds = seconds_to_answer(parts.port or 0, path, parse_qs(parts.query)["token"][0], began)
    command.communicate()
    if command.returncode:
        raise RuntimeError(f"lofty {words}: exit code {command.returncode}")
    here.run("stop")
    return seconds


def _bare(here: Place, folder: Path) -> float:
    with bare_jupyter(here, folder) as bare:
        return bare.ready()
