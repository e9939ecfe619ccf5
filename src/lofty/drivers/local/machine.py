"""The local driver's part that runs beside the agent."""

from __future__ import annotations


class LocalMachine:
    """This computer: nobody takes it away, and it outlives its tasks."""

    def identity(self) -> str:
        """Handed over on the command line here; there is no metadata service to ask."""
        return ""

    def notice(self) -> str | None:
        """Never: the machine is the user's own."""
        return None

    def end(self) -> None:
        """Nothing: when the agent ends, the task has no machine any more."""
