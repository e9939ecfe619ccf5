"""What this computer must have for machines of our own, and how the rest of the cloudbox runs programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

NEEDED = ("ip", "mmdebstrap", "mksquashfs", "mount", "nft", "nsenter", "systemd-nspawn")
"""Programs; `make cloudbox-here` installs the packages that have them."""


def missing() -> str:
    """Why machines cannot run here, as a sentence for whoever reads a skipped test; empty when they can."""
    if os.name != "posix" or not Path("/proc/self/ns/net").exists():
        return "needs Linux"
    if os.geteuid() != 0:
        return "needs root, for network namespaces and containers"
    absent = [name for name in NEEDED if shutil.which(name) is None]
    return f"needs {', '.join(absent)}: run `make cloudbox-here`" if absent else ""


def run(*words: str | Path, check: bool = True, stdin: str | None = None) -> str:
    """A program's output; a failure carries what it said, since nobody sees its terminal."""
    done = subprocess.run(words, check=False, capture_output=True, text=True, input=stdin)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def batch(commands: Sequence[str], namespace: str = "", *, force: bool = False) -> None:
    """Lines for `ip`, in one process: a machine's link takes a dozen, and a process each would cost more than they do.

    With `force` the lines after a failed one still run.
    """
    where = ["-n", namespace] if namespace else []
    run("ip", *where, *(["-force"] if force else []), "-batch", "-", check=not force, stdin="\n".join(commands) + "\n")
