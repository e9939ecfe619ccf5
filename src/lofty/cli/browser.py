"""The person's browser, where there is one."""

from __future__ import annotations

import os
import sys
from html import escape
from pathlib import Path


def open_page(url: str, home: Path) -> bool:
    """Open a page if this computer has a display; whether it was tried. The browser is handed a private file that
    leads on, since command lines, and with them the token, are public on a computer."""
    if sys.platform not in ("darwin", "win32") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    import webbrowser

    page = home / "open.html"
    page.unlink(missing_ok=True)
    with os.fdopen(os.open(page, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f'<!doctype html><meta http-equiv="refresh" content="0; url={escape(url)}">')
    return webbrowser.open(page.as_uri())
