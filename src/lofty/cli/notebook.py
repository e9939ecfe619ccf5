"""`lofty notebook [PATH]`."""

from __future__ import annotations

from .lab import make

command = make("notebook")
