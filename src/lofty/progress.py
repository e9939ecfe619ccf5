"""What is told to whoever waits: the steps of what goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from .model.state import Observation

if TYPE_CHECKING:
    from .store.files.report import Moved


class Step(NamedTuple):
    """What is going on while a call waits."""

    name: str
    """`create`, `machine`, `agent`, `files`, `environment`, `jupyter`, `reach`, …"""
    note: str = ""
    seconds: float | None = None
    """How long it took, once it is over."""
    moved: Moved | None = None
    """How far a transfer is."""


Progress = Callable[[Step], None]
"""Whoever is told of it."""


def silent(_: Step) -> None:
    """Nobody watches."""


class Reporter:
    """Turns observations into steps, each told when it begins and when it is over. The first two are not the agent's
    own: `machine`, from the request to lofty's first line there, which is the cloud's time; and `agent`, from then on
    to its first stage."""

    def __init__(self, progress: Progress, asked: float | None = None) -> None:
        self._progress, self._asked = progress, asked
        self._begun: set[str] = set()
        self._over: set[str] = set()
        self._notes: set[str] = set()

    def look(self, seen: Observation) -> None:
        """Tell what is new in it."""
        if self._asked is not None and not self._begun:
            self._begun.add("machine")
            self._progress(Step("machine"))
        told = [event.text for event in seen.events if event.code in ("launch-failed", "on-demand")]
        for note in [*told, *(note for machine in seen.machines for note in machine.notes)]:
            if note not in self._notes:
                self._notes.add(note)
                self._progress(Step("note", note))
        for machine in seen.machines:
            if self._asked is not None and machine.booted and machine.stages and "machine" not in self._over:
                self._over |= {"machine", "agent"}
                self._progress(Step("machine", seconds=max(0.0, machine.booted - self._asked)))
                self._progress(Step("agent", seconds=machine.stages[0].started - machine.booted))
            for stage in machine.stages:
                if stage.name not in self._begun:
                    self._begun.add(stage.name)
                    self._progress(Step(stage.name, stage.note))
                if stage.ended is not None and stage.name not in self._over:
                    self._over.add(stage.name)
                    self._progress(Step(stage.name, stage.note, stage.ended - stage.started))
