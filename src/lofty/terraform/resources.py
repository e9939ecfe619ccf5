"""What terraform finds in lofty."""

from __future__ import annotations

from .progress import say
from .provider import Provider


def provider() -> Provider:
    """Every resource and data source."""
    return Provider(resources=(), sources=(), say=say)
