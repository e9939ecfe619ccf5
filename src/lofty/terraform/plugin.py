"""The first moments of the process that terraform starts, before anything slow is imported."""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module

from ..errors import MissingExtra, Unsupported

COOKIE = ("TF_PLUGIN_MAGIC_COOKIE", "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2")
"""What terraform sets for every plugin, so that one knows by whom it was started."""


def main(module: str) -> int:
    """Serve what `provider()` of a module gives until terraform is done; gives the exit code. What goes wrong before
    the handshake is one line on stdout, the only place from which terraform shows it to a person. Raises `Unsupported`
    where it was not terraform that started this."""
    # A handler of its own, and not SIG_IGN: what the provider starts would ignore Ctrl-C for all its life.
    signal.signal(signal.SIGINT, lambda number, frame: None)
    if os.environ.get(COOKIE[0]) != COOKIE[1]:
        raise Unsupported("this is the part that terraform starts by itself", hint="lofty tf install")
    out = os.dup(1)
    os.dup2(2, 1)  # from here on nothing that prints can come before the handshake, or between two answers
    if "6" not in os.environ.get("PLUGIN_PROTOCOL_VERSIONS", "6").split(","):
        return _say(out, Unsupported("this terraform is older than 1.0", hint="install a newer terraform"))
    try:
        from .server import serve
    except ImportError as error:
        missing = f"terraform needs the package {error.name}, which is not installed for {sys.executable}"
        return _say(out, MissingExtra(missing, hint="pip install 'lofty[terraform]'"))
    serve(import_module(module).provider(), out, os.environ)
    return 0


def _say(out: int, error: Unsupported | MissingExtra) -> int:
    os.write(out, f"lofty: {error}; try: {error.hint}\n".encode())
    return 1
