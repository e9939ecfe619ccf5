"""The command line for what the pages tell people to type."""

from __future__ import annotations

import uuid

import pytest

from ..conftest import Lofty


@pytest.fixture
def lofty(lofty: Lofty) -> Lofty:
    """Tests run side by side, and the pages give all their workspaces the same name: each test is another owner."""
    lofty.environ["LOFTY_OWNER"] = f"docs-{uuid.uuid4().hex[:12]}"
    return lofty
