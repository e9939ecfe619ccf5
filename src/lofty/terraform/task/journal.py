"""What this computer is making at the moment. When terraform or its provider is killed in the middle, no state knows of
the task; the next apply finds it here and goes on with it.

An entry is written before anything is made, under the task's identifier, and removed when the task is made or undone.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ...errors import Conflict

FOLDER = "terraform"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One task that is being made."""

    key: str
    """By what one without a name is found again."""
    place: str
    """The configuration's."""
    task: str
    """Its name in lofty."""
    pid: int
    birth: float
    """When that process began, by its own clock."""

    @property
    def orphan(self) -> bool:
        """Whether whoever made it has died."""
        from ...agent.processes import alive

        return not alive(self.pid, self.birth)


def key_of(place: str, arguments: Mapping[str, Any]) -> str:
    """What tells tasks without a name apart: where their configuration lies, and what they are."""
    return hashlib.sha256(msgspec.json.encode([place, arguments], order="deterministic", enc_hook=str)).hexdigest()[:32]


def place_of(directory: Path, environ: Mapping[str, str]) -> str:
    """A configuration's directory, and which of its states: terraform's workspaces share the directory."""
    data = directory / (environ.get("TF_DATA_DIR") or ".terraform")
    named = environ.get("TF_WORKSPACE") or _text(data / "environment") or "default"
    return f"{directory}#{named}"


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


class Journal:
    """The entries of this computer, a small file each."""

    def __init__(self, home: Path) -> None:
        self._folder = home / FOLDER

    def begin(self, key: str, place: str, identify: Callable[[], tuple[str, str]]) -> str:
        """The identifier under which to make a task: that of one which was begun with the same key by a process that
        has died since, or else a new one. `identify` gives a new one, and the task's name in lofty."""
        import psutil
        from filelock import FileLock

        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with FileLock(self._folder / ".lock"):
            orphans = (text for text, entry in self.entries().items() if entry.key == key and entry.orphan)
            text = next(orphans, "")
            name = self.entries()[text].task if text else ""
            if not text:
                text, name = identify()
                maker = self.entries().get(text)
                if maker is not None and not maker.orphan and maker.pid != os.getpid():
                    raise Conflict(f"'{text}' is being made by another terraform", hint="wait for its end")
            birth = psutil.Process().create_time()
            entry = Entry(key=key, place=place, task=name, pid=os.getpid(), birth=birth)
            part = self._folder / f".{text}.part"
            part.write_bytes(msgspec.json.encode(entry))
            part.replace(self._path(text))
        return text

    def end(self, text: str) -> None:
        """It is made, or undone."""
        self._path(text).unlink(missing_ok=True)

    def entries(self) -> dict[str, Entry]:
        """All of them, by identifier. One that cannot be read is none."""
        found = {}
        for path in sorted(self._folder.glob("*.json")):
            try:
                found[path.stem] = msgspec.json.decode(path.read_bytes(), type=Entry)
            except (OSError, msgspec.MsgspecError):
                continue
        return found

    def _path(self, text: str) -> Path:
        return self._folder / f"{text}.json"
