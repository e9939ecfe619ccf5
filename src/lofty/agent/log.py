"""Output on its way into the store: bytes in, numbered segments out, nothing added, nothing lost in between."""

from __future__ import annotations

import codecs
import re
import sys
import time
from collections.abc import Callable
from typing import Literal

from ..errors import LoftyError
from ..model.state import LogLine
from ..store.base import Store
from ..store.records import SEGMENT_BYTES, encode_line, segment_key

BUFFER_BYTES = 16 * 2**20
"""What is kept in memory while the store cannot be written (a full disk); beyond it the oldest is dropped, and said."""
LINE_CHARACTERS = 16_384
"""A longer line is cut into pieces, so that no reader has to hold one whole."""
_ENDS = re.compile(r"\r\n|\r|\n")

Stream = Literal["out", "err", "sys"]
STREAMS: tuple[Stream, ...] = ("out", "err", "sys")


class _Begun:
    """A line without its end yet. Pieces are joined once, however many there are."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self.size = 0

    def append(self, text: str) -> None:
        if text:
            self._pieces.append(text)
            self.size += len(text)

    def endswith(self, sign: str) -> bool:
        return bool(self._pieces) and self._pieces[-1].endswith(sign)

    def pop(self) -> str:
        """Take back the last sign."""
        last = self._pieces.pop()
        self.size -= len(last)
        self.append(last[:-1])
        return last[-1]

    def take(self) -> str:
        whole = "".join(self._pieces)
        self._pieces, self.size = [], 0
        return whole


class Log:
    """The log of one machine."""

    def __init__(self, store: Store, machine: str, on_new: Callable[[], None] = lambda: None) -> None:
        self._store, self._machine, self._on_new = store, machine, on_new
        self._segment = 0
        self._open = bytearray()  # the segment that still grows, as it is in the store
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._dropped = 0
        self._begun: dict[Stream, _Begun] = {stream: _Begun() for stream in STREAMS}
        self._decoders = {stream: codecs.getincrementaldecoder("utf-8")(errors="replace") for stream in STREAMS}

    def say(self, text: str) -> None:
        """A line of lofty's own."""
        self._add("sys", text, "\n")

    def feed(self, stream: Stream, data: bytes) -> None:
        """Raw output of a child, in any pieces."""
        text = self._decoders[stream].decode(data)
        begun = self._begun[stream]
        if begun.endswith("\r"):  # perhaps the first half of \r\n
            text = f"{begun.pop()}{text}"
        position = 0
        for end in _ENDS.finditer(text):
            if end[0] == "\r" and end.end() == len(text):
                break
            begun.append(text[position : end.start()])
            self._add(stream, begun.take() + ("\r" if end[0] == "\r\n" else ""), end[0][-1])
            position = end.end()
        begun.append(text[position:])
        while begun.size > LINE_CHARACTERS:
            whole = begun.take()
            self._add(stream, whole[:LINE_CHARACTERS], "")
            begun.append(whole[LINE_CHARACTERS:])
        if begun.size:
            self._on_new()

    def settle(self) -> None:
        """Let go of unfinished lines: a prompt or a progress bar that has waited long enough."""
        for stream, begun in self._begun.items():
            if begun.size:
                bare = begun.endswith("\r")
                text = begun.take()
                self._add(stream, text[:-1] if bare else text, "\r" if bare else "")

    def close(self) -> None:
        """Nothing more will come: let go of everything, half a character included."""
        for stream in STREAMS:
            self._begun[stream].append(self._decoders[stream].decode(b"", final=True))
        self.settle()

    def _add(self, stream: Stream, text: str, end: str) -> None:
        record = self._record(stream, text, end)
        self._waiting.append(record)
        self._waiting_bytes += len(record)
        while self._waiting_bytes > BUFFER_BYTES:
            self._waiting_bytes -= len(self._waiting.pop(0))
            self._dropped += 1
        self._on_new()

    def _record(self, stream: Stream, text: str, end: str = "\n") -> bytes:
        tail: Literal["\n", "\r", ""] = "\n" if end == "\n" else "\r" if end == "\r" else ""
        return encode_line(LogLine(machine=self._machine, time=time.time(), stream=stream, text=text, end=tail))

    @property
    def dirty(self) -> bool:
        """Whether there is something that the store does not have."""
        return bool(self._waiting)

    @property
    def unfinished(self) -> bool:
        """Whether a line waits for its end."""
        return any(begun.size for begun in self._begun.values())

    def flush(self) -> bool:
        """Bring what waits into the store. False when the store cannot be written now; nothing is lost then."""
        while self._waiting:
            # In the place of what was lost, and outside the bound: its own line must not push out another.
            gap = b""
            if self._dropped:
                gap = self._record(
                    "sys", f"({self._dropped} lines of output were lost: the store could not be written)"
                )
            take, size = 0, len(self._open) + len(gap)
            while take < len(self._waiting) and (size < SEGMENT_BYTES or not take):
                size += len(self._waiting[take])
                take += 1
            grown = bytes(self._open) + gap + b"".join(self._waiting[:take])
            try:
                self._store.put(segment_key(self._machine, self._segment), grown)
            except LoftyError as error:
                sys.stderr.write(f"log: {error}\n")
                return False
            for record in self._waiting[:take]:
                self._waiting_bytes -= len(record)
            del self._waiting[:take]
            self._dropped = 0
            self._open = bytearray(grown)
            if len(grown) >= SEGMENT_BYTES:
                self._segment, self._open = self._segment + 1, bytearray()
        return True
