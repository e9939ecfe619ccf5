"""What the verbs that move files have in common: how they tell what they did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from ..model.units import size
from .output import say

if TYPE_CHECKING:
    from ..store.files.report import Report


def tell(report: Report) -> None:
    """In words, on stderr."""
    parts = []
    if report.sent:
        parts.append(f"{files(report.sent)} sent ({size(report.sent_bytes)})")
    if report.deleted_there:
        parts.append(f"{report.deleted_there} deleted there")
    if report.brought:
        parts.append(f"{files(report.brought)} brought ({size(report.brought_bytes)})")
    if report.deleted_here:
        parts.append(f"{report.deleted_here} deleted here")
    version = f"; version {report.version}" if report.version and parts else ""
    nothing = "nothing to do: both sides are alike" if report.complete else "nothing was done"
    say((", ".join(parts) or nothing) + version)
    for line in report.told():
        say(line)


def files(count: int) -> str:
    """So many of them."""
    return "1 file" if count == 1 else f"{count} files"


def report_as_json(report: Report) -> str:
    """On one line."""
    return msgspec.json.encode(report).decode()


def code_of(report: Report) -> int:
    """1 when something was left undone."""
    return 0 if report.complete else 1
