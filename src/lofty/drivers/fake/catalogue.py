"""The machines of the cloud in memory, what they cost, and which of them fit."""

from __future__ import annotations

from collections.abc import Callable

from ...errors import SpecError, unknown_choice
from ...model import units
from ...model.hardware import GPUS, SIZES, check_machine
from ...model.money import Price
from ...model.spec import Need
from ...model.state import Offer

REGIONS = {"north-1": 1.0, "south-1": 1.25}
"""Regions, and what machines cost there compared with the first."""
PRICES_FROM = "2026-11-23"
_SIZES = {"s": (2, 4.0, 0.02, 1), "m": (8, 32.0, 0.16, 1), "l": (32, 128.0, 0.64, 4), "xl": (64, 256.0, 1.28, 8)}
"""Processors, GiB, USD an hour, and how many GPUs come with the size when one is asked for."""
_GPU_USD = dict(zip(GPUS, (0.2, 0.35, 0.6, 0.9, 2.4, 3.2, 5.0), strict=True))
SPOT_SHARE = 0.3


def machines(*, spot: bool) -> list[Offer]:
    """Every machine of every region."""
    offers = []
    for region, factor in REGIONS.items():
        for size, (cpus, memory, base, gpus) in _SIZES.items():
            for gpu in ("", *GPUS):
                usd = (base + (_GPU_USD[gpu] * gpus if gpu else 0.0)) * factor * (SPOT_SHARE if spot else 1.0)
                offers.append(
                    Offer(
                        driver="fake",
                        region=region,
                        machine=f"fake.{size}.{gpu}" if gpu else f"fake.{size}",
                        cpus=float(cpus),
                        memory=memory,
                        gpu=gpu.upper(),
                        gpus=gpus if gpu else 0,
                        spot=spot,
                        price=Price(usd_per_hour=round(usd, 6), source="price list of the fake", date=PRICES_FROM),
                    )
                )
    return offers


def wanted(need: Need) -> Callable[[Offer], bool]:
    """Whether an offer fits; `SpecError` for words that nothing could fit."""
    word = check_machine(need.machine).lower()
    size, _, gpu = word.partition("+")
    native = f"fake.{size}.{gpu}" if gpu else f"fake.{size}" if size in SIZES else word
    known = {offer.machine for offer in machines(spot=False)}
    if word and native not in known:
        raise SpecError(unknown_choice("machine of the fake", word, sorted(known)), hint="lofty price --on fake")
    if need.region and need.region not in REGIONS:
        raise SpecError(unknown_choice("region", need.region, list(REGIONS)), hint="lofty price --on fake")
    model, count = units.gpu(need.gpu) if need.gpu else ("", 0)
    if model and model.lower() not in GPUS:
        raise SpecError(unknown_choice("GPU", model.lower(), list(GPUS)), hint="write it as T4 or A100:8")

    def fits(offer: Offer) -> bool:
        return (
            (not word or offer.machine == native)
            and (bool(word) or bool(model) or not offer.gpus)
            and (not model or (offer.gpu == model and offer.gpus >= count))
            and (not need.region or offer.region == need.region)
            and _enough(need.cpus, offer.cpus)
            and _enough(need.memory, offer.memory)
        )

    return fits


def _enough(asked: str, given: float) -> bool:
    if not asked:
        return True
    number, more = units.amount(asked)
    return given >= number if more else given == number
