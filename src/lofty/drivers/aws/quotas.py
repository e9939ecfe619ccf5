"""Limits of an account on how many machines run at once: counted in vCPUs, per region, for on-demand and spot apart."""

from __future__ import annotations

import re
from typing import NamedTuple


class Quota(NamedTuple):
    """One limit, under its code in the service `ec2` of Service Quotas."""

    code: str
    name: str


_FAMILIES = {
    "G": ("G and VT", "L-DB2E81BA", "L-3819A6DF"),
    "GR": ("G and VT", "L-DB2E81BA", "L-3819A6DF"),
    "VT": ("G and VT", "L-DB2E81BA", "L-3819A6DF"),
    "P": ("P", "L-417A185B", "L-7212CCBC"),
}
"""First letters of a type: name, code for on-demand, code for spot. New accounts have 0 of these."""
_STANDARD = ("Standard (A, C, D, H, I, M, R, T, Z)", "L-1216C47A", "L-34B43A08")
_STANDARD_FAMILIES = frozenset({"A", "C", "D", "H", "I", "M", "R", "T", "Z", "IM", "IS"})


def quota_of(machine: str, *, spot: bool) -> Quota | None:
    """The limit that a type counts against; None for families (F, Inf, Trn, X, …) whose codes are not known here."""
    match = re.match(r"[a-z]+", machine.lower())
    family = match[0].upper() if match else ""
    if family not in _FAMILIES and family not in _STANDARD_FAMILIES:
        return None
    name, on_demand, on_spot = _FAMILIES.get(family, _STANDARD)
    if spot:
        return Quota(on_spot, f"All {name} Spot Instance Requests")
    return Quota(on_demand, f"Running On-Demand {name} instances")


def page(region: str, code: str = "") -> str:
    """The console's page where more is asked for."""
    where = f"https://{region}.console.aws.amazon.com/servicequotas/home/services/ec2/quotas"
    return f"{where}/{code}" if code else where
