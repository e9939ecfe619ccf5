"""What requests cost, at list price: Amazon S3 Standard in us-east-1, USD for each, as published in 2026-11. Deletions
are free, and so are the requests of EC2, Auto Scaling, IAM and STS."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tests.cloudbox.api import Call

WRITE, READ = 0.005 / 1000, 0.0004 / 1000
"""PUT, COPY, POST and LIST; GET and HEAD."""
DAY = 86_400.0
MOST = 0.02
"""USD a day, of a workspace at rest."""


def price(call: str) -> float:
    """Of one request, such as `s3:PutObject`."""
    service, _, operation = call.partition(":")
    if service != "s3" or operation.startswith(("Delete", "Abort")):
        return 0.0
    return READ if operation.startswith(("Get", "Head")) else WRITE


def kinds(calls: Iterable[Call]) -> Counter[str]:
    """How often what was asked, with the place of an object in its task: `s3:GetObject files/HEAD`."""
    return Counter(f"{call.name} {_place(call)}".strip() for call in calls)


def _place(call: Call) -> str:
    key = str(call.params.get("Key") or call.params.get("Prefix") or "")
    parts = key.split("/")
    return "/".join(parts[2:4]) if parts[0] in ("tasks", "states") else key


def told(calls: list[Call], own: set[str], seconds: float) -> tuple[Counter[str], Counter[str]]:
    """How often in a day each thing is asked by the machine, whose keys are given, and by others; printed."""
    sides = kinds(call for call in calls if call.key in own), kinds(call for call in calls if call.key not in own)
    for who, counted in zip(("machine", "attached"), sides, strict=True):
        for kind in counted:
            counted[kind] = round(counted[kind] * DAY / seconds)
        print(f"{who}: {bill(counted):.4f} USD a day")
        for kind, count in sorted(counted.items()):
            print(f"  {count:6} {kind}")
    return sides


def bill(counted: Counter[str]) -> float:
    """What so many requests cost."""
    return sum(price(kind.partition(" ")[0]) * count for kind, count in counted.items())
