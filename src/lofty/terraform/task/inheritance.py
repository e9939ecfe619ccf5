"""Tasks that the provider before lofty has made, which a state may still hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...drivers import registry
from ...drivers.base import Heir
from . import words

if TYPE_CHECKING:
    from ...api import Client

END = "end it with the old provider: terraform destroy; or, if it is gone for certain: terraform state rm"


def left(client: Client, cloud: str, region: str, task: str) -> str:
    """What is still there of one, in words; empty when that is nothing."""
    if cloud not in words.CLOUDS:
        return ""  # the provider before lofty knew no other
    name = words.CLOUDS[cloud]
    if name not in registry.names():
        return f"it cannot be looked for on {cloud}"
    driver = client.driver(name)
    if isinstance(driver, Heir) and (there := driver.inherited(region, [task]).get(task)):
        return f"{there} in {region} are still there"
    return ""
