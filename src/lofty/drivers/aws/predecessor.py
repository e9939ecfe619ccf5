"""What terraform-provider-iterative, whose heir lofty is, has left in an account. It is only looked at."""

from __future__ import annotations

from ...errors import Forbidden
from .session import Clients, translated


def remains(clients: Clients, name: str) -> str:
    """What there still is of a task by its identifier, in words; empty when that is nothing."""
    with translated("look for the group of an old task"):
        answer = clients.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])
    found = [f"a group with {len(group['Instances'])} machines" for group in answer["AutoScalingGroups"]]
    try:
        with translated("look for the bucket of an old task"):
            # Listed and not asked for by name: a bucket of that name may be somebody else's.
            for page in clients.s3.get_paginator("list_buckets").paginate(Prefix=name):
                found += ["its bucket" for one in page["Buckets"] if one["Name"] == name]
    except Forbidden:
        found.append("perhaps its bucket, which these credentials may not look for,")
    return " and ".join(found)
