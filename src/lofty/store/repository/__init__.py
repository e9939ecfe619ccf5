"""The git repository of a working directory: whole to the machine, and the machine's commits back beside one's own.

    at home         send        everything that has a name, as packs under `git/start`, then `git/start.json`
    on the machine  receive     a new `.git` around files that are there already
    on the machine  Sender      what was committed since, as packs under `git/machine`, then `git/machine.json`
    at home         fetch_back  that, under `refs/lofty/NAME/`; never a branch, a tag, HEAD, the index or a file

A pack is kept in parts that are named by their own hash, and a description is written after what it names: whoever is
killed half-way leaves the former state whole. Each sending adds a pack with what is new to those before it.
"""

from __future__ import annotations

from .git import GitError
from .homeward import Sender, fetch_back, send_back
from .outward import Sent, receive, send

__all__ = ["GitError", "Sender", "Sent", "fetch_back", "receive", "send", "send_back"]
