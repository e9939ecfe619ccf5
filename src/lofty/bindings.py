"""Which directory of this computer belongs to a task: files come back there and nowhere else, whatever a store says."""

from __future__ import annotations

from pathlib import Path

import msgspec

from .agent.paths import write_private


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """A directory of this computer."""

    directory: str


class Bindings:
    """The bindings of this computer, a small file each."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "bindings"

    def get(self, task_id: str) -> Binding | None:
        """None when this computer has none for the task."""
        try:
            return msgspec.json.decode((self._folder / f"{task_id}.json").read_bytes(), type=Binding)
        except FileNotFoundError:
            return None

    def put(self, task_id: str, binding: Binding) -> None:
        """Bind, or bind anew."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(self._folder / f"{task_id}.json", msgspec.json.encode(binding))

    def remove(self, task_id: str) -> None:
        """Forget; what is not there is no error."""
        (self._folder / f"{task_id}.json").unlink(missing_ok=True)
