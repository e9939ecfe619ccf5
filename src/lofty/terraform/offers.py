"""`lofty_offers`: machines that can be had, with their prices; what `lofty price` shows."""

from __future__ import annotations

from . import options
from .clients import Clients
from .resource import Call, DataSource
from .schema import BOOL, NUMBER, STRING, Attribute, List, Object, Schema, Values

ASKED = ("on", "machine", "gpu", "cpus", "memory", "disk", "image", "region", "spot", "max_price")
OFFER = Object(
    {
        "on": STRING,
        "region": STRING,
        "machine": STRING,
        "cpus": NUMBER,
        "memory": NUMBER,
        "gpu": STRING,
        "gpus": NUMBER,
        "spot": BOOL,
        "price_per_hour": NUMBER,
        "price_source": STRING,
    }
)


class Offers(DataSource):
    """Machines that fit, cheapest first."""

    name = "lofty_offers"
    schema = Schema(
        attributes=(
            *options.arguments(ASKED, replace=False),
            Attribute(
                name="offers",
                type=List(OFFER),
                computed=True,
                description="Cheapest first; a price in USD is null where it is not known.",
            ),
        ),
        description="Machines that fit, with what they cost.",
    )

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def read(self, call: Call, config: Values) -> Values:
        """Asks the cloud, where it is one."""
        found = self._clients.get().offers(options.given(config, ASKED))
        for note in {note for offer in found for note in offer.notes}:
            call.warn(note)
        return {
            "offers": [
                {
                    "on": offer.driver,
                    "region": offer.region,
                    "machine": offer.machine,
                    "cpus": offer.cpus,
                    "memory": offer.memory,
                    "gpu": offer.gpu,
                    "gpus": offer.gpus,
                    "spot": offer.spot,
                    "price_per_hour": offer.price.usd_per_hour if offer.price else None,
                    "price_source": offer.price.source if offer.price else None,
                }
                for offer in found
            ]
        }
