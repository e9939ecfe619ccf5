"""The process that terraform starts: one line on stdout, then answers over a socket, until terraform has enough.

Three rules keep what exists from being lost. Ctrl-C in a terminal reaches this process too, and is left to terraform,
which asks it to stop; the calls that run then end with what they have. A call's failure is an answer. And a provider
whose terraform is gone lets its calls come to their end before it goes itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpclib
from grpclib.const import Cardinality, Handler, Status
from grpclib.encoding.base import CodecBase
from grpclib.server import Server

from .messages import PLUGIN, PROVIDER, SERVING
from .protobuf import Malformed, Table, decode, encode
from .provider import Provider

LONGEST = 90
"""Characters of a socket's path: 104 fit on macOS and 107 on Linux."""
STALE = 3600.0
"""Seconds after which a folder whose socket nobody answers at is cleared away: its provider was killed."""
GRACE = 1.5
"""Seconds for running calls once terraform asks for the end: it kills after two."""
ORPHANED = 120.0
"""Seconds for them when terraform is gone: enough to undo what was begun."""
WATCH = 1.0
"""Seconds between looks whether terraform lives."""
LEAVE = 1.0
"""Seconds for the last answers to leave: whoever has them asks for the end."""
THREADS = 256
"""Calls side by side. Terraform makes 10 unless told otherwise; a thread is started when it is needed."""


class _Raw(CodecBase):
    """Messages are bytes to grpclib: what cannot be read gets an answer from here, not a traceback from there."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


class _Services:
    """Everything that terraform may ask, by path."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._pool = ThreadPoolExecutor(THREADS, "call")
        self._calls: set[Future[dict[str, Any]]] = set()
        self.idle, self.ended = asyncio.Event(), asyncio.Event()
        self.idle.set()

    def __mapping__(self) -> Mapping[str, Handler]:
        known = {f"/tfplugin6.Provider/{name}": tables for name, tables in PROVIDER.items()} | PLUGIN
        unary = {path: self._unary(path, *tables) for path, tables in known.items()}
        return {**unary, "/plugin.GRPCStdio/StreamStdio": _handler(self._stdio, Cardinality.UNARY_STREAM)}

    def _unary(self, path: str, asked: Table, answered: Table) -> Handler:
        loop = asyncio.get_running_loop()

        async def handle(stream: Any) -> None:
            try:
                request = decode(asked, await stream.recv_message() or b"")
            except Malformed as error:
                raise grpclib.GRPCError(Status.INVALID_ARGUMENT, f"{path}: {error}") from error
            if path in PLUGIN:
                await stream.send_message(encode(answered, self._of_plugin(path)))
                return
            call: Future[dict[str, Any]] = self._pool.submit(self._provider.answer, path.rpartition("/")[2], request)
            self._calls.add(call)
            self.idle.clear()
            try:
                answer = await asyncio.wrap_future(call)
                await stream.send_message(encode(answered, answer))
            finally:  # either way the call is over only when its thread is, also where nobody waits for it any more
                call.add_done_callback(lambda call: loop.call_soon_threadsafe(self._over, call))

        return _handler(handle, Cardinality.UNARY_UNARY)

    def _of_plugin(self, path: str) -> dict[str, Any]:
        if path.endswith("/Shutdown"):
            asyncio.get_running_loop().call_later(0.02, self.ended.set)  # after this answer
            return {}
        return {"status": SERVING}

    def _over(self, call: Future[dict[str, Any]]) -> None:
        self._calls.discard(call)
        if not self._calls:
            self.idle.set()

    async def _stdio(self, stream: Any) -> None:
        """What the provider prints: nothing, since stdout is stderr here. An end at once is a right answer."""
        await stream.recv_message()


def _handler(function: Callable[[Any], Any], cardinality: Cardinality) -> Handler:
    return Handler(function, cardinality, bytes, bytes)


def serve(provider: Provider, out: int, environ: Mapping[str, str]) -> None:
    """Answer terraform until it is done. `out` is where it waits for the handshake line."""
    with _folder() as folder:
        asyncio.run(_serve(provider, folder, out, environ))


async def _serve(provider: Provider, folder: Path, out: int, environ: Mapping[str, str]) -> None:
    context, own = None, ""
    if client := environ.get("PLUGIN_CLIENT_CERT"):  # none where TF_DISABLE_PLUGIN_TLS is set: the folder guards alone
        from .certificates import mutual

        context, own = mutual(client, folder)
    services = _Services(provider)
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopped.set)
    server = Server([services], codec=_Raw())
    address = folder / "s"
    parent = os.getppid()
    await server.start(path=str(address), ssl=context)
    os.write(out, f"1|6|unix|{address}|grpc|{own}\n".encode())
    asked = await _ended(services.ended, stopped, parent)
    provider.stopping.set()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(services.idle.wait(), GRACE if asked else ORPHANED)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(services.ended.wait(), LEAVE)
    server.close()


async def _ended(asked: asyncio.Event, stopped: asyncio.Event, parent: int) -> bool:
    """Waits until terraform asks for the end, or a signal does, or terraform is gone; whether it was the first."""
    waits = [asyncio.ensure_future(event.wait()) for event in (asked, stopped)]
    while os.getppid() == parent:
        done, _ = await asyncio.wait(waits, timeout=WATCH, return_when=asyncio.FIRST_COMPLETED)
        if done:
            break
    return asked.is_set()


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder that nobody else can enter, with a name short enough for a socket in it."""
    base = Path(tempfile.gettempdir())
    if len(os.fsencode(base / "lofty-tf-12345678/s")) > LONGEST:
        base = Path("/tmp")  # noqa: S108 (mkdtemp makes it private)
    _clear(base)
    made = Path(tempfile.mkdtemp(prefix="lofty-tf-", dir=base))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _clear(base: Path) -> None:
    """Take away what killed providers of this person left."""
    for old in base.glob("lofty-tf-*"):
        with contextlib.suppress(OSError):
            there = old.lstat()
            if there.st_uid != os.getuid() or time.time() - there.st_mtime < STALE:
                continue
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(old / "s"))
                except (ConnectionRefusedError, FileNotFoundError):
                    shutil.rmtree(old, ignore_errors=True)
