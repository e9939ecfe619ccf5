"""Machines that can be had in the region, with their prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from ...errors import NoOffer, SpecError
from ...model.money import Price
from ...model.spec import Need
from ...model.state import Offer
from . import prices
from .catalogue import Arch, Type, arch_of, candidates, fits, nearest
from .network import Network
from .session import Clients, translated

OLD_GPUS = frozenset({"V100"})
"""GPUs that AWS's current GPU images bring no driver for."""


def offers(clients: Clients, need: Need) -> list[Offer]:
    """What fits, cheapest first; what has no known price last: spot machines with `--spot`, the others without. The
    ceiling is one for either. Raises `SpecError` and `NoOffer` as `candidates` does, and `NoOffer` when the region has
    none of them, or none so cheap."""
    wanted = candidates(need)
    places = zones(clients, [one.name for one in wanted])
    held = Network(clients, need.subnets).zones()
    if held is not None:
        places = {one: mine for one, there in places.items() if (mine := [zone for zone in there if zone in held])}
    here = described(clients, [one for one in wanted if one.name in places])
    if not here:
        raise _not_here(clients, wanted)
    fitting = [one for one in here if fits(one, need)]
    if not fitting:
        raise NoOffer(
            f"{here[0].name} has {here[0].cpus} CPUs, {here[0].memory:g} GiB and {here[0].gpus} GPUs: not as asked for",
            hint="leave --cpus, --memory and --gpu out, or name another --machine",
        )
    found = [*_spot(clients, need, fitting, places), *_on_demand(clients, need, fitting)]
    if need.fallback:
        found = _either_way(clients, need, found)
    affordable = [one for one in found if _affordable(one, need.max_price)]
    if not affordable:
        raise _too_dear(clients, need, found)
    return sorted(affordable, key=_order)


def zones(clients: Clients, machines: Sequence[str]) -> dict[str, list[str]]:
    """The zones of the region that offer each type; types that none does are left out."""
    found: dict[str, list[str]] = {}
    asked: dict[str, Any] = {
        "LocationType": "availability-zone",
        "Filters": [{"Name": "instance-type", "Values": list(machines)}],
    }
    token = ""
    while True:
        with translated("ask which machines there are"):
            page = clients.ec2.describe_instance_type_offerings(**asked, **({"NextToken": token} if token else {}))
        for entry in page["InstanceTypeOfferings"]:
            found.setdefault(entry["InstanceType"], []).append(entry["Location"])
        token = page.get("NextToken") or ""
        if not token:
            return {machine: sorted(places) for machine, places in found.items()}


def described(clients: Clients, types: Sequence[Type]) -> list[Type]:
    """The same types, with what AWS says of those that our table does not have."""
    unknown = [one.name for one in types if not one.known]
    if not unknown:
        return list(types)
    with translated("ask what a machine has"):
        answer = clients.ec2.describe_instance_types(InstanceTypes=unknown)
    told = {entry["InstanceType"]: _described(entry) for entry in answer["InstanceTypes"]}
    return [told.get(one.name, one) for one in types]


def _described(entry: Mapping[str, Any]) -> Type:
    gpus = entry.get("GpuInfo", {}).get("Gpus", [])
    first = gpus[0] if gpus else {}
    told = entry.get("ProcessorInfo", {}).get("SupportedArchitectures", [])
    arch: Arch = arch_of(entry["InstanceType"]) if not told else "arm64" if "arm64" in told else "x86_64"
    return Type(
        name=entry["InstanceType"],
        cpus=entry["VCpuInfo"]["DefaultVCpus"],
        memory=entry["MemoryInfo"]["SizeInMiB"] / 1024,
        gpu=first.get("Name", ""),
        gpus=sum(one.get("Count", 0) for one in gpus),
        gpu_memory=round(first.get("MemoryInfo", {}).get("SizeInMiB", 0) / 1024),
        arch=arch,
    )


def _spot(clients: Clients, need: Need, types: Sequence[Type], places: Mapping[str, Sequence[str]]) -> list[Offer]:
    if not need.spot:
        return []
    told = prices.spot(clients, [one.name for one in types])
    found = []
    for one in types:
        mine = [price for price in told if price.machine == one.name]
        price = prices.of_spot(mine, places[one.name])
        if price is not None:  # without a price it is not sold as spot here
            found.append(_offer(clients, need, one, price, spot=True))
    return found


def _either_way(clients: Clients, need: Need, spot: Sequence[Offer]) -> list[Offer]:
    """Spot offers with what the same machine costs on demand, without those that would then be too dear."""
    told = prices.on_demand(clients, [one.machine for one in spot])
    known = {one.machine: told[one.machine] for one in spot if told.get(one.machine)}
    most = need.max_price if need.max_price is not None else float("inf")
    kept = [
        msgspec.structs.replace(one, on_demand=known[one.machine])
        for one in spot
        if one.machine in known and known[one.machine].usd_per_hour <= most
    ]
    if spot and not known:
        raise NoOffer("what these machines cost on demand is not known", hint="leave --fallback out")
    if spot and not kept:
        cheapest = min(price.usd_per_hour for price in known.values())
        raise NoOffer(
            f"on demand the cheapest machine in {clients.region} costs {cheapest:.4f} USD/h, above {most:g}",
            hint=f"--max-price {cheapest:.4f}, or leave --fallback out",
        )
    return kept


def _on_demand(clients: Clients, need: Need, types: Sequence[Type]) -> list[Offer]:
    if need.spot:
        return []
    told = prices.on_demand(clients, [one.name for one in types])
    return [_offer(clients, need, one, told.get(one.name), spot=False) for one in types]


def _offer(clients: Clients, need: Need, one: Type, price: Price | None, *, spot: bool) -> Offer:
    old = one.gpu in OLD_GPUS and need.image in ("", "nvidia")
    return Offer(
        driver="aws",
        region=clients.region,
        machine=one.name,
        cpus=float(one.cpus),
        memory=one.memory,
        gpu=one.gpu,
        gpus=one.gpus,
        spot=spot,
        price=price,
        notes=(f"AWS's current GPU images have no driver for {one.gpu}: name an older --image",) if old else (),
    )


def _affordable(offer: Offer, most: float | None) -> bool:
    """What has no price cannot be said to be cheap enough."""
    return most is None or offer.usd_per_hour <= most


def _order(offer: Offer) -> tuple[float, float, float, str]:
    return offer.usd_per_hour, offer.cpus, offer.memory, offer.machine


def _not_here(clients: Clients, wanted: Iterable[Type]) -> SpecError | NoOffer:
    names = [one.name for one in wanted]
    near = nearest(names[0]) if len(names) == 1 else ""
    if near and near != names[0]:
        return SpecError(f"there is no type '{names[0]}' in {clients.region}", hint=f"did you mean --machine {near}?")
    return NoOffer(
        f"{clients.region} has no {' or '.join(names)}",
        hint="--region us-east-1, which has nearly all, or another --machine",
    )


def _too_dear(clients: Clients, need: Need, found: Sequence[Offer]) -> NoOffer:
    cheapest = min((one.price.usd_per_hour for one in found if one.price), default=None)
    if cheapest is None or need.max_price is None:
        what = "is sold as spot" if need.spot else "has a known price"
        return NoOffer(f"nothing that fits {what} in {clients.region}", hint="leave --spot and --max-price out")
    return NoOffer(
        f"the cheapest machine in {clients.region} costs {cheapest:.4f} USD/h, above {need.max_price:g}",
        hint=f"--max-price {cheapest:.4f}, or a smaller --machine",
    )
