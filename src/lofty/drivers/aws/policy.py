"""Rights: what a machine's role may do, and the least that a person needs. Plain IAM policy documents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Document = dict[str, Any]
"""A policy as IAM takes it, once it is JSON."""

VERSION = "2012-10-17"
"""Of IAM's policy language; there is no newer."""
ENDING = ("autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup")
OBJECTS = ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload")


def group_arn(region: str, account: str, name: str, partition: str = "aws") -> str:
    """The group of that name. Its real ARN has a number in place of the first `*` that nobody knows beforehand."""
    return f"arn:{partition}:autoscaling:{region}:{account}:autoScalingGroup:*:autoScalingGroupName/{name}"


def machine_policy(bucket: str, prefixes: Sequence[str], group: str, container: str = "") -> Document:
    """What the machines of one task may do: use the task's own prefixes, and end themselves. `group` is an ARN,
    `container` the URL of the files where they lie elsewhere.

    Listing is allowed because without it a missing object answers 403 instead of 404. Nothing of ec2, iam or ssm: who
    gets into a machine gets no further.
    """
    partition, own = group.split(":")[1], [f"{prefix.strip('/')}/*" for prefix in prefixes]
    place = f"arn:{partition}:s3:::{bucket}"
    files = _files(place, own)
    if container:
        other, _, prefix = container.removeprefix("s3://").partition("?")[0].partition("/")
        files += _files(f"arn:{partition}:s3:::{other}", [f"{prefix}/*" if prefix else "*"])
    return _document([*files, {"Effect": "Allow", "Action": list(ENDING), "Resource": group}])


def shared_policy(account: str, partition: str = "aws") -> Document:
    """What machines may do whose tasks share one role: the same, with every task of lofty in the account, since nothing
    tells whose machine it is."""
    ending = {
        "Effect": "Allow",
        "Action": list(ENDING),
        "Resource": group_arn("*", account, "lofty-*", partition),
        "Condition": {"Null": {"aws:ResourceTag/lofty:task": "false"}},
    }
    return _document([*_files(f"arn:{partition}:s3:::lofty-{account}-*", ["tasks/*", "states/*"]), ending])


def _files(place: str, own: Sequence[str]) -> list[Document]:
    seen = {"StringLike": {"s3:prefix": list(own)}}
    return [
        {"Effect": "Allow", "Action": list(OBJECTS), "Resource": [f"{place}/{one}" for one in own]},
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": place, "Condition": seen},
    ]


def trust_policy() -> Document:
    """Who may take on a machine's role: EC2, for its machines."""
    service = {"Service": "ec2.amazonaws.com"}
    return _document([{"Effect": "Allow", "Principal": service, "Action": "sts:AssumeRole"}])


class Right(NamedTuple):
    """Actions that belong together, on what, and under which condition."""

    sid: str
    actions: tuple[str, ...]
    resource: str = "*"
    """`{partition}`, `{region}`, `{account}` and `{bucket}` are filled in."""
    condition: Mapping[str, Mapping[str, Any]] | None = None
    without: str = ""
    """What happens where the right is missing; empty where nothing works then."""


_CREATING = ("RunInstances", "CreateLaunchTemplate", "CreateSecurityGroup", "ImportKeyPair")
RIGHTS: tuple[Right, ...] = (
    Right(
        "Look",
        (
            "autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeScalingActivities",
            "autoscaling:DescribeScheduledActions",
            "ec2:DescribeImages", "ec2:DescribeInstanceTypeOfferings", "ec2:DescribeInstanceTypes",
            "ec2:DescribeInstances", "ec2:DescribeKeyPairs", "ec2:DescribeLaunchTemplates",
            "ec2:DescribeLaunchTemplateVersions", "ec2:DescribeSecurityGroups", "ec2:DescribeSpotPriceHistory",
            "ec2:DescribeSubnets", "ec2:DescribeVpcs",
        ),
    ),
    Right(
        "Make",
        (
            "ec2:AuthorizeSecurityGroupIngress", "ec2:CreateLaunchTemplate", "ec2:CreateSecurityGroup",
            "ec2:ImportKeyPair", "ec2:RunInstances",
        ),
    ),
    Right(
        "TagWhatIsMade",
        ("ec2:CreateTags",),
        condition={"StringEquals": {"ec2:CreateAction": [*_CREATING, "AuthorizeSecurityGroupIngress"]}},
    ),
    Right(
        "Remove",
        (
            "ec2:CreateLaunchTemplateVersion", "ec2:DeleteKeyPair", "ec2:DeleteLaunchTemplate",
            "ec2:DeleteSecurityGroup", "ec2:ModifyLaunchTemplate", "ec2:RevokeSecurityGroupIngress",
            "ec2:TerminateInstances",
        ),
    ),
    Right(
        "LookForRoles",
        ("iam:ListInstanceProfiles", "iam:ListRoles"),
        without="`lofty sweep` does not see roles whose task is gone",
    ),
    Right(
        "LookForRegions",
        ("s3:ListAllMyBuckets",),
        without="tasks are found only in the region that is set",
    ),
    Right("Console", ("ec2:GetConsoleOutput",), without="why a machine does not come up stays unseen"),
    Right(
        "Groups",
        (
            "autoscaling:CreateAutoScalingGroup", "autoscaling:CreateOrUpdateTags",
            "autoscaling:DeleteAutoScalingGroup", "autoscaling:DeleteScheduledAction",
            "autoscaling:PutScheduledUpdateGroupAction", "autoscaling:ResumeProcesses",
            "autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup",
            "autoscaling:UpdateAutoScalingGroup",
        ),
        group_arn("{region}", "{account}", "lofty-*", "{partition}"),
    ),
    Right(
        "Roles",
        (
            "iam:CreateRole", "iam:DeleteRole", "iam:DeleteRolePolicy", "iam:GetRole", "iam:GetRolePolicy",
            "iam:ListRolePolicies", "iam:PutRolePolicy", "iam:TagRole",
        ),
        "arn:{partition}:iam::{account}:role/lofty-*",
    ),
    Right(
        "Profiles",
        (
            "iam:AddRoleToInstanceProfile", "iam:CreateInstanceProfile", "iam:DeleteInstanceProfile",
            "iam:GetInstanceProfile", "iam:RemoveRoleFromInstanceProfile", "iam:TagInstanceProfile",
        ),
        "arn:{partition}:iam::{account}:instance-profile/lofty-*",
    ),
    Right(
        "GiveTheRoleToMachines",
        ("iam:PassRole",),
        "arn:{partition}:iam::{account}:role/lofty-*",
        {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
    ),
    Right(
        "FirstGroupOfTheAccount",
        ("iam:CreateServiceLinkedRole",),
        "arn:{partition}:iam::{account}:role/aws-service-role/*",
        {"StringEquals": {"iam:AWSServiceName": ["autoscaling.amazonaws.com", "spot.amazonaws.com"]}},
        without="an account that never had a group, or a spot machine, cannot get its first",
    ),
    Right(
        "Bucket",
        (
            "s3:CreateBucket", "s3:DeleteBucket", "s3:GetBucketLocation", "s3:GetLifecycleConfiguration",
            "s3:ListBucket", "s3:ListBucketMultipartUploads", "s3:PutBucketPublicAccessBlock", "s3:PutBucketTagging",
            "s3:PutLifecycleConfiguration", "s3:TagResource",
        ),
        "arn:{partition}:s3:::{bucket}",
    ),
    Right("Files", OBJECTS, "arn:{partition}:s3:::{bucket}/*"),
    Right(
        "CurrentImages",
        ("ssm:GetParameters",),
        "arn:{partition}:ssm:{region}::parameter/aws/service/*",
        without="images are looked for by owner and name",
    ),
    Right("Prices", ("pricing:GetProducts",), without="on-demand prices come from a dated table, of us-east-1"),
    Right(
        "Limits",
        ("servicequotas:GetAWSDefaultServiceQuota", "servicequotas:GetServiceQuota"),
        without="`lofty check` cannot tell the account's limits",
    ),
    Right(
        "CheckRights",
        ("iam:GetRole", "iam:SimulatePrincipalPolicy"),
        "arn:{partition}:iam::{account}:*",
        without="`lofty check` can try only the rights of ec2",
    ),
)  # fmt: skip
"""The least policy of a person, as a table: `check` asks for the same."""


def client_policy(
    *, bucket: str = "lofty-*", account: str = "*", region: str = "*", partition: str = "aws", tag: str = ""
) -> Document:
    """The least that a person needs. What can be limited to objects named `lofty-*` is; with `tag`, what EC2 lets be
    removed is limited to objects that have that tag."""
    statements = []
    for right in RIGHTS:
        statement: Document = {
            "Sid": right.sid,
            "Effect": "Allow",
            "Action": list(right.actions),
            "Resource": filled(right.resource, bucket=bucket, account=account, region=region, partition=partition),
        }
        condition = {**(right.condition or {})}
        if tag and right.sid == "Remove":
            condition["Null"] = {f"aws:ResourceTag/{tag}": "false"}
        if condition:
            statement["Condition"] = condition
        statements.append(statement)
    return _document(statements)


def filled(resource: str, **words: str) -> str:
    """A resource of the table with its words."""
    return resource.format(**words)


def _document(statements: Sequence[Document]) -> Document:
    return {"Version": VERSION, "Statement": list(statements)}
