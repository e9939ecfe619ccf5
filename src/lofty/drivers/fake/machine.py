"""The part beside the agent of the driver of the cloud in memory."""

from __future__ import annotations


class FakeMachine:
    """Machines of this cloud have no agent."""

    def identity(self) -> str:
        """There is only a script, which knows already."""
        return ""

    def notice(self) -> str | None:
        """They go without a word."""
        return None

    def end(self) -> None:
        """Nothing to end."""
