"""`python -m lofty.reach.relay FOLDER`: the process that holds a forward (see `forward`).

It listens at the workspace's port itself and copies every connection to a socket that `ssh -L` serves. So the port is
never free for another program, whose answer an open page would take for its own, while `ssh` is started again or the
machine is replaced; connections that come meanwhile wait. What that costs is in docs/decisions/0008.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING

import msgspec
import psutil

from ..agent.paths import make_run_folder
from ..drivers.base import Settings
from ..errors import Conflict, LoftyError, Unavailable
from ..model.state import ENDED, Endpoint
from . import forward, loopback, ssh, waiting
from .forward import Order, Problem, Status

if TYPE_CHECKING:
    from ..drivers.base import Driver

LOOK_EVERY = 120.0
"""Seconds between questions about the task while the connection stands: that alone says that the machine lives."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
STOPPED_FOR, LOST_FOR = 300.0, 3600.0
"""Seconds until it gives up a task that is known to be stopped; and one of which nothing is known."""
HOLD, HOLD_PAGE = 30.0, 2.0
"""Seconds that a new connection waits for the machine to be there again; and one whose browser shows a page until it
is, since nobody looks at nothing for long."""
CHUNK = 256 * 1024
LOG_BYTES = 256 * 1024


class _Over(Exception):
    """Nothing is to be done any more; the reason in words."""


class Relay:
    """The port on this computer, and the copying."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self.up, self.wanted = asyncio.Event(), asyncio.Event()
        """The machine is connected; somebody waits for it, so it is to be looked for now."""
        self.news = waiting.News(name)

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its begin to its end."""
        with suppress(OSError):
            if first := await reader.read(CHUNK):  # a browser opens some that it never uses
                page = waiting.is_page(first)
                answered = await self._through(first, reader, writer, HOLD_PAGE if page else HOLD)
                if page and not answered:
                    self.wanted.set()
                    writer.write(waiting.answer(self.news))
                    await writer.drain()
                elif not answered:
                    writer.transport.abort()
        writer.close()

    async def _through(
        self, first: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, hold: float
    ) -> bool:
        """To the machine and back; whether anything came back."""
        try:
            async with asyncio.timeout(hold):
                far_reader, far_writer = await self._far()
        except TimeoutError:
            return False
        far_writer.write(first)
        there = asyncio.create_task(_copy(reader, far_writer))
        try:
            came = await far_reader.read(CHUNK)  # nothing: the way is there, and the workspace is not yet
            writer.write(came)
            if came:
                await asyncio.gather(there, _copy(far_reader, writer))
        except OSError:
            came = b""
        finally:
            there.cancel()
            far_writer.close()
        return bool(came)

    async def _far(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while True:
            await self.up.wait()
            try:
                return await asyncio.open_unix_connection(str(self._path), limit=CHUNK)
            except OSError:  # it has just ended, and that is not known yet
                await asyncio.sleep(0.1)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until the sender has said all, or either side is gone."""
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.transport.abort()


class Keeper:
    """Keeps `ssh` connected to wherever the machine is now."""

    def __init__(self, folder: Path, order: Order, status: Status, relay: Relay, near: Path) -> None:
        self._folder, self._order, self._status, self._relay, self._near = folder, order, status, relay, near
        self._settings = Settings(home=order.home, cache=order.cache, environ=dict(os.environ))
        self._driver: Driver | None = None
        self._end: Endpoint | None = order.end
        self._absent = Unavailable(f"'{order.name}' has no machine now", hint=f"lofty start {order.name}")
        """Why there is no address when there is none."""
        self._was_up = False

    async def keep(self) -> None:
        """Connect, and again when it drops; ends with `_Over`, or what no further try would change."""
        pause, since, known = FIRST_PAUSE, time.monotonic(), True
        while True:
            self._status.tries += 1
            try:
                if self._end is None:
                    raise self._absent.with_traceback(None)
                await self._connected(self._end)
            except LoftyError as error:
                if not isinstance(error, Unavailable) and not self._was_up:
                    raise
                self._failed(error)
            if self._status.up:
                pause, since = FIRST_PAUSE, time.monotonic()
            self._say(up=False)
            if time.monotonic() - since > (STOPPED_FOR if known and self._end is None else LOST_FOR):
                raise _Over("there has been no machine for too long")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._relay.wanted.wait(), pause)
                pause = FIRST_PAUSE
            self._relay.wanted.clear()
            pause = min(pause * 2, LONGEST_PAUSE)
            known = await self._ask()

    async def _connected(self, end: Endpoint) -> None:
        """One run of `ssh`, to its end."""
        ssh.prepare(self._order.keys, end)
        process = await asyncio.create_subprocess_exec(
            *ssh.forwarding(self._order.keys, end, self._near),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        said = asyncio.create_task(_last_words(process.stderr))
        ended = asyncio.create_task(process.wait())
        try:
            while not self._near.exists() and not ended.done():
                await asyncio.wait({ended}, timeout=0.02)
            if not ended.done():
                self._was_up, self._status.problem, self._relay.news.problem = True, None, ""
                self._say(up=True)
                self._relay.up.set()
                _note(f"connected to {end.host}:{end.ssh_port}")
            moved = False
            while not ended.done() and not moved:
                waker = asyncio.create_task(self._relay.wanted.wait())
                await asyncio.wait({ended, waker}, timeout=LOOK_EVERY, return_when=asyncio.FIRST_COMPLETED)
                waker.cancel()
                self._relay.wanted.clear()
                moved = not ended.done() and await self._ask() and self._end != end
        finally:
            self._relay.up.clear()
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
            await ended
            self._near.unlink(missing_ok=True)
            words = await said
        if not moved:
            raise ssh.failure(words, end, self._order.name)

    async def _ask(self) -> bool:
        """Ask where the machine is now; whether there was an answer. Without one, it is taken to be where it was."""
        try:
            self._end = await asyncio.to_thread(self._where)
        except Unavailable as error:
            self._end, self._absent = None, error
            return False
        except LoftyError as error:
            _note(f"the cloud does not tell: {error}")
            return False
        return True

    def _where(self) -> Endpoint | None:
        """None while there is no machine. Raises `_Over` where there is no task."""
        from ..drivers import registry

        self._driver = self._driver or registry.load(self._order.handle.driver, self._settings)
        seen = self._relay.news.seen = self._driver.observe(self._order.handle)
        if seen.state == "gone":
            raise _Over("the task is gone")
        return None if seen.state in ENDED else self._driver.reach(self._order.handle, self._order.end.port)

    def _failed(self, error: LoftyError) -> None:
        if self._status.problem is None or self._status.problem.message != str(error):
            _note(str(error))
        self._status.problem, self._status.failed = Problem.of(error), self._status.tries
        self._relay.news.problem = str(error)

    def _say(self, *, up: bool) -> None:
        self._status.up = up
        forward.put_status(self._folder, self._status)


async def _last_words(stream: asyncio.StreamReader) -> str:
    """The end of what is said, up to the end."""
    text = b""
    while data := await stream.read(4096):
        text = (text + data)[-4096:]
    return text.decode(errors="replace")


def _note(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
    sys.stderr.flush()
    with suppress(OSError):
        if os.fstat(2).st_size > LOG_BYTES:
            os.ftruncate(2, 0)


async def _serve(folder: Path, order: Order, status: Status, listener: socket.socket) -> None:
    near = Path(status.run) / forward.NEAR
    relay = Relay(near, order.name)
    keeper = Keeper(folder, order, status, relay, near)
    keeping = asyncio.create_task(keeper.keep())
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, keeping.cancel)
    loop.add_signal_handler(signal.SIGUSR1, relay.wanted.set)
    forward.put_status(folder, status)  # not before the signals are heard
    server = await asyncio.start_server(relay.carry, sock=listener, limit=CHUNK)
    try:
        await keeping
    finally:
        server.close()


def _hold(folder: Path, order: Order) -> None:
    """From the begin of the process to its end; the lock is held."""
    forward.clear(folder)
    own = psutil.Process()
    status = Status(pid=own.pid, birth=own.create_time())
    try:
        if missing := ssh.missing_program():
            raise missing
        listener = _listen(order)
        status.run = str(make_run_folder("ssh"))
        asyncio.run(_serve(folder, order, status, listener))
    except LoftyError as error:
        _note(f"ended: {error}")
        status.problem, status.ended, status.up = Problem.of(error), time.time(), False
        forward.put_status(folder, status)
    except _Over as over:
        _note(f"ended: {over}")
        if str(over) == "the task is gone":
            rmtree(folder, ignore_errors=True)
            rmtree(order.keys, ignore_errors=True)
    except asyncio.CancelledError:
        _note("ended: asked to")
    finally:
        if status.run:
            rmtree(status.run, ignore_errors=True)
        if status.ended is None:
            (folder / "status.json").unlink(missing_ok=True)


def _listen(order: Order) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", order.port))
        listener.listen(100)
    except OSError:
        who = loopback.holder(order.port)
        raise Conflict(
            f"port {order.port} of this computer is in use" + (f" by {who}" if who else ""),
            hint=f"end that program, then lofty url {order.name}",
        ) from None
    return listener


def main() -> None:
    """Fork away, be the only one, hold."""
    if os.fork():
        os._exit(0)
    from filelock import FileLock, Timeout

    folder = Path(sys.argv[1])
    try:
        with FileLock(folder / "lock", blocking=False):
            _hold(folder, msgspec.json.decode((folder / "order.json").read_bytes(), type=Order))
    except Timeout:
        return  # another command was faster


if __name__ == "__main__":
    main()
