"""The predecessor's words for a cloud and a machine, as options of lofty; and what lofty says about its options, in
words of a configuration."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any

from ...errors import SpecError, Unsupported, unknown_choice
from ...model.hardware import check_machine
from ..diagnostics import Diagnostic, Key, Path
from ..schema import Values

CLOUDS = {"aws": "aws", "az": "azure", "gcp": "gcp", "k8s": "k8s"}
"""Their names there and here."""
REGIONS = ("us-east", "us-west", "eu-north", "eu-west")
"""Those that hold on every cloud."""
LOCAL = "local"


def driver(cloud: str, drivers: Collection[str]) -> str:
    """The driver that a cloud means. Raises `SpecError` for a word that means none, and `Unsupported` where there is
    no driver yet."""
    name = CLOUDS.get(cloud, cloud)
    if name in drivers:
        return name
    there = sorted(word for word in {*CLOUDS, *drivers} if CLOUDS.get(word, word) in drivers)
    if cloud in CLOUDS:
        raise Unsupported(f"lofty has no driver for '{cloud}' yet", hint=f"cloud = one of {', '.join(there)}")
    near = unknown_choice("cloud", cloud, there)
    raise SpecError(near if near.endswith("?") else f"unknown cloud '{cloud}'", hint=f"one of {', '.join(there)}")


def machine(word: str) -> None:
    """`SpecError` unless it is a size or looks like some cloud's own type."""
    if not word.strip():
        raise SpecError("the machine has no name", hint='machine = "m"; without the argument it is "m" too')
    check_machine(word)


def whole(number: Any, what: str, least: int, most: int) -> int:
    """A number that counts something. Raises `SpecError`."""
    if not isinstance(number, int) or not least <= number <= most:
        raise SpecError(f"{what} is a whole number from {least} to {most}, not {number}", hint="write such a number")
    return number


def price(number: Any) -> None:
    """`SpecError` unless it is a price by the hour, or a number that stands for none."""
    if float(number) > 1000:
        raise SpecError(f"spot is a price in USD by the hour, not {number}", hint="spot = 0 pays the price of the day")


def tag_problems(tags: Mapping[str, Any]) -> Iterator[Diagnostic]:
    """What no cloud takes as a label."""
    for key, value in tags.items():
        path = (Key(key),)
        if not key or len(key) > 127:
            yield Diagnostic("the key of a tag has from 1 to 127 characters", "Write a shorter one.", path)
        elif key.lower().startswith(("aws:", "lofty:")) or key == "Name":
            yield Diagnostic(f"the tag '{key}' is the cloud's or lofty's own", "Choose another key.", path)
        elif isinstance(value, str) and len(value) > 255:
            yield Diagnostic(
                f"the value of the tag '{key}' is longer than 255 characters", "Write a shorter one.", path
            )
    if len(tags) > 40:
        yield Diagnostic(f"{len(tags)} tags are more than the 40 that there is room for", "Leave some out.")


def options(asked: Values, name: str, on: str) -> dict[str, Any]:
    """What `Client.script` takes, of values that are all known. On this computer there is nothing to choose."""
    found: dict[str, Any] = {
        "on": on,
        "name": name,
        "timeout": f"{asked['timeout']}s",
        "parallelism": asked["parallelism"],
    }
    if on == LOCAL:
        return found
    spot = float(asked["spot"])
    if asked["permission_set"]:
        found["role"] = role_of(asked["permission_set"])
    return found | {
        "machine": asked["machine"],
        "region": asked["region"],
        "image": asked["image"],
        "disk": asked["disk_size"] if asked["disk_size"] > 0 else None,
        "spot": spot >= 0,
        "max_price": spot if spot > 0 else None,
    }


def permission_set(value: str) -> None:
    """`SpecError` for what names no instance profile."""
    if value:
        role_of(value)


def role_of(value: str) -> str:
    """The name of an instance profile, of which the predecessor took the whole ARN."""
    found = re.fullmatch(r"(?:arn:aws[\w-]*:iam::\d{12}:instance-profile/(?:[^/]+/)*)?([\w+=,.@-]{1,128})", value)
    if found is None:
        raise SpecError(
            f"'{value}' is no instance profile", hint="write arn:aws:iam::123456789012:instance-profile/NAME, or NAME"
        )
    return found[1]


_FLAGS: tuple[tuple[str, str], ...] = (
    (r"--gpu T4:1\b", 'machine = "m+t4"'),
    (r"--gpu L4:1\b", 'machine = "g6.xlarge"'),
    (r"--gpu V100:1\b", 'machine = "m+v100"'),
    (r"--machine (?!or)([\w.+*-]+)", 'machine = "{0}"'),
    (r"--region ([\w-]+)", 'region = "{0}"'),
    (r"--image ([^\s,]+)", 'image = "{0}"'),
    (r"--max-price ([\d.]+)", "spot = {0}"),
    (r"--timeout \w+", "timeout = 86400"),
    (r"--spot", "spot"),
    (r"--max-price", "the price"),
    (r"--name", "name"),
    (r"--([a-z]+)(?:-([a-z]+))?", "{0}"),
)


def in_configuration(text: str) -> str:
    """What lofty says to somebody at a terminal, for somebody with a configuration."""
    for pattern, words in _FLAGS:
        text = re.sub(pattern, partial(_filled, words), text)
    return text


def _filled(words: str, found: re.Match[str]) -> str:
    return words.format(*(part for part in found.groups() if part))


_PLACES = (
    ("storage", r"director|folder|exclude|cannot be read"),
    ("region", r"region"),
    ("image", r"image|architecture"),
    ("spot", r"spot|USD|price"),
    ("machine", r"machine|type|GPU|CPU|no (K80|M60|K520)"),
)


def place(message: str) -> Path:
    """The argument that an error about a machine is about."""
    return next(((name,) for name, pattern in _PLACES if re.search(pattern, message)), ("cloud",))
