"""A workspace on a machine of the emulated AWS, from the command to the first answer."""

from __future__ import annotations

import json
import socket
import time

from .measure import CACHE, Figure, Series, below, place, plain, seconds_to_answer

TITLE = "A workspace on AWS"
ABOUT = """\
`lofty lab -d --spot` on an account of `tests/cloudbox`: an emulated AWS in one process, whose machines are containers
that boot, with their disks in memory. Each round is a new machine with nothing on it but Debian. Cloud, machine,
package index and lofty share the cores; a request takes a few milliseconds, where the real service takes 20 to 200.
From the command to the first 200 that Jupyter gives through the address on this computer, asked every 10 ms; *own* is
that without the time from the request for a machine until it comes to user data, which is the cloud's. The stages are
those of `--timings`; Jupyter's environment begins with the stage before its own, beside the files."""
ROUNDS = 5
OWN = 8.0


def run(n: int = ROUNDS) -> list[Figure]:
    """Measure `n` machines."""
    from tests.cloudbox.cloud import Cloudbox

    own, stages = Series("own: command to first 200, less the machine", [], "s"), dict[str, Series]()
    with Cloudbox(wheels=CACHE / "wheels") as cloud, cloud.inside(), place() as here:
        here.environ |= {**cloud.environ, "LOFTY_ON": "aws", "LOFTY_INDEX_URL": cloud.index_url}
        for count in range(n + 1):
            name = f"round{count}"
            (here.folder / name).mkdir()
            (here.folder / name / "data.csv").write_text("a,b\n1,2\n")
            port = _free_port()
            began = time.monotonic()
            words = ("-d", "--spot", "--machine", "m", "--timings", "--json", "--port", str(port))
            command = here.start("lab", name, *words)
            first = seconds_to_answer(port, f"/{name}/login", "", began)
            timings = json.loads(command.communicate()[0])["timings"]
            here.run("down", name, "-y", "--discard")
            if count == 0:  # it alone makes the bucket, sends the agent, and reads the index's files from the disk
                stages["the first machine of an account: own"] = Series("", [first - timings["machine"]], "s")
                continue
            own.values.append(first - timings["machine"])
            for stage, seconds in timings.items():
                stages.setdefault(f"of which {stage}", Series("", [], "s")).values.append(seconds)
    for total in ("total", "own"):
        stages.pop(f"of which {total}", None)
    return [below(own, OWN), *(plain(series._replace(name=name)) for name, series in stages.items())]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
