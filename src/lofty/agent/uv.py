"""Finding and running `uv`, which makes every environment."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from pathlib import Path

from ..errors import EnvironmentFailed


def find_uv() -> str:
    """Path of uv: `LOFTY_UV`, else the one installed with lofty, else one on PATH."""
    named = os.environ.get("LOFTY_UV")
    if named:
        if shutil.which(named):
            return named
        raise EnvironmentFailed(f"LOFTY_UV names {named}, which is not a program", hint="unset LOFTY_UV")
    try:
        import uv

        return str(uv.find_uv_bin())
    except (ImportError, FileNotFoundError):
        found = shutil.which("uv")
    if found is None:
        raise EnvironmentFailed("uv is not installed; it makes the environments", hint="pip install uv")
    return found


async def run_uv(*arguments: str, cwd: Path, env: dict[str, str] | None = None) -> str:
    """Run uv to its end and give its standard output; `EnvironmentFailed` with uv's own reason when it fails.
    Cancelling ends it."""
    process = await asyncio.create_subprocess_exec(
        find_uv(),
        "--no-progress",
        "--color=never",
        *arguments,
        cwd=cwd,
        env={**os.environ, **(env or {}), "VIRTUAL_ENV": ""},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        out, err = await process.communicate()
    except asyncio.CancelledError:
        _kill_group(process.pid)
        await process.wait()
        raise
    if process.returncode:
        raise _explained(err.decode(errors="replace"))
    return out.decode(errors="replace")


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


UNREACHABLE = (
    "dns error",
    "error sending request",
    "Connection refused",
    "network was disabled",
    "timed out",
)


def _explained(stderr: str) -> EnvironmentFailed:
    """uv's report, shortened to what helps."""
    lines = [line.rstrip() for line in stderr.splitlines() if line.strip() and not line.startswith("warning:")]
    text = " ".join(line.strip(" ╰─▶├×│\t") for line in lines)[:1200] or "uv failed without a word"
    text = text.removeprefix("error: ")
    if any(sign.lower() in stderr.lower() for sign in UNREACHABLE):
        return EnvironmentFailed(
            f"the package index could not be reached: {text}",
            hint="connect to the network, or name another index with UV_DEFAULT_INDEX, and run the command again",
        )
    if "No space left" in stderr:
        return EnvironmentFailed(f"the disk is full: {text}", hint="free some space and run the command again")
    return EnvironmentFailed(
        f"the packages could not be installed: {text}", hint="mend the requirements and run the command again"
    )
