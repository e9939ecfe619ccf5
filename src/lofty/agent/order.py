"""What a driver tells the agent that it starts."""

from __future__ import annotations

import msgspec


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """The agent's command line. Holds no secret: command lines are public on a machine."""

    store: str
    """URL of the task's prefix."""
    machine: str
    """The machine's id within the task; empty where the cloud starts machines by itself, which then claim one."""
    workdir: str
    """Where the files go when the spec names no directory of this machine."""
    state: str
    """What outlives a start but not the task: layouts of windows, the key of login cookies."""
    cache: str
    """What can be made again: environments."""
    holder: str = ""
    """The cloud's name of the machine, which holds the lease; empty on this computer, where nobody else claims."""
    states: str = ""
    """URL of where the leases are, and what lists show; empty on this computer, where lists look themselves."""
    began: float | None = None
    """When the machine came to lofty's first line, in epoch seconds; None on this computer, where there is none."""
    detach: bool = False
    """Whether to fork away from the process that starts it."""
