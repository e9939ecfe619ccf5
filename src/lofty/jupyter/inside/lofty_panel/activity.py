"""What is going on in this Jupyter, seen from within: asking over HTTP would itself count as activity."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any


class Activity:
    """Watches the kernels, the terminals and the saving of files of one server."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._last_save: float | None = None
        server.contents_manager.register_post_save_hook(self._saved)

    def _saved(self, **_: Any) -> None:
        self._last_save = time.time()

    def report(self) -> dict[str, Any]:
        """Return kernels, terminals and the time of the last save, all times in seconds since 1970."""
        kernels = self._server.kernel_manager.list_kernels()
        terminals = self._server.web_app.settings.get("terminal_manager")
        return {
            "kernels": [
                {
                    "id": kernel["id"],
                    "name": kernel["name"],
                    "execution_state": kernel["execution_state"],
                    "last_activity": epoch(kernel["last_activity"]),
                    "connections": kernel["connections"],
                }
                for kernel in kernels
            ],
            "terminals": [
                {"name": terminal["name"], "last_activity": epoch(terminal["last_activity"])}
                for terminal in (terminals.list() if terminals else [])
            ],
            "last_save": self._last_save,
        }


def epoch(moment: str) -> float:
    """Return the seconds since 1970 of a moment as Jupyter writes it, in UTC."""
    parsed = datetime.fromisoformat(moment)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
