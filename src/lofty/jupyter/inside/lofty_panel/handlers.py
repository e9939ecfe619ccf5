"""What the panel answers under `{base_url}lofty/`, and the help for addresses typed without the base URL."""

from __future__ import annotations

import json
import secrets
from functools import cached_property
from pathlib import Path
from typing import Any

from jupyter_server.base.handlers import APIHandler, JupyterHandler
from tornado import web

from . import facts
from .activity import Activity

PAGE = Path(__file__).with_name("page.html")


class PanelHandler(APIHandler):
    """What the API calls share; none of them counts as use of the workspace."""

    _track_activity = False

    def initialize(self, run_dir: Path, workspace: str, activity: Activity) -> None:
        """Keep what the route was registered with."""
        self.run_dir = run_dir
        self.workspace = workspace
        self.activity = activity

    def answer(self, document: dict[str, Any], code: int = 200) -> None:
        """Send `document`, never to be kept by a cache."""
        self.set_status(code)
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(document))


class StatusHandler(PanelHandler):
    """The agent's facts and the time left."""

    @web.authenticated
    def get(self) -> None:
        """Send them."""
        self.answer(facts.status(self.run_dir, self.workspace))


class StopHandler(PanelHandler):
    """The end of the workspace."""

    @web.authenticated
    def post(self) -> None:
        """Ask the agent to end it."""
        facts.ask_to_stop(self.run_dir)
        self.answer({"stopping": True}, 202)


class NudgeHandler(PanelHandler):
    """The person's computer saying: I have just published files."""

    @web.authenticated
    def post(self) -> None:
        """Ask the agent to look."""
        facts.nudge(self.run_dir)
        self.answer({"nudged": True}, 202)


class KeepHandler(PanelHandler):
    """A person saying: I am still here."""

    @web.authenticated
    def post(self) -> None:
        """Start the idle clock anew."""
        facts.keep_awake(self.run_dir)
        self.answer({"keep": facts.kept_awake(self.run_dir)})


class ActivityHandler(PanelHandler):
    """What the agent asks before it calls the workspace idle."""

    @web.authenticated
    def get(self) -> None:
        """Send what is going on."""
        self.answer({**self.activity.report(), "keep": facts.kept_awake(self.run_dir)})


class PageHandler(JupyterHandler):
    """The panel as a page of its own: for Notebook 7, for a phone, for when Lab does not load."""

    _track_activity = False

    def initialize(self, workspace: str) -> None:
        """Keep what the route was registered with."""
        self.workspace = workspace

    @cached_property
    def nonce(self) -> str:
        """What this one answer's own script and style are known by."""
        return secrets.token_urlsafe(16)

    @property
    def content_security_policy(self) -> str:
        """Allow the page its own script and style, calls to this server, and nothing else."""
        own = f"'nonce-{self.nonce}'"
        return (
            f"default-src 'none'; script-src {own}; style-src {own}; connect-src 'self'; img-src data:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
        )

    @web.authenticated
    def get(self) -> None:
        """Send the page; it asks for the facts itself."""
        document = {"name": self.workspace, "base": self.base_url, "xsrf": self.xsrf_token.decode()}
        # "<" would let a name end the script element early.
        embedded = json.dumps(document).replace("<", "\\u003c")
        page = PAGE.read_text(encoding="utf-8")
        self.set_header("Cache-Control", "no-store")
        self.finish(page.replace("{{nonce}}", self.nonce).replace("{{workspace}}", embedded))


class OutsideHandler(web.RequestHandler):
    """Sends who typed `/lab` or an older address on to the same place in this workspace."""

    def initialize(self, base_url: str) -> None:
        """Keep where everything is."""
        self.base_url = base_url

    def get(self) -> None:
        """Redirect, always to this server: what is typed can only become a path beneath the base URL."""
        path = self.request.path.lstrip("/\\")
        if f"/{path}/" == self.base_url:
            path = ""
        # TensorBoard's page asks for its fonts at the root, whatever prefix it was given.
        place = "tensorboard/" if path.startswith("font-roboto/") else ""
        query = f"?{self.request.query}" if self.request.query else ""
        self.set_status(302)
        self.set_header("Location", f"{self.base_url}{place}{path}{query}")
        self.finish()

    head = get
