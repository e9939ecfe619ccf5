"""Puts the panel's routes into a Jupyter server."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jupyter_server.utils import url_path_join
from tornado.httputil import HTTPServerRequest
from tornado.routing import PathMatches, Router, Rule
from traitlets import Unicode
from traitlets.config import Configurable

from .activity import Activity
from .handlers import (
    ActivityHandler,
    KeepHandler,
    NudgeHandler,
    OutsideHandler,
    PageHandler,
    StatusHandler,
    StopHandler,
)


class LoftyPanel(Configurable):
    """The panel of one workspace."""

    run_dir = Unicode(help="The directory through which the agent and the panel talk.").tag(config=True)
    workspace = Unicode(help="The workspace's name.").tag(config=True)

    def add_to(self, server: Any) -> None:
        """Add every route to `server`."""
        base = server.web_app.settings["base_url"]
        run_dir = Path(self.run_dir)
        panel = {"run_dir": run_dir, "workspace": self.workspace, "activity": Activity(server)}
        under = url_path_join(base, "lofty")
        routes: list[tuple[Any, ...]] = [
            (f"{under}/api/status", StatusHandler, panel),
            (f"{under}/api/stop", StopHandler, panel),
            (f"{under}/api/nudge", NudgeHandler, panel),
            (f"{under}/api/keep", KeepHandler, panel),
            (f"{under}/api/activity", ActivityHandler, panel),
            (f"{under}/?", PageHandler, {"workspace": self.workspace}),
        ]
        if base != "/":
            routes.append((f"(?!{re.escape(base)}).*", OutsideHandler, {"base_url": base}))
        server.web_app.add_handlers(".*", routes)
        proxied = PathMatches(f"{re.escape(base)}(tensorboard|proxy|server-proxy)(/.*)?$")
        server.web_app.default_router.rules.insert(0, Rule(proxied, OnFirstUse(lambda: _add_proxy(server, run_dir))))


class OnFirstUse(Router):
    """A route that does something before its first request is looked up in the routes that follow."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action: Callable[[], None] | None = action

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> None:
        """Act, once; claim no request."""
        action, self._action = self._action, None
        if action:
            action()


def _add_proxy(server: Any, run_dir: Path) -> None:
    """Load the proxy; importing it costs a seventh of a start, so not before somebody needs it."""
    from . import board_proxy

    board_proxy.add_to(server, run_dir / "tensorboard.sock")
