"""A child process of the agent: its own process group, its output into the log, an end that is certain."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

TERM_SECONDS = 10.0
"""How long a child may take to end in good order; kernels and notebooks are saved in that time."""


PIPE_SECONDS = 1.0
"""How long output that is still in the pipe may take once the process has ended. Not for ever: something that the
process left running in the background may hold the pipe open."""


class _Protocol(asyncio.subprocess.SubprocessStreamProtocol):
    """Tells the end of the process itself; asyncio's own `wait` waits until nobody holds its pipes any more."""

    def __init__(self) -> None:
        super().__init__(limit=65536, loop=asyncio.get_running_loop())
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        super().process_exited()
        self.exited.set()


class Child:
    """A running child."""

    def __init__(
        self, transport: asyncio.SubprocessTransport, exited: asyncio.Event, pumps: list[asyncio.Task[None]]
    ) -> None:
        self._transport, self._exited, self._pumps = transport, exited, pumps

    @property
    def pid(self) -> int:
        """Also the id of its process group."""
        return self._transport.get_pid()

    async def wait(self) -> int:
        """Exit code as a shell gives it: 128 + n after signal n."""
        await self._exited.wait()
        await asyncio.wait(self._pumps, timeout=PIPE_SECONDS)
        for pump in self._pumps:
            pump.cancel()
        self._transport.close()
        code = self._transport.get_returncode() or 0
        return 128 - code if code < 0 else code

    async def end(self) -> int:
        """TERM to the group, and KILL when that was not enough."""
        _signal_group(self.pid, signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(TERM_SECONDS):
                await self._exited.wait()
        _signal_group(self.pid, signal.SIGKILL)
        return await self.wait()


async def start(
    argv: Sequence[str], env: dict[str, str], cwd: Path, feed: Callable[[Literal["out", "err"], bytes], None]
) -> Child:
    """Start a program; raises `OSError` when there is none or it may not be run."""
    transport, protocol = await asyncio.get_running_loop().subprocess_exec(
        _Protocol,
        *argv,
        env=env,
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )

    async def pump(source: asyncio.StreamReader, stream: Literal["out", "err"]) -> None:
        while data := await source.read(65536):
            feed(stream, data)

    assert protocol.stdout is not None
    assert protocol.stderr is not None
    pumps = [asyncio.create_task(pump(protocol.stdout, "out")), asyncio.create_task(pump(protocol.stderr, "err"))]
    return Child(transport, protocol.exited, pumps)


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return  # gone, or (macOS) only zombies are left in it
