"""`lofty price`."""

from __future__ import annotations

from typing import Any

import click

from . import options
from .output import document, money, say, table


@click.command(help="Show machines that fit, cheapest first.")
@options.making("lab")
@options.as_json
def command(as_json: bool, **given: Any) -> None:
    """Every figure with its source."""
    from ..api import Client

    offers = Client().offers(options.given(given))
    if as_json:
        document(offers)
        return
    for note in {note for offer in offers for note in offer.notes}:
        say(f"note: {note}")
    rows = [
        (o.driver, o.region, o.machine, f"{o.cpus:g}", f"{o.memory:g}", f"{o.gpu}:{o.gpus}" if o.gpus else "-",
         money(o.price.usd_per_hour if o.price else None), o.price.source if o.price else "not known")
        for o in offers
    ]  # fmt: skip
    table(("ON", "REGION", "MACHINE", "CPUS", "GB", "GPU", "USD/H", "SOURCE"), rows)
