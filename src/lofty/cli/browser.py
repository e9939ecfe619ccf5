"""The person's browser, where there is one."""

from __future__ import annotations

import os
import sys


def open_page(url: str) -> bool:
    """Open a page if this computer has a display; whether it was tried."""
    if sys.platform not in ("darwin", "win32") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    import webbrowser

    return webbrowser.open(url)
