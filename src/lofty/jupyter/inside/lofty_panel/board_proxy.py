"""Forwards `{base_url}tensorboard/` to TensorBoard's Unix socket, and ports of the machine below `proxy/`.

jupyter-server-proxy could start TensorBoard itself, but what it starts a process with takes over the signals
of the server, which then cannot end cleanly: kernels are left behind. Here it forwards and nothing more.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import jupyter_server_proxy
from jupyter_server.utils import url_path_join
from jupyter_server_proxy.handlers import AddSlashHandler, NamedLocalProxyHandler

HERE = Path(__file__).parent
STARTING = """<!doctype html><html lang="en"><meta charset="utf-8"><meta http-equiv="refresh" content="2">
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<title>TensorBoard is starting</title>
<body style="font:16px/1.5 system-ui,sans-serif;display:grid;place-content:center;min-height:90vh;margin:0;
text-align:center"><h1 style="font-size:1.25rem;margin:0">TensorBoard is starting</h1>
<p style="margin:.5rem 1rem;opacity:.75">This page looks again every two seconds.</p></body></html>
"""


class BoardHandler(NamedLocalProxyHandler):
    """One request for TensorBoard, after the login, which the parent class asks for."""

    port = 0
    name = "tensorboard"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.unix_socket = kwargs.pop("unix_socket")
        # A page of curves that reloads itself is no sign of somebody at work.
        super().__init__(*args, absolute_url=True, update_last_activity=False, **kwargs)
        self.proxy_base = "tensorboard"

    def initialize(self) -> None:
        """Take nothing more than the constructor did."""

    async def proxy(self, port: int, path: str) -> None:
        """Forward, or say that TensorBoard is not there yet."""
        if listening(self.unix_socket):
            await super().proxy(port, path)
            return
        self.set_status(503)
        self.set_header("Retry-After", "2")
        self.set_header("Cache-Control", "no-store")
        self.finish(STARTING)

    def _log(self) -> None:
        """Leave out of the log that a page looked again."""
        if self.get_status() != 503:
            super()._log()


def listening(path: str) -> bool:
    """Return whether somebody listens on the Unix socket at `path`; asking takes no time worth waiting for."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def add_to(server: Any, unix_socket: Path) -> None:
    """Add the routes of TensorBoard, then those of jupyter-server-proxy."""
    at = url_path_join(server.web_app.settings["base_url"], "tensorboard")
    server.web_app.add_handlers(
        ".*",
        [
            (f"{at}(/.*)", BoardHandler, {"unix_socket": str(unix_socket)}),
            (at, AddSlashHandler),
        ],
    )
    # Only for the card in the launcher: the routes above come first and answer.
    server.config.ServerProxy.servers = {
        "tensorboard": {
            "unix_socket": str(unix_socket),
            "absolute_url": True,
            "launcher_entry": {"title": "TensorBoard", "icon_path": str(HERE / "board.svg")},
        }
    }
    jupyter_server_proxy._load_jupyter_server_extension(server)
