"""Output on its way into the store: bytes in, numbered segments out, nothing added, nothing lost in between."""

from __future__ import annotations

import codecs
import re
import sys
import time
from typing import Literal

from ..errors import LoftyError
from ..model.state import LogLine
from ..store.base import Store
from ..store.records import SEGMENT_BYTES, encode_line, segment_key

BUFFER_BYTES = 16 * 2**20
"""What is kept in memory while the store cannot be written (a full disk); beyond it the oldest is dropped, and said."""
LINE_CHARACTERS = 16_384
"""A longer line is cut into pieces, so that no reader has to hold one whole."""
_PIECES = re.compile(r"([^\r\n]*)(\r\n|\r|\n)")

Stream = Literal["out", "err", "sys"]


class Log:
    """The log of one machine."""

    def __init__(self, store: Store, machine: str) -> None:
        self._store, self._machine = store, machine
        self._segment = 0
        self._open = bytearray()  # the segment that still grows, as it is in the store
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._dropped = 0
        self._partial: dict[Stream, str] = {}
        self._decoders = {
            stream: codecs.getincrementaldecoder("utf-8")(errors="replace") for stream in ("out", "err", "sys")
        }

    def say(self, text: str) -> None:
        """A line of lofty's own."""
        self._add("sys", text, "\n")

    def feed(self, stream: Stream, data: bytes) -> None:
        """Raw output of a child, in any pieces."""
        text = self._partial.pop(stream, "") + self._decoders[stream].decode(data)
        position = 0
        for piece in _PIECES.finditer(text):
            if piece[2] == "\r" and piece.end() == len(text):
                break  # perhaps half of \r\n: wait for the rest
            self._add(stream, piece[1] + ("\r" if piece[2] == "\r\n" else ""), piece[2][-1])
            position = piece.end()
        rest = text[position:]
        while len(rest) > LINE_CHARACTERS:
            self._add(stream, rest[:LINE_CHARACTERS], "")
            rest = rest[LINE_CHARACTERS:]
        if rest:
            self._partial[stream] = rest

    def settle(self) -> None:
        """Let go of unfinished lines: a prompt or a progress bar that has waited long enough."""
        for stream, text in list(self._partial.items()):
            del self._partial[stream]
            bare = text.endswith("\r")
            self._add(stream, text[:-1] if bare else text, "\r" if bare else "")

    def _add(self, stream: Stream, text: str, end: str) -> None:
        tail: Literal["\n", "\r", ""] = "\n" if end == "\n" else "\r" if end == "\r" else ""
        line = LogLine(machine=self._machine, time=time.time(), stream=stream, text=text, end=tail)
        record = encode_line(line)
        self._waiting.append(record)
        self._waiting_bytes += len(record)
        while self._waiting_bytes > BUFFER_BYTES:
            self._waiting_bytes -= len(self._waiting.pop(0))
            self._dropped += 1

    @property
    def dirty(self) -> bool:
        """Whether there is something that the store does not have."""
        return bool(self._waiting)

    def flush(self) -> bool:
        """Bring what waits into the store. False when the store cannot be written now; nothing is lost then."""
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self.say(f"({dropped} lines of output were lost: the store could not be written)")
        while self._waiting:
            take, size = 0, len(self._open)
            while take < len(self._waiting) and size < SEGMENT_BYTES:
                size += len(self._waiting[take])
                take += 1
            grown = bytes(self._open) + b"".join(self._waiting[:take])
            try:
                self._store.put(segment_key(self._machine, self._segment), grown)
            except LoftyError as error:
                sys.stderr.write(f"log: {error}\n")
                return False
            for record in self._waiting[:take]:
                self._waiting_bytes -= len(record)
            del self._waiting[:take]
            self._open = bytearray(grown)
            if len(grown) >= SEGMENT_BYTES:
                self._segment, self._open = self._segment + 1, bytearray()
        return True
