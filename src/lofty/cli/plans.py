"""What `--dry-run` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .output import data, document, money, table

if TYPE_CHECKING:
    from ..engine.plan import Plan


def show(plan: Plan, *, as_json: bool) -> None:
    """The machine, its price, and every resource that would be made."""
    offer, spec = plan.offer, plan.spec
    usd = offer.price.usd_per_hour if offer.price else None
    resources = [{"kind": one.kind, "name": one.name} for one in plan.resources]
    if as_json:
        document(
            {
                "id": spec.id, "name": spec.name, "kind": spec.kind, "on": spec.on, "region": offer.region,
                "machine": offer.machine, "price_per_hour": usd, "resources": resources,
                "notes": list(offer.notes),
            }
        )  # fmt: skip
        return
    data(f"{spec.kind} {spec.name} on {offer.machine} ({spec.on}), {money(usd)} USD/h")
    for note in offer.notes:
        data(f"note: {note}")
    table(("WOULD MAKE", "NAME"), [(one["kind"], one["name"]) for one in resources])
