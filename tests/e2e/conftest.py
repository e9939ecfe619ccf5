"""The command line for end-to-end tests: an owner of its own, and nothing of it may be left, kernels included."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import psutil
import pytest

from ..conftest import Lofty, eventually
from .support import OPEN, processes


@pytest.fixture
def lofty(lofty: Lofty) -> Iterator[Lofty]:
    """Tests run side by side: a task's identifier, hence its port and the tag of its processes, is made from owner and
    name, so each test is another owner."""
    lofty.environ["LOFTY_OWNER"] = f"test-{uuid.uuid4().hex[:12]}"
    yield lofty
    while OPEN:
        OPEN.pop().close()
    lofty.clear()
    eventually(lambda: not processes(lofty), 5, check=False)
    left = []
    for process in processes(lofty):
        try:
            left.append(f"{process.pid} {' '.join(process.cmdline())[:200]}")
            process.kill()
        except psutil.NoSuchProcess:
            continue
    assert not left, f"left running: {left}"
