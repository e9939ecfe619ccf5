"""HTTP/1.1 for the stores that we wrote ourselves, with faults by name.

One asyncio loop in a thread of its own. Written on sockets' bytes because benchmarks count on some thousand requests
per second; it does what object-store clients ask for and no more.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Self
from urllib.parse import parse_qsl, unquote

Data = bytes | bytearray


@dataclass(slots=True)
class Request:
    """One whole request."""

    method: str
    target: str
    """Path and query as they were sent."""
    headers: dict[str, str]
    body: Data = b""
    path: str = field(init=False)
    query: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        path, _, query = self.target.partition("?")
        self.path = unquote(path) if "%" in path else path
        self.query = dict(parse_qsl(query, keep_blank_values=True)) if query else {}


@dataclass(slots=True)
class Reply:
    """One answer; `part` of the body is sent when it is given."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Data = b""
    part: tuple[int, int] | None = None
    bodiless: bool = False
    """The length is told and the body is not: an answer to HEAD."""


@dataclass
class _Fault:
    kind: str
    times: int
    match: re.Pattern[str]
    status: int = 500
    code: str = ""


class Server:
    """A store on 127.0.0.1. Faults can be set while it runs; `match` is a regular expression for `METHOD /path?query`.

    A fault with `times` strikes that many requests and is gone; `delay` and `skew` stay until they are set again.
    """

    def __init__(self, *, port: int = 0, delay: float = 0.0) -> None:
        self.port = port
        self.delay = delay
        """Seconds that every request takes longer."""
        self.skew = 0.0
        """Seconds by which the store's clock is ahead."""
        self.requests: Counter[tuple[str, str]] = Counter()
        """How many of each method and kind arrived, refused ones included."""
        self.received = self.sent = 0
        """Bytes of bodies."""
        self.struck: list[str] = []
        """Which faults have struck, in order."""
        self._faults: list[_Fault] = []
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._connections: set[_Connection] = set()
        self._thread: threading.Thread | None = None
        self._date = (0, "")

    # What a store has to say

    def answer(self, request: Request) -> Reply:
        """Do what is asked."""
        raise NotImplementedError

    def error(self, status: int, code: str, message: str = "") -> Reply:
        """An answer in the store's own form of errors."""
        raise NotImplementedError

    def kind(self, request: Request) -> str:
        """The word under which a request is counted."""
        raise NotImplementedError

    # Faults

    def fail(self, status: int, code: str, times: int = 1, match: str = "") -> None:
        """Refuse requests; nothing is done."""
        self._add(_Fault("fail", times, re.compile(match), status, code))

    def stall(self, times: int = 1, match: str = "") -> None:
        """Take requests and never answer them."""
        self._add(_Fault("stall", times, re.compile(match)))

    def cut(self, times: int = 1, match: str = "") -> None:
        """Close the connection in the middle of the body, whichever way it goes; nothing is written."""
        self._add(_Fault("cut", times, re.compile(match)))

    def lose_answer(self, times: int = 1, match: str = "^(PUT|POST|DELETE)") -> None:
        """Do what is asked and close the connection without a word."""
        self._add(_Fault("lose", times, re.compile(match)))

    def heal(self) -> None:
        """No more faults."""
        with self._lock:
            self._faults.clear()
        self.delay = self.skew = 0.0

    def _add(self, fault: _Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def _strike(self, request: Request, kinds: tuple[str, ...]) -> _Fault | None:
        if not self._faults:
            return None
        line = f"{request.method} {request.target}"
        with self._lock:
            for fault in self._faults:
                if fault.kind in kinds and fault.match.search(line):
                    fault.times -= 1
                    if fault.times <= 0:
                        self._faults.remove(fault)
                    self.struck.append(fault.kind)
                    return fault
        return None

    # Running

    @property
    def address(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return f"http://127.0.0.1:{self.port}"

    def now(self) -> float:
        """The store's clock."""
        return time.time() + self.skew

    def date(self) -> str:
        """The clock as HTTP writes it."""
        second = int(self.now())
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True))
        return self._date[1]

    def __enter__(self) -> Self:
        ready = threading.Event()

        def run() -> None:
            asyncio.set_event_loop(self._loop)
            server = self._loop.run_until_complete(
                self._loop.create_server(lambda: _Connection(self), "127.0.0.1", self.port, backlog=512)
            )
            self.port = server.sockets[0].getsockname()[1]
            ready.set()
            self._loop.run_forever()
            server.close()
            for connection in list(self._connections):
                connection.abort()
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.close()

        self._thread = threading.Thread(target=run, name=type(self).__name__, daemon=True)
        self._thread.start()
        if not ready.wait(10):
            raise RuntimeError(f"{type(self).__name__} did not start")
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread is not None:
            self._thread.join(10)


class _Connection(asyncio.Protocol):
    """One client's connection, one request at a time."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._buffer = bytearray()
        self._request: Request | None = None
        self._length = 0
        self._cut: _Fault | None = None
        self._busy = False
        self._rest = memoryview(b"")
        self._last = False

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server._connections.discard(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self._advance()

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._pump()

    # A request

    def abort(self) -> None:
        """Close without a word."""
        self._transport.abort()

    def _advance(self) -> None:
        if self._busy:
            return
        if self._request is None and not self._read_head():
            return
        request = self._request
        assert request is not None
        if self._cut and len(self._buffer) >= self._length // 2:
            self.abort()
            return
        if len(self._buffer) < self._length:
            return
        if len(self._buffer) == self._length:
            request.body, self._buffer = self._buffer, bytearray()
        else:
            request.body = self._buffer[: self._length]
            del self._buffer[: self._length]
        self._server.received += self._length
        self._request, self._busy = None, True
        if self._server.delay:
            self._server._loop.call_later(self._server.delay, self._serve, request)
        else:
            self._serve(request)

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        method, target, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self._request = Request(method, target, headers)
        self._length = int(headers.get("content-length", 0))
        self._cut = self._server._strike(self._request, ("cut",)) if self._length else None
        if headers.get("expect", "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _serve(self, request: Request) -> None:
        server = self._server
        server.requests[request.method, server.kind(request)] += 1
        fault = server._strike(request, ("fail", "stall", "lose", "cut"))
        if fault is not None and fault.kind == "stall":
            return
        if fault is not None and fault.kind == "fail":
            self._send(request, server.error(fault.status, fault.code))
            return
        if request.headers.get("transfer-encoding"):
            reply = server.error(411, "MissingContentLength")
        else:
            reply = server.answer(request)
        if fault is not None and fault.kind == "lose":
            self.abort()
            return
        self._send(request, reply, cut=fault is not None)

    def _send(self, request: Request, reply: Reply, *, cut: bool = False) -> None:
        body = memoryview(reply.body)
        if reply.part is not None:
            body = body[reply.part[0] : reply.part[1]]
        lines = [
            f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}",
            f"Date: {self._server.date()}",
            *(f"{name}: {value}" for name, value in reply.headers.items()),
        ]
        if reply.status not in (204, 304):
            lines.append(f"Content-Length: {len(body)}")
        if request.method == "HEAD" or reply.bodiless:
            body = body[:0]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8")
        self._server.sent += len(body)
        self._last = cut
        if cut:
            body = body[: len(body) // 2]
        self._paused = False
        if len(body) < _PIECE:
            self._rest = memoryview(head + body)
        else:
            self._transport.write(head)
            self._rest = body
        self._pump()

    def _pump(self) -> None:
        while self._rest and not self._paused:
            piece, self._rest = self._rest[:_PIECE], self._rest[_PIECE:]
            self._transport.write(piece)
        if not self._rest and self._busy:
            self._busy = False
            if self._last:
                self._transport.close()
            elif self._buffer:
                self._advance()


_PIECE = 256 * 1024
