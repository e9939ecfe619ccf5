"""Who may do what: the actions, resources and conditions of a request, held against policies."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

from tests.cloudbox.account import Account
from tests.cloudbox.catalogue import ACCOUNT, REGION
from tests.cloudbox.credentials import Key
from tests.cloudbox.groups import Groups
from tests.cloudbox.policy import Statement, allows
from tests.cloudbox.protocol import Asked, Refused

Need = tuple[str, str, dict[str, str]]
"""Action, resource, context."""

_PREFIXES = {"service-quotas": "servicequotas"}
_S3_ACTIONS = {
    "HeadObject": "GetObject",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
    "ListParts": "ListMultipartUploadParts",
    "ListObjects": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "HeadBucket": "ListBucket",
    "ListObjectVersions": "ListBucketVersions",
    "ListMultipartUploads": "ListBucketMultipartUploads",
    "ListBuckets": "ListAllMyBuckets",
    "GetBucketLifecycleConfiguration": "GetLifecycleConfiguration",
    "PutBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "DeleteBucketLifecycleConfiguration": "PutLifecycleConfiguration",
    "GetPublicAccessBlock": "GetBucketPublicAccessBlock",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "GetBucketEncryption": "GetEncryptionConfiguration",
    "PutBucketEncryption": "PutEncryptionConfiguration",
}


def needs(asked: Asked, headers: dict[str, str], body: bytes, groups: Groups) -> list[Need]:
    """What a request has to be allowed."""
    if asked.service == "s3":
        return _s3(asked, headers, body)
    if asked.service == "autoscaling":
        return [_autoscaling(asked, groups), *_launching(asked.params, groups, asked.operation)]
    action = f"{_PREFIXES.get(asked.service, asked.service)}:{asked.operation}"
    params = asked.params
    if asked.service == "iam":
        # A profile's role is named too where it gets one; the right is the profile's.
        for key, kind in (("InstanceProfileName", "instance-profile"), ("RoleName", "role")):
            if name := params.get(key):
                return [(action, f"arn:aws:iam::{ACCOUNT}:{kind}/{name}", {})]
    if asked.operation == "RunInstances":
        return [(action, "*", {}), *_passing(groups.scaling.launch_data(params))]
    if asked.service == "ssm":
        names = [params["Name"]] if "Name" in params else params.get("Names") or []
        owner = "" if str(names[:1]).startswith("['/aws/service") else ACCOUNT
        return [(action, f"arn:aws:ssm:{REGION}:{owner}:parameter{name}", {}) for name in names]
    return [(action, "*", {})]


def _s3(asked: Asked, headers: dict[str, str], body: bytes) -> list[Need]:
    action = "s3:" + _S3_ACTIONS.get(asked.operation, asked.operation)
    bucket = f"arn:aws:s3:::{asked.bucket}"
    if asked.operation in ("CopyObject", "UploadPartCopy"):
        source = unquote(headers["x-amz-copy-source"]).lstrip("/").partition("?")[0]
        return [("s3:PutObject", f"{bucket}/{asked.key}", {}), ("s3:GetObject", f"arn:aws:s3:::{source}", {})]
    if asked.operation == "DeleteObjects":
        keys = re.findall(rb"<Key>([^<]*)</Key>", body)
        return [("s3:DeleteObject", f"{bucket}/{key.decode()}", {}) for key in keys]
    if not asked.bucket:
        return [(action, "*", {})]
    if asked.key:
        return [(action, f"{bucket}/{asked.key}", {})]
    context = {f"s3:{word}": asked.query[word] for word in ("prefix", "delimiter", "max-keys") if word in asked.query}
    return [(action, bucket, context)]


def _autoscaling(asked: Asked, groups: Groups) -> Need:
    action, params = f"autoscaling:{asked.operation}", asked.params
    if asked.operation.startswith("Describe"):
        return action, "*", {}
    context = {f"autoscaling:{key}": str(params[key]) for key in ("MinSize", "MaxSize", "ForceDelete") if key in params}
    name = params.get("AutoScalingGroupName", "")
    if "InstanceId" in params:
        life = groups.compute.lives.get(params["InstanceId"])
        name = life.group if life else ""
    elif asked.operation in ("CreateOrUpdateTags", "DeleteTags"):
        name = params["Tags"][0]["ResourceId"]
    group = groups.scaling.groups.get(name)
    if group is None:
        return action, f"arn:aws:autoscaling:{REGION}:{ACCOUNT}:autoScalingGroup:*:autoScalingGroupName/{name}", context
    for tag in group.tags:
        context[f"aws:ResourceTag/{tag['Key']}"] = context[f"autoscaling:ResourceTag/{tag['Key']}"] = tag["Value"]
    return action, group.arn, context


def _launching(params: dict[str, Any], groups: Groups, operation: str) -> list[Need]:
    """A group launches in the name of whoever makes it or changes what it launches."""
    changing = operation in ("CreateAutoScalingGroup", "UpdateAutoScalingGroup")
    if not changing or not (params.get("LaunchTemplate") or params.get("MixedInstancesPolicy")):
        return []
    run = {"ec2:CreateAction": "RunInstances"}
    return [("ec2:RunInstances", "*", {}), ("ec2:CreateTags", "*", run), *_passing(groups.scaling.launch_data(params))]


def _passing(data: dict[str, Any]) -> list[Need]:
    profile = data.get("IamInstanceProfile") or {}
    name = profile.get("Name") or str(profile.get("Arn") or "").rpartition("/")[2]
    role = f"arn:aws:iam::{ACCOUNT}:role/{name}"  # profiles are named after their only role here
    return [("iam:PassRole", role, {"iam:PassedToService": "ec2.amazonaws.com"})] if name else []


def policy_of(key: Key, account: Account) -> list[Statement]:
    """The statements that apply to whoever holds a key."""
    return account.policy(key.role) if key.role else list(account.rules.person)


def authorize(key: Key, asked: Asked, wanted: list[Need], account: Account) -> None:
    """Refused as the service would, naming what is missing."""
    policy = policy_of(key, account)
    for action, resource, context in wanted:
        if allows(policy, action, resource, context):
            continue
        text = (
            f"User: {key.arn} is not authorized to perform: {action} on resource: {resource} because no "
            f"identity-based policy allows the {action} action"
        )
        if asked.service == "ec2":
            raise Refused("UnauthorizedOperation", f"You are not authorized to perform this operation. {text}", 403)
        if asked.service in ("ssm", "pricing", "service-quotas"):
            raise Refused("AccessDeniedException", text)
        raise Refused("AccessDenied", text, 403)


def sees_absence(key: Key, asked: Asked, account: Account) -> bool:
    """Whether a missing key may be told: only to who may list the bucket."""
    prefix = {"s3:prefix": asked.key} if account.rules.missing_key_sees_prefix else {}
    return allows(policy_of(key, account), "s3:ListBucket", f"arn:aws:s3:::{asked.bucket}", prefix)
