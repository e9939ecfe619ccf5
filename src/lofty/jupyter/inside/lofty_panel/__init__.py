"""The workspace's own pages inside Jupyter: time left, cost, keep awake, stop; and the way to TensorBoard."""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """Tell Jupyter where the extension is."""
    return [{"module": "lofty_panel"}]


def _load_jupyter_server_extension(server: Any) -> None:
    """Add the panel to a running server."""
    from .panel import LoftyPanel

    LoftyPanel(parent=server).add_to(server)
