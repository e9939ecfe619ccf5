"""What terraform finds in lofty."""

from __future__ import annotations

from .clients import Clients
from .offers import Offers
from .progress import say
from .provider import Provider
from .task.resource import IterativeTask
from .workspace import Workspace


def provider() -> Provider:
    """Every resource and data source."""
    clients = Clients()
    return Provider(resources=(IterativeTask(clients), Workspace(clients)), sources=(Offers(clients),), say=say)
