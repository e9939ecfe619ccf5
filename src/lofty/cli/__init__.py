"""The command line: one file per verb, loaded when the verb is used. Data on stdout, talk on stderr."""

from __future__ import annotations

import contextlib
import os
import sys


def main() -> None:
    """The `lofty` command. It ends at once: to take the interpreter apart, value by value, costs 20 ms after a large
    sync, and nothing waits for it."""
    import gc

    from .main import run

    # At each 700 new values Python looks for circles among them; a large sync makes very many and no circle, and spends
    # a twentieth of its time so.
    gc.set_threshold(100_000, 20)
    code = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
