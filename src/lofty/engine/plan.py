"""What would be made, and what it would cost: pure, so that `--dry-run` is the same code."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ..drivers.base import Driver, Resource
from ..errors import NoOffer, Unsupported
from ..model.spec import TaskSpec
from ..model.state import Handle, Offer


class Plan(NamedTuple):
    """An offer taken, and the resources in the order of their creation."""

    spec: TaskSpec
    offer: Offer
    resources: tuple[Resource, ...]

    @property
    def handle(self) -> Handle:
        """Where the task will be found; the name of the resource that is its store is the store's URL."""
        store = next(resource.name for resource in self.resources if resource.kind == "store")
        return Handle(driver=self.offer.driver, region=self.offer.region, id=self.spec.id, store=store)


def plan(driver: Driver, spec: TaskSpec) -> Plan:
    """The cheapest offer that fits. Raises `NoOffer` when nothing does, `Unsupported` for what the driver cannot."""
    if spec.parallelism > 1 and "parallelism" not in driver.features:
        raise Unsupported(f"{driver.name} runs one machine a task", hint="leave --parallelism out")
    if spec.workdir and "in-place" not in driver.features:
        raise Unsupported(f"{driver.name} cannot work in a directory of this computer", hint="this is a bug of lofty")
    if "in-place" not in driver.features:  # on this computer these have no meaning, which the offer says
        need = spec.need
        asked = {
            "spot": need.spot,
            "fallback": need.fallback,
            "gpus": bool(need.gpu) or "+" in need.machine,
            "regions": bool(need.region),
        }
        for feature, wanted in asked.items():
            if wanted and feature not in driver.features:
                raise Unsupported(f"{driver.name} has no {feature}", hint="lofty price")
    offers = driver.offers(spec.need)
    if not offers:
        raise NoOffer(f"no machine of {driver.name} fits what was asked for", hint="lofty price")
    offer = offers[0]
    price = offer.price
    if price is None and (spec.need.max_price is not None or spec.budget is not None):
        raise NoOffer(
            f"what {offer.machine} costs is not known, so --max-price and --budget cannot be kept",
            hint="leave them out, or name another --machine",
        )
    if price is not None and spec.need.max_price is not None and price.usd_per_hour > spec.need.max_price:
        raise NoOffer(
            f"the cheapest machine costs {price.usd_per_hour:.4f} USD/h, above {spec.need.max_price}",
            hint="raise --max-price or take a smaller machine",
        )
    priced = msgspec.structs.replace(spec, price=price, on_demand=offer.on_demand)
    return Plan(priced, offer, tuple(driver.resources(priced, offer)))
