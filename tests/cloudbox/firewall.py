"""Security groups as what they are: a machine hears nothing that no rule lets in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_OPEN = "flush ruleset\n"


def ruleset(instance: Any, everybody: Iterable[Any], *, enforced: bool = True) -> str:
    """The incoming rules of an instance's groups, for `nft`; answers to what it asked itself always come in."""
    if not enforced:
        return _OPEN
    members: dict[str, list[str]] = {}
    for other in everybody:
        for group in other.security_groups:
            members.setdefault(group.id, []).append(other.private_ip)
    lines = ["iif lo accept", "ct state established,related accept"]
    for group in instance.security_groups:
        for rule in group.ingress_rules:
            lines += [f"{source} {_service(rule)} accept" for source in _sources(rule, members)]
    body = "\n".join(f"  {line}" for line in dict.fromkeys(lines))
    chain = f" chain incoming {{\n  type filter hook input priority 0; policy drop;\n{body}\n }}"
    return f"{_OPEN}table inet groups {{\n{chain}\n}}\n"


def _sources(rule: Any, members: dict[str, list[str]]) -> list[str]:
    if cidr := rule.ip_range.get("CidrIp"):
        return [f"ip saddr {cidr}"]
    if group := rule.source_group.get("GroupId"):
        addresses = sorted(filter(None, members.get(group, [])))
        return [f"ip saddr {{ {', '.join(addresses)} }}"] if addresses else []
    return []  # other kinds of sources do not exist in this network


def _service(rule: Any) -> str:
    if rule.ip_protocol in ("tcp", "udp"):
        return f"{rule.ip_protocol} dport {rule.from_port}-{rule.to_port}"
    return "meta l4proto icmp" if rule.ip_protocol == "icmp" else ""
