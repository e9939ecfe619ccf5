"""What a task says of itself, as objects under its prefix.

`task.json` the spec · `machines/<id>/status.json` the agent's word, its heartbeat included ·
`machines/<id>/log/<n>` segments of the log · `events/<time>` · `deadline.json` · `private/` secrets.
A machine's id is `NNNN.R`: the number of the start and the machine's rank in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

import msgspec

from ..errors import Stale, StoreError
from ..model.spec import TaskSpec
from ..model.state import Cursor, Event, LogLine, Machine
from .base import Store

T = TypeVar("T")


class Deadline(msgspec.Struct, frozen=True):
    """When the task must have ended; None: never."""

    at: float | None


class Records:
    """Typed reading and writing of a task's records."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def spec(self) -> TaskSpec | None:
        """What was asked for; None when there is no such task."""
        return self._decode("task.json", TaskSpec)

    def create_spec(self, spec: TaskSpec) -> None:
        """Claim the task's name, or find it claimed for the very same; `Stale` when it is taken by another."""
        try:
            self.store.create("task.json", _pretty(spec))
        except Stale:
            if self.spec() != spec:
                raise

    def machines(self) -> list[Machine]:
        """Every machine the task ever had, in order."""
        found = (self.machine(name) for name in self.store.folders("machines"))
        return [machine for machine in found if machine is not None]

    def machine(self, machine_id: str) -> Machine | None:
        """One machine's last word; None when it has not spoken."""
        return self._decode(f"machines/{machine_id}/status.json", Machine)

    def put_machine(self, machine: Machine) -> None:
        """Replace a machine's word."""
        self.store.put(f"machines/{machine.id}/status.json", msgspec.json.encode(machine))

    def claim_machine(self, machine: Machine) -> None:
        """Be the one who starts that machine; `Stale` when another already does."""
        self.store.create(f"machines/{machine.id}/status.json", msgspec.json.encode(machine))

    def deadline(self) -> float | None:
        """Epoch seconds at which the task must have ended; None: no limit."""
        found = self._decode("deadline.json", Deadline)
        return found.at if found else None

    def put_deadline(self, at: float | None) -> None:
        """Set or lift the limit; the agent notices by itself."""
        self.store.put("deadline.json", msgspec.json.encode(Deadline(at)))

    def add_event(self, event: Event) -> None:
        """Remember that something happened."""
        self.store.put(f"events/{event.time:017.6f}-{event.code}", msgspec.json.encode(event))

    def events(self) -> tuple[Event, ...]:
        """What happened, oldest first."""
        keys = sorted(entry.key for entry in self.store.entries("events"))
        found = (self._decode(key, Event) for key in keys)
        return tuple(event for event in found if event is not None)

    def secret(self, name: str) -> str | None:
        """A value kept under `private/`."""
        try:
            return self.store.get(f"private/{name}").decode()
        except KeyError:
            return None

    def put_secret(self, name: str, value: str) -> None:
        """Keep a value under `private/`: never synced, listed or logged."""
        self.store.put(f"private/{name}", value.encode())
        if self.store.root is not None:
            # Its folder is private already; this holds too when somebody opens that up.
            (self.store.root / "private" / name).chmod(0o600)

    def _decode(self, key: str, kind: type[T]) -> T | None:
        try:
            return msgspec.json.decode(self.store.get(key), type=kind)
        except KeyError:
            return None
        except msgspec.MsgspecError as error:
            # What comes back from a machine is untrusted: said, not guessed at.
            raise StoreError(f"{self.store.url}: {key} cannot be read: {error}") from error

    def log(self, cursor: Cursor) -> Iterator[tuple[LogLine, Cursor]]:
        """Lines from the cursor on, machine by machine, each with the cursor behind it."""
        places = dict(cursor.places)
        for machine in self.store.folders("machines"):
            segment, offset = places.get(machine, (0, 0))
            while (raw := self._segment(machine, segment)) is not None:
                for line, end in _lines(machine, raw, offset):
                    places[machine] = (segment, end)
                    yield line, Cursor(places=dict(places))
                if not self._exists_after(machine, segment, raw):
                    break
                segment, offset = segment + 1, 0
                places[machine] = (segment, 0)

    def _segment(self, machine: str, number: int) -> bytes | None:
        try:
            return self.store.get(segment_key(machine, number))
        except KeyError:
            return None

    def _exists_after(self, machine: str, number: int, raw: bytes) -> bool:
        # A segment only closes by outgrowing the limit, so the common case asks nothing.
        return len(raw) >= SEGMENT_BYTES and self._segment(machine, number + 1) is not None


SEGMENT_BYTES = 256 * 1024
"""A segment is rewritten whole as it grows, up to this size; then the next begins. Rewriting keeps the number of
objects small, and the limit keeps what is rewritten small."""


def segment_key(machine: str, number: int) -> str:
    """Where a log segment lies."""
    return f"machines/{machine}/log/{number:08d}"


def encode_line(line: LogLine) -> bytes:
    """A log line as one record of a segment: a JSON array, then a newline."""
    return msgspec.json.encode((line.time, line.stream, line.end, line.text)) + b"\n"


_RECORD = msgspec.json.Decoder(tuple[float, str, str, str])


def _lines(machine: str, raw: bytes, offset: int) -> Iterator[tuple[LogLine, int]]:
    while (end := raw.find(b"\n", offset)) >= 0:
        try:
            time, stream, tail, text = _RECORD.decode(raw[offset:end])
            fields = {"machine": machine, "time": time, "stream": stream, "text": text, "end": tail}
            line = msgspec.convert(fields, LogLine)
        except msgspec.MsgspecError:
            line = LogLine(machine=machine, time=0.0, stream="sys", text="(a damaged line of the log)")
        offset = end + 1
        yield line, offset


def _pretty(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
