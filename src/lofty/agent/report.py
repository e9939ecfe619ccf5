"""What the agent says of its machine: stages, notes, state, in the store and to the panel. Saying never ends the work:
where the store cannot be written (a full disk, a lost connection) the next heartbeat says it again."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from ..errors import LoftyError
from ..model.spec import TaskSpec
from ..model.state import Event, Machine, Stage, extra_cost
from ..store.records import Records
from .log import Log
from .paths import write_private

LAST_TRIES = 50
LAST_PAUSE = 0.2


class Report:
    """The machine's own record, kept and told."""

    def __init__(
        self,
        records: Records,
        spec: TaskSpec,
        machine: Machine,
        run: Path,
        log: Log,
        show: Callable[[Machine], None] = lambda _: None,
    ) -> None:
        """`show` is told too of every word, for lists."""
        self.machine = machine
        self._records, self._spec, self._run, self._log, self._show = records, spec, run, log, show

    def stage(self, name: str) -> None:
        """The next step begins; the one before is over."""
        self.end_stage()
        self.machine.stages.append(Stage(name=name, started=time.time()))
        self.save()

    def end_stage(self, note: str = "") -> None:
        """The step is over."""
        if self.machine.stages and self.machine.stages[-1].ended is None:
            self.machine.stages[-1].ended = time.time()
            self.machine.stages[-1].note = note or self.machine.stages[-1].note

    def note(self, text: str) -> None:
        """Something the person should read once."""
        self.machine.notes.append(text)
        self._log.say(text)

    def happened(self, code: str, text: str) -> None:
        """An event worth remembering."""
        self._log.say(text)
        try:
            self._records.add_event(Event(time=time.time(), code=code, text=text))
        except LoftyError as error:
            sys.stderr.write(f"event: {error}\n")
        self.save()  # who watches looks for events when there is a new word

    def cost(self) -> float:
        """USD of this machine so far, over all starts."""
        now = time.time()
        seconds = self.machine.seconds_before + now - (self.machine.started or now)
        return (self._spec.price.cost(seconds) if self._spec.price else 0.0) + extra_cost([self.machine], now)

    def save(self) -> None:
        """Tell the store and the panel; also the heartbeat, where no lease is it."""
        self.machine.heartbeat = time.time()
        try:
            self._records.put_machine(self.machine)
            self._show(self.machine)
        except LoftyError as error:
            sys.stderr.write(f"status: {error}\n")
        self.facts()

    def facts(self) -> None:
        """Tell the panel, which reads a file beside it."""
        machine = self.machine
        facts = {
            "name": self._spec.name,
            "state": machine.state,
            "deadline": machine.deadline,
            "idle_at": machine.idle_at,
            "price_per_hour": (self._spec.price.usd_per_hour if self._spec.price else 0.0) + machine.extra_per_hour,
            "cost": self.cost(),
            "message": machine.reason or None,
            "updated": time.time(),
        }
        try:
            write_private(self._run / "facts.json", msgspec.json.encode(facts))
        except OSError as error:
            sys.stderr.write(f"facts: {error}\n")

    def last_word(self) -> None:
        """The final state, with patience: a full disk may have room again in a moment."""
        self.machine.ended, self.machine.idle_at = time.time(), None
        for attempt in range(LAST_TRIES):
            try:
                self._records.put_machine(self.machine)
                self._show(self.machine)
            except LoftyError as error:
                sys.stderr.write(f"last word, try {attempt + 1}: {error}\n")
                time.sleep(LAST_PAUSE)
            else:
                return
