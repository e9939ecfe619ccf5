"""A child of the agent ends when it is told to, with all that it started, whatever it does about it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from lofty.agent import child

from ..conftest import eventually

STUBBORN = "trap '' TERM; (trap '' TERM; sleep 600) & echo $!; while :; do sleep 600; done"


async def started(script: str, folder: Path) -> child.Child:
    """A shell that has said something, and so has its traps set."""
    spoken = asyncio.Event()
    one = await child.start(["bash", "-c", script], dict(os.environ), folder, lambda *_: spoken.set())
    await spoken.wait()
    return one


def exists(group: int) -> bool:
    """Whether anything is left of a process group."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):  # gone, or (macOS) only zombies are left in it
        return False
    return True


def test_what_ignores_term_is_killed_with_all_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "TERM_SECONDS", 0.3)

    async def live() -> tuple[int, int]:
        one = await started(STUBBORN, tmp_path)
        try:
            return one.pid, await asyncio.wait_for(one.end(), 10)
        finally:
            if exists(one.pid):
                os.killpg(one.pid, signal.SIGKILL)

    began = time.monotonic()
    pid, code = asyncio.run(live())
    assert code == 128 + signal.SIGKILL
    assert time.monotonic() - began >= 0.3, "it had its time to end in good order"
    eventually(lambda: not exists(pid), 5)


def test_what_a_child_leaves_of_its_group_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "TERM_SECONDS", 0.3)

    async def live() -> tuple[int, bool]:
        one = await started("(trap '' TERM; echo set; exec sleep 600) & wait", tmp_path)
        code = await asyncio.wait_for(one.end(), 15)
        eventually(lambda: not exists(one.pid), 5, check=False)
        left = exists(one.pid)
        if left:
            os.killpg(one.pid, signal.SIGKILL)
        return code, left

    code, left = asyncio.run(live())
    assert code == 128 + signal.SIGTERM
    assert not left


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_the_exit_code_after_a_signal_is_a_shells(tmp_path: Path, number: signal.Signals) -> None:
    async def live() -> int:
        one = await started(f"echo; kill -{number.value} $$", tmp_path)
        return await one.wait()

    assert asyncio.run(live()) == 128 + number


def test_a_grandchild_that_holds_the_output_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """A job that leaves something running in the background has ended all the same."""

    async def live() -> int:
        one = await child.start(["bash", "-c", "sleep 600 & echo; exit 3"], dict(os.environ), tmp_path, lambda *_: None)
        try:
            return await asyncio.wait_for(one.wait(), 5)
        finally:
            os.killpg(one.pid, signal.SIGKILL)

    assert asyncio.run(live()) == 3
