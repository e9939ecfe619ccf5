"""Lines of terraform's log. A person sees them with TF_LOG or TF_LOG_PROVIDER set, and never otherwise."""

from __future__ import annotations

import os
import time

import msgspec

from .resource import Level


def say(level: Level, text: str) -> None:
    """One line, in one write, so that lines of several threads do not mix. It goes to the log as the plugin library
    of terraform reads it from stderr."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1e6):06d}Z"
    line = {"@level": level, "@message": text, "@module": "lofty", "@timestamp": stamp}
    os.write(2, msgspec.json.encode(line) + b"\n")
