"""This computer: where lofty keeps its things on it, and how it is called."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

import msgspec

from .model import ids


class Computer(msgspec.Struct, frozen=True, kw_only=True):
    """As the variables say, or as is usual on the system."""

    home: Path
    """What has to stay: `LOFTY_HOME`."""
    cache: Path
    """What can be made again: `LOFTY_CACHE`."""
    side: str
    """Its name where two sides changed the same file."""

    @classmethod
    def here(cls, environ: Mapping[str, str]) -> Computer:
        """The one that this process runs on."""
        return cls(
            home=Path(environ.get("LOFTY_HOME") or _usual("state")),
            cache=Path(environ.get("LOFTY_CACHE") or _usual("cache")),
            side=ids.slug(platform.node().partition(".")[0] or "here"),
        )


def _usual(what: str) -> str:
    import platformdirs

    return platformdirs.user_state_dir("lofty") if what == "state" else platformdirs.user_cache_dir("lofty")
