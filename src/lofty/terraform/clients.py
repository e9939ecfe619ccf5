"""lofty, for the resources: a client for each thread, with the environment that terraform was started in."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from .. import config
from ..errors import Interrupted, LoftyError
from ..model.state import Handle
from ..model.units import clock
from .resource import Call

if TYPE_CHECKING:
    from ..api import Client
    from ..progress import Step
    from ..task import Task

KEPT = ("LOFTY_INDEX_URL", "LOFTY_SUBNET")
"""Of the variables that stand for options, those that say something about this computer and not about a task."""
PLUGIN = ("TF_PLUGIN_MAGIC_COOKIE", "PLUGIN_")
"""What is meant for this process alone."""


def environ_of(process: Mapping[str, str]) -> dict[str, str]:
    """The configuration is the whole truth about a task: what else lofty would take from variables is left out."""
    options = {f"LOFTY_{option.name.upper()}" for option in config.OPTIONS} - {*KEPT}
    return {key: value for key, value in process.items() if key not in options and not key.startswith(PLUGIN)}


class Clients:
    """A client is made for one thread, since drivers remember what they were asked last."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = environ_of(os.environ if environ is None else environ)
        self._local = threading.local()

    def get(self) -> Client:
        """This thread's."""
        if not hasattr(self._local, "client"):
            from ..api import Client  # with all that it brings, which no question about a schema waits for

            self._local.client = Client(self._environ)
        client: Client = self._local.client
        return client


def remember(call: Call, task: Task) -> None:
    """Leave with terraform, beside the state, where the task is to be found."""
    call.private = msgspec.json.encode(task.handle)


def remembered(call: Call) -> Handle | None:
    """What was left there; None in a state that another provider has written."""
    try:
        return msgspec.json.decode(call.private, type=Handle)
    except msgspec.MsgspecError:
        return None


def patience(call: Call, now: Callable[[], float] = time.monotonic) -> Callable[[Step], None]:
    """A watcher of steps that writes them to the log, and ends the work where the person has pressed Ctrl-C or the
    time is over."""
    limit = None if call.timeout is None else now() + call.timeout

    def watch(step: Step) -> None:
        if step.moved is None and (step.note or step.seconds is None):
            call.say("info", " ".join(filter(None, (step.name, step.note))))
        if call.cancelled.is_set():
            raise Interrupted("interrupted by Ctrl-C")
        if limit is not None and call.timeout is not None and now() > limit:
            raise LoftyError(
                f"it took longer than {clock(call.timeout)}",
                hint='a block timeouts { create = "1h" } (or delete) gives it more time',
            )

    return watch
