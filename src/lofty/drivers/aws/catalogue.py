"""Instance types that lofty knows, and which of them fit a need. Pure: no call leaves.

Several types are given for one need, because the pool of one type may be dry in every zone. They are the smallest that
fits and those a little bigger, so that the one that is had in the end does not cost several times as much.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Literal

import msgspec

from ...errors import NoOffer, SpecError, unknown_choice
from ...model import units
from ...model.hardware import SIZES, check_machine
from ...model.spec import Need

Arch = Literal["x86_64", "arm64"]

PRICED = "2026-09"
PRICED_FROM = f"us-east-1 price list of {PRICED}"
"""Where the dollars below are from: AWS's on-demand list for Linux, as quoted in public reports of July to September
2026. What was not quoted is None. The live list goes before them: `prices.on_demand`."""

MOST = 12
"""Types for one need. A group may have 40; the price list is asked once for each."""


class Type(msgspec.Struct, frozen=True, kw_only=True):
    """An instance type. One that is not in our table has a name and an architecture, and 0 for the rest."""

    name: str
    cpus: int = 0
    memory: float = 0.0
    """GiB."""
    gpu: str = ""
    gpus: int = 0
    gpu_memory: int = 0
    """GB of each GPU."""
    arch: Arch = "x86_64"
    usd: float | None = None
    """On demand, by the hour, in us-east-1 at `PRICED`."""

    @property
    def known(self) -> bool:
        """Whether its size is known here."""
        return self.cpus > 0


_USD = {
    "t3.micro": 0.0104, "t3.small": 0.0208, "t3.medium": 0.0416, "m8i.xlarge": 0.2117,
    "m6a.2xlarge": 0.3456, "m5.2xlarge": 0.384, "m6i.2xlarge": 0.384, "m7i.2xlarge": 0.4032, "m7g.2xlarge": 0.3264,
    "m5.8xlarge": 1.536, "m6i.8xlarge": 1.536, "m7g.8xlarge": 1.3056, "m5.16xlarge": 3.072, "m7g.16xlarge": 2.6112,
    "g4dn.xlarge": 0.526, "g4dn.12xlarge": 3.912, "g6.xlarge": 0.8048, "g5.xlarge": 1.006, "g5.12xlarge": 5.672,
    "g6e.xlarge": 1.861, "p3.2xlarge": 3.06, "p3.8xlarge": 12.24, "p4d.24xlarge": 21.9576, "p4de.24xlarge": 27.4471,
    "p5.4xlarge": 6.88, "p5.48xlarge": 55.04,
}  # fmt: skip
_STEPS = {
    "large": 2, "xlarge": 4, "2xlarge": 8, "4xlarge": 16, "8xlarge": 32, "12xlarge": 48, "16xlarge": 64,
    "24xlarge": 96,
}  # fmt: skip
_PER_CPU: dict[str, float] = {
    **dict.fromkeys(("c6i", "c7i", "c7g"), 2.0),
    **dict.fromkeys(("m5", "m6a", "m6i", "m7i", "m7g"), 4.0),
    **dict.fromkeys(("r6i", "r7i", "r7g"), 8.0),
}
"""GiB for each vCPU of a family."""
_GPU_FAMILIES: dict[str, tuple[str, int, str]] = {
    # model, GB of each, and sizes as vCPU/GiB/GPUs
    "g4dn": ("T4", 16, "xlarge 4/16/1 2xlarge 8/32/1 4xlarge 16/64/1 8xlarge 32/128/1 16xlarge 64/256/1 "
                       "12xlarge 48/192/4 metal 96/384/8"),
    "g6": ("L4", 24, "xlarge 4/16/1 2xlarge 8/32/1 4xlarge 16/64/1 8xlarge 32/128/1 16xlarge 64/256/1 "
                     "12xlarge 48/192/4 24xlarge 96/384/4 48xlarge 192/768/8"),
    "gr6": ("L4", 24, "4xlarge 16/128/1 8xlarge 32/256/1"),
    "g5": ("A10G", 24, "xlarge 4/16/1 2xlarge 8/32/1 4xlarge 16/64/1 8xlarge 32/128/1 16xlarge 64/256/1 "
                       "12xlarge 48/192/4 24xlarge 96/384/4 48xlarge 192/768/8"),
    "g6e": ("L40S", 48, "xlarge 4/32/1 2xlarge 8/64/1 4xlarge 16/128/1 8xlarge 32/256/1 16xlarge 64/512/1 "
                        "12xlarge 48/384/4 24xlarge 96/768/4 48xlarge 192/1536/8"),
    "p3": ("V100", 16, "2xlarge 8/61/1 8xlarge 32/244/4 16xlarge 64/488/8"),
    "p3dn": ("V100", 32, "24xlarge 96/768/8"),
    "p4d": ("A100", 40, "24xlarge 96/1152/8"),
    "p4de": ("A100", 80, "24xlarge 96/1152/8"),
    "p5": ("H100", 80, "4xlarge 16/256/1 48xlarge 192/2048/8"),
}  # fmt: skip
_SMALL = {
    "t3.micro": (2, 1.0), "t3.small": (2, 2.0), "t3.medium": (2, 4.0), "t3.large": (2, 8.0),
    "t3a.small": (2, 2.0), "t3a.medium": (2, 4.0), "t4g.small": (2, 2.0), "t4g.medium": (2, 4.0),
    "m8i.xlarge": (4, 16.0),
}  # fmt: skip


def arch_of(name: str) -> Arch:
    """What a type's processor is, by its name: AWS's own have a `g` behind the generation, as in m7g and c6gn."""
    family = re.match(r"[a-z]+\d+([a-z]*)", name.lower())
    letters = family[1] if family else ""
    return "arm64" if "g" in letters or name.lower().startswith("a1.") else "x86_64"


def _table() -> dict[str, Type]:
    found = [Type(name=name, cpus=cpus, memory=memory) for name, (cpus, memory) in _SMALL.items()]
    for family, each in _PER_CPU.items():
        steps = {step: cpus for step, cpus in _STEPS.items() if cpus <= 64 or arch_of(family) == "x86_64"}
        found += [
            Type(name=f"{family}.{step}", cpus=cpus, memory=cpus * each) for step, cpus in steps.items()
        ]  # fmt: skip
    for family, (gpu, gpu_memory, sizes) in _GPU_FAMILIES.items():
        for step, numbers in zip(sizes.split()[::2], sizes.split()[1::2], strict=True):
            cpus, memory, gpus = map(int, numbers.split("/"))
            found.append(
                Type(name=f"{family}.{step}", cpus=cpus, memory=memory, gpu=gpu, gpus=gpus, gpu_memory=gpu_memory)
            )
    return {
        one.name: msgspec.structs.replace(one, arch=arch_of(one.name), usd=_USD.get(one.name)) for one in found
    }  # fmt: skip


TYPES: dict[str, Type] = _table()

_GENERIC: dict[str, tuple[str, ...]] = {
    # t3.micro is left out: its 1 GiB does not hold Jupyter and a kernel.
    "s": ("t3.small", "t3a.small", "t3.medium", "t3a.medium", "t4g.small", "t4g.medium"),
    **{
        size: tuple(f"{family}.{step}" for family in ("m6a", "m6i", "m5", "m7i", "m7g"))
        for size, step in {"m": "2xlarge", "l": "8xlarge", "xl": "16xlarge"}.items()
    },
}
_GPUS_OF_SIZE = {"s": 1, "m": 1, "l": 4, "xl": 8}
"""How many GPUs a size with one has, as the predecessor had it."""
GPU_MODELS = tuple(sorted({one.gpu for one in TYPES.values() if one.gpu}))
_RETIRED = {"K80": "T4", "M60": "T4", "K520": "T4"}
_RETIRED_FAMILIES = {"p2": "K80", "g3": "M60", "g3s": "M60", "g2": "K520"}
_NATIVE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")


def candidates(need: Need) -> list[Type]:
    """Types that fit, the smallest first; `s` when nothing is asked. A native type that is not in the table is passed
    on as it is. Raises `SpecError` for words that mean nothing here, and `NoOffer`, with what is nearest, when there
    is no such machine."""
    word = check_machine(need.machine).lower()
    size, _, gpu = word.partition("+")
    if word and size not in SIZES:
        return _native(word, need)
    arch = asked_arch(need) or "x86_64"
    model, count = units.gpu(need.gpu) if need.gpu else ("", 0)
    if gpu and model and gpu.upper() != model:
        raise SpecError(f"--machine {word} and --gpu {need.gpu} name two GPUs", hint=f"--machine {size} --gpu {model}")
    model, count = model or gpu.upper(), count or (_GPUS_OF_SIZE[size] if gpu else 0)
    if model:
        pool = _with_gpu(model, count)
    elif word or not (need.cpus or need.memory):
        pool = [TYPES[name] for name in _GENERIC[size or "s"]]
    else:
        pool = [one for one in TYPES.values() if not one.gpus]
    fitting = [one for one in pool if one.arch == arch and fits(one, need)]
    if not fitting:
        raise _no_offer(need, arch, [one for one in pool if one.arch == arch] or pool)
    return _near_the_smallest(fitting)


def fits(one: Type, need: Need) -> bool:
    """Whether a type has the processors, memory and GPUs that are asked for by number. What is not known of a type is
    no reason against it."""
    if not one.known:
        return True
    model, count = units.gpu(need.gpu) if need.gpu else ("", 0)
    return (
        _enough(need.cpus, one.cpus)
        and _enough(need.memory, one.memory)
        and (not model or (one.gpu.upper() == model and one.gpus >= count))
    )


def asked_arch(need: Need) -> Arch | None:
    """The architecture that an image's own words name (`user@owner:arm64:name`); None where they name none."""
    parts = need.image.partition("@")[2].split(":")
    word = parts[1].lower() if len(parts) > 2 else ""
    return "arm64" if word in ("arm64", "aarch64") else "x86_64" if word in ("x86_64", "amd64") else None


def nearest(name: str) -> str:
    """The type of our table that a mistyped one is likely to mean; empty where none is near."""
    return next(iter(get_close_matches(name, list(TYPES), n=1, cutoff=0.7)), "")


def _native(word: str, need: Need) -> list[Type]:
    family = word.partition(".")[0]
    if family in _RETIRED_FAMILIES:
        raise _retired(_RETIRED_FAMILIES[family], word)
    if not _NATIVE.fullmatch(word):
        near = nearest(word.replace("_", ".").replace("-", "."))
        raise SpecError(
            f"'{need.machine}' is no type of AWS" + (f": did you mean '{near}'?" if near else ""),
            hint="use s, m, l or xl, one with a GPU such as m+t4, or a type such as g4dn.xlarge",
        )
    if word == "p3.xlarge":  # the predecessor's m+v100: EC2 never had it
        raise SpecError("there is no type 'p3.xlarge'", hint="--machine p3.2xlarge")
    one = TYPES.get(word) or Type(name=word, arch=arch_of(word))
    arch = asked_arch(need)
    if arch and arch != one.arch:
        raise SpecError(f"{word} is {one.arch}, and the image {need.image} is {arch}", hint="leave --image out")
    if not fits(one, need):
        raise _no_offer(need, one.arch, [one])
    return [one]


def _with_gpu(model: str, count: int) -> list[Type]:
    """Types with at least so many GPUs of a model."""
    if model in _RETIRED:
        raise _retired(model, f"{model}:{count}")
    if model not in GPU_MODELS:
        near = unknown_choice("GPU", model, GPU_MODELS)
        raise SpecError(near, hint=f"--gpu {_first_word(near)}:{count}" if near.endswith("?") else "--gpu T4:1")
    pool = [one for one in TYPES.values() if one.gpu == model]
    least, most = min(one.gpus for one in pool), max(one.gpus for one in pool)
    if count > most:
        raise NoOffer(f"AWS has no machine with {count} {model}: at most {most}", hint=f"--gpu {model}:{most}")
    if least > 1 and count == 1:
        raise NoOffer(
            f"AWS has no machine with a single {model}, only with {least}",
            hint=f"--gpu {model}:{least}; or one H100 (--machine p5.4xlarge) or L40S (--machine g6e.xlarge)",
        )
    return [one for one in pool if one.gpus >= count]


def _first_word(near: str) -> str:
    return near.rpartition("did you mean '")[2].rstrip("'?")


def _retired(model: str, asked: str) -> NoOffer:
    return NoOffer(
        f"AWS has no {model} any more ({asked})",
        hint=f"--gpu {_RETIRED[model]}:1, of about the same price, or --gpu L4:1, which is faster",
    )


def _near_the_smallest(types: Iterable[Type]) -> list[Type]:
    """The smallest, and those of the same number of GPUs that have not much more. With GPUs, which make the price, up
    to four times the rest; without, up to twice."""
    ordered = sorted(types, key=lambda one: (one.gpus, _weight(one), one.usd or 1e9, one.name))
    first = ordered[0]
    bound = _weight(first) * (4 if first.gpus else 2)
    return [one for one in ordered if one.gpus == first.gpus and _weight(one) <= bound][:MOST]


def _weight(one: Type) -> float:
    """Processors and memory in one number, about as their prices are to each other."""
    return one.cpus + one.memory / 4


def _enough(asked: str, given: float) -> bool:
    if not asked:
        return True
    number, more = units.amount(asked)
    return given >= number if more else given == number


def _no_offer(need: Need, arch: Arch, pool: Sequence[Type]) -> NoOffer:
    """None fits: say what was asked, and which of the pool comes nearest."""
    words = {"machine": need.machine, "gpu": need.gpu, "cpus": need.cpus, "memory": need.memory}
    asked = " ".join(f"--{name} {value}" for name, value in words.items() if value)
    if arch == "arm64":
        asked += f" on arm64 (--image {need.image})" if need.image else " on arm64"

    def distance(one: Type) -> float:
        cpus = units.amount(need.cpus)[0] if need.cpus else one.cpus
        memory = units.amount(need.memory)[0] if need.memory else one.memory
        return abs(one.cpus / cpus - 1) + abs(one.memory / memory - 1)

    near = [one for one in sorted(pool, key=distance) if one.known][:3]
    names = ", ".join(f"{one.name} ({one.cpus} CPUs, {one.memory:g} GiB)" for one in near)
    return NoOffer(f"no machine of AWS fits {asked}", hint=f"nearest: {names}; or ask for at least, as in --cpus 8+")
