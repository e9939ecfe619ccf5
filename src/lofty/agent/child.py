"""A child process of the agent: its own process group, its output into the log, an end that is certain."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

TERM_SECONDS = 10.0
"""How long a child may take to end in good order; kernels and notebooks are saved in that time."""


class Child:
    """A running child."""

    def __init__(self, process: asyncio.subprocess.Process, pumps: list[asyncio.Task[None]]) -> None:
        self._process, self._pumps = process, pumps

    @property
    def pid(self) -> int:
        """Also the id of its process group."""
        return self._process.pid

    async def wait(self) -> int:
        """Exit code as a shell gives it: 128 + n after signal n."""
        code = await self._process.wait()
        # Output that is in the pipe already belongs to the log; a grandchild may hold the pipe open for ever.
        await asyncio.wait(self._pumps, timeout=1.0)
        for pump in self._pumps:
            pump.cancel()
        return 128 - code if code < 0 else code

    async def end(self) -> int:
        """TERM to the group, and KILL when that was not enough."""
        _signal_group(self.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(TERM_SECONDS):
                await self._process.wait()
        except TimeoutError:
            pass
        _signal_group(self.pid, signal.SIGKILL)
        return await self.wait()


async def start(
    argv: Sequence[str], env: dict[str, str], cwd: Path, feed: Callable[[Literal["out", "err"], bytes], None]
) -> Child:
    """Start a program; raises `OSError` when there is none or it may not be run."""
    process = await asyncio.create_subprocess_exec(
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

    assert process.stdout is not None
    assert process.stderr is not None
    pumps = [
        asyncio.create_task(pump(process.stdout, "out")),
        asyncio.create_task(pump(process.stderr, "err")),
    ]
    return Child(process, pumps)


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return  # gone, or (macOS) only zombies are left in it
