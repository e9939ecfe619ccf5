"""The command line: one file per verb, loaded when the verb is used. Data on stdout, talk on stderr."""

from __future__ import annotations

import sys


def main() -> None:
    """The `lofty` command."""
    from .main import run

    sys.exit(run(sys.argv[1:]))
