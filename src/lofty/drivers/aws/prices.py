"""What types cost here and now: spot from the price history, on demand from the price list, each with its source."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ...errors import CloudError, Forbidden
from ...model.money import Price
from .catalogue import PRICED, PRICED_FROM, TYPES
from .session import Clients, translated

AT_ONCE = 8
"""Questions to the price list at the same time: it is asked once for each type."""


class ZonePrice(NamedTuple):
    """The present spot price of a type in a zone."""

    machine: str
    zone: str
    usd: float


def spot(clients: Clients, machines: Sequence[str]) -> list[ZonePrice]:
    """Present spot prices of types in every zone of the region; a type without any is not sold as spot there."""
    newest: dict[tuple[str, str], tuple[datetime, float]] = {}
    for entry in _history(clients, machines):
        key, at = (entry["InstanceType"], entry["AvailabilityZone"]), entry["Timestamp"]
        if key not in newest or at > newest[key][0]:
            newest[key] = (at, float(entry["SpotPrice"]))
    return [ZonePrice(machine, zone, usd) for (machine, zone), (_, usd) in sorted(newest.items())]


def _history(clients: Clients, machines: Sequence[str]) -> Iterator[dict[str, Any]]:
    """With the start set to now, the history's last change before it: the price that holds."""
    asked: dict[str, Any] = {
        "InstanceTypes": list(machines),
        "ProductDescriptions": ["Linux/UNIX"],
        "StartTime": datetime.now(UTC),
    }
    token = ""
    while True:
        with translated("ask for spot prices"):
            page = clients.ec2.describe_spot_price_history(**asked, **({"NextToken": token} if token else {}))
        yield from page["SpotPriceHistory"]
        token = page.get("NextToken") or ""  # empty on the last page, and pages before it may hold nothing
        if not token:
            return


def of_spot(prices: Iterable[ZonePrice], zones: Iterable[str]) -> Price | None:
    """The price of the cheapest of these zones. Which one a machine comes from is AWS's choice, so the dearest is told
    too."""
    among = set(zones)
    ordered = sorted((one.usd, one.zone) for one in prices if one.zone in among)
    if not ordered:
        return None
    (usd, zone), (most, _) = ordered[0], ordered[-1]
    beyond = f", up to {most:.4f} in other zones" if most > usd else ""
    return Price(usd_per_hour=usd, source=f"spot price in {zone}{beyond}", date=_today())


def on_demand(clients: Clients, machines: Sequence[str]) -> dict[str, Price]:
    """Prices of types in the region: from the price list, else from our dated table, else none. That the list may
    not be asked is no reason to stop."""
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        listed = list(pool.map(lambda machine: _listed(clients, machine), machines))
    found: dict[str, Price] = {}
    for machine, usd in zip(machines, listed, strict=True):
        known = TYPES.get(machine)
        if usd is not None:
            found[machine] = Price(usd_per_hour=usd, source=f"price list of {clients.region}", date=_today())
        elif known is not None and known.usd is not None:
            found[machine] = Price(usd_per_hour=known.usd, source=PRICED_FROM, date=PRICED)
    return found


def _listed(clients: Clients, machine: str) -> float | None:
    wanted = {
        "instanceType": machine,
        "regionCode": clients.region,
        "operatingSystem": "Linux",
        "tenancy": "Shared",
        "preInstalledSw": "NA",
        "capacitystatus": "Used",
    }
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in wanted.items()]
    try:
        with translated("ask for the price list"):
            answer = clients.pricing.get_products(ServiceCode="AmazonEC2", Filters=filters, MaxResults=100)
    except (Forbidden, CloudError):
        return None
    prices = [usd for text in answer["PriceList"] for usd in _dollars(json.loads(text))]
    return min(prices, default=None)


def _dollars(product: Mapping[str, Any]) -> Iterator[float]:
    """Hourly prices of one product of the list. Rows of 0.0 belong to reservations."""
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for row in term.get("priceDimensions", {}).values():
            usd = float(row.get("pricePerUnit", {}).get("USD") or 0)
            if usd > 0:
                yield usd


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
