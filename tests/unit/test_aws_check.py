"""`lofty check --on aws`: rights, limits, and the policies that they come from."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import boto3
import pytest

from lofty.drivers import registry
from lofty.drivers.aws import policy
from lofty.drivers.aws.check import findings
from lofty.drivers.aws.session import Clients
from lofty.errors import NotLoggedIn, Unsupported
from lofty.model.spec import Need
from lofty.model.state import Finding

from .aws import ENVIRON, Answer, Cloud, Failure

ACCOUNT = "123456789012"
USER = {"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:user/ann", "UserId": "AIDA"}
ROLE = {"Account": ACCOUNT, "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/Dev/ann", "UserId": "AROA"}
QUOTA: Mapping[str, Any] = {"Quota": {"Value": 32.0}}
AMI = {"ImageId": "ami-0000026040", "Name": "ubuntu", "Architecture": "x86_64", "RootDeviceName": "/dev/sda1"}

Decide = Callable[[str], dict[str, Any]]


def simulated(decide: Decide = lambda action: {}) -> Callable[[Mapping[str, Any]], Answer]:
    """IAM's simulation: everything is allowed but for what is decided otherwise."""

    def answer(params: Mapping[str, Any]) -> Answer:
        results = [
            {"EvalActionName": action, "EvalDecision": "allowed", **decide(action)} for action in params["ActionNames"]
        ]
        half = len(results) // 2
        if "Marker" in params:
            return {"EvaluationResults": results[half:], "IsTruncated": False}
        return {"EvaluationResults": results[:half], "IsTruncated": True, "Marker": "more"}

    return answer


def lines(found: list[Finding], *, ok: bool) -> list[str]:
    assert all(one.hint for one in found if not one.ok), "each line that fails says how to mend it"
    return [one.what for one in found if one.ok is ok]


def test_all_is_well() -> None:
    cloud = Cloud({"GetCallerIdentity": USER, "SimulatePrincipalPolicy": simulated(), "GetServiceQuota": QUOTA})
    found = findings(cloud, Need())
    assert lines(found, ok=False) == []
    told = "\n".join(lines(found, ok=True))
    count = sum(len(right.actions) for right in policy.RIGHTS)
    for part in ("ssh at", "region us-east-1", ACCOUNT, "user/ann", f"all {count} rights", "32 vCPUs"):
        assert part in told
    asked = cloud.calls["SimulatePrincipalPolicy"]
    assert {one["PolicySourceArn"] for one in asked} == {USER["Arn"]}
    assert {action for one in asked for action in one["ActionNames"]} == {
        action for right in policy.RIGHTS for action in right.actions if right.sid != "CheckRights"
    }
    assert all("*" not in arn for one in asked for arn in one.get("ResourceArns", []))
    passing = next(one for one in asked if "iam:PassRole" in one["ActionNames"])
    assert passing["ContextEntries"] == [
        {
            "ContextKeyName": "iam:PassedToService",
            "ContextKeyValues": ["ec2.amazonaws.com"],
            "ContextKeyType": "string",
        }
    ]


def test_the_role_behind_a_session_is_asked_about_with_its_path() -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:role/aws-reserved/sso.amazonaws.com/Dev"
    role = {
        "Role": {
            "Path": "/x/",
            "RoleName": "Dev",
            "RoleId": "AROAAAAAAAAAAAAAA",
            "Arn": arn,
            "CreateDate": "2026-01-01",
        }
    }
    cloud = Cloud(
        {
            "GetCallerIdentity": ROLE,
            "GetRole": role,
            "SimulatePrincipalPolicy": simulated(),
            "GetServiceQuota": QUOTA,
        }
    )
    assert lines(findings(cloud, Need()), ok=False) == []
    assert {one["PolicySourceArn"] for one in cloud.calls["SimulatePrincipalPolicy"]} == {arn}


def test_what_is_missing_is_named_by_its_reason() -> None:
    def decide(action: str) -> dict[str, Any]:
        if action in ("iam:CreateRole", "autoscaling:CreateAutoScalingGroup"):
            return {"EvalDecision": "implicitDeny"}
        if action == "ec2:RunInstances":
            return {"EvalDecision": "explicitDeny", "OrganizationsDecisionDetail": {"AllowedByOrganizations": False}}
        if action == "iam:PassRole":
            inside = {"AllowedByPermissionsBoundary": False}
            return {"EvalDecision": "implicitDeny", "PermissionsBoundaryDecisionDetail": inside}
        if action == "s3:CreateBucket":
            return {"EvalDecision": "explicitDeny"}
        return {"EvalDecision": "implicitDeny"} if action == "pricing:GetProducts" else {}

    cloud = Cloud({"GetCallerIdentity": USER, "SimulatePrincipalPolicy": simulated(decide), "GetServiceQuota": QUOTA})
    found = findings(cloud, Need())
    assert sorted(lines(found, ok=False)) == [
        "forbidden by a service control policy of the organisation: ec2:RunInstances",
        "forbidden by an explicit deny in a policy: s3:CreateBucket",
        "forbidden by the permissions boundary: iam:PassRole",
        "missing rights: autoscaling:CreateAutoScalingGroup, iam:CreateRole",
    ]
    assert {one.exit_code for one in found if not one.ok} == {3}
    assert any("without the right pricing:GetProducts" in line for line in lines(found, ok=True))


@pytest.mark.parametrize(
    ("right", "action"),
    [(right, action) for right in policy.RIGHTS for action in right.actions],
    ids=lambda one: str(one),
)
def test_every_single_right_that_is_missing_has_one_clear_line(right: policy.Right, action: str) -> None:
    if right.sid == "CheckRights":
        return  # where it is missing nothing can be simulated: see below
    cloud = Cloud(
        {
            "GetCallerIdentity": USER,
            "SimulatePrincipalPolicy": simulated(lambda one: {"EvalDecision": "implicitDeny"} if one == action else {}),
            "GetServiceQuota": QUOTA,
        }
    )
    found = findings(cloud, Need())
    told = [one for one in found if action in one.what]
    needed = [one for one in policy.RIGHTS if action in one.actions and not one.without]
    if not needed:
        (one,) = told
        assert (one.ok, one.what) == (True, f"without the right {action}, {right.without}")
        return
    (one,) = [one for one in found if not one.ok]
    assert one.what.startswith("missing rights: ")
    assert set(one.what.removeprefix("missing rights: ").split(", ")) == {action}
    assert (one.exit_code, one.hint.split("  #")[0]) == (3, "lofty check --on aws --policy")


@pytest.mark.parametrize(
    "refused", [Failure("AccessDenied", "no", 403), Failure("InternalFailure", "not implemented", 501)]
)
def test_where_rights_may_not_be_asked_they_are_tried(refused: Failure) -> None:
    dry, no = Failure("DryRunOperation", "would have", 412), Failure("UnauthorizedOperation", "no", 403)

    def described(params: Mapping[str, Any]) -> Answer:
        assert "DryRun" not in params
        return {"Images": [AMI]}

    cloud = Cloud(
        {
            "GetCallerIdentity": USER,
            "SimulatePrincipalPolicy": refused,
            "GetServiceQuota": QUOTA,
            "GetParameters": {"Parameters": []},
            "DescribeImages": described,
            **dict.fromkeys(("DescribeInstances", "DescribeSubnets", "DescribeSpotPriceHistory"), dry),
            **dict.fromkeys(("CreateSecurityGroup", "CreateLaunchTemplate"), dry),
            "ImportKeyPair": Failure("VPCIdNotSpecified", "tells nothing of rights"),
            "RunInstances": no,
        }
    )
    found = findings(cloud, Need())
    assert lines(found, ok=False) == ["missing rights: ec2:RunInstances"]
    for name in ("CreateSecurityGroup", "CreateLaunchTemplate", "ImportKeyPair", "RunInstances"):
        assert [one["DryRun"] for one in cloud.calls[name]] == [True], "nothing is made"
    cloud.answers["RunInstances"] = dry
    found = findings(cloud, Need())
    assert lines(found, ok=False) == []
    assert any("ec2:RunInstances are there; those of autoscaling" in line for line in lines(found, ok=True))


def test_the_root_of_an_account_may_do_everything() -> None:
    cloud = Cloud({"GetCallerIdentity": {**USER, "Arn": f"arn:aws:iam::{ACCOUNT}:root"}, "GetServiceQuota": QUOTA})
    assert any("root" in line for line in lines(findings(cloud, Need()), ok=True))
    assert "SimulatePrincipalPolicy" not in cloud.calls


# --- limits -------------------------------------------------------------------------------------------------------


def limited(need: Need, value: float | None) -> list[Finding]:
    own: Answer = Failure("NoSuchResourceException") if value is None else {"Quota": {"Value": value}}
    cloud = Cloud(
        {
            "GetCallerIdentity": USER,
            "SimulatePrincipalPolicy": simulated(),
            "GetServiceQuota": own,
            "GetAWSDefaultServiceQuota": {"Quota": {"Value": 5.0}},
        }
    )
    found = findings(cloud, need)
    (asked,) = cloud.calls["GetServiceQuota"]
    assert asked == {"ServiceCode": "ec2", "QuotaCode": "L-3819A6DF" if need.spot else "L-DB2E81BA"}
    return found


def test_a_new_account_has_no_gpus_and_is_told_where_to_ask() -> None:
    (one,) = [found for found in limited(Need(machine="m+t4"), 0.0) if not found.ok]
    assert one.what == (
        "limit 'Running On-Demand G and VT instances' in us-east-1: 0 vCPUs, and g4dn.xlarge needs 4"
    )  # fmt: skip
    assert "L-DB2E81BA" in one.hint
    assert one.exit_code == 4


def test_a_limit_for_the_smallest_only_is_said_to_be_so() -> None:
    told = lines(limited(Need(machine="m+t4", spot=True), 8.0), ok=True)
    assert told[-1].endswith("8 vCPUs, enough for g4dn.2xlarge, not for g4dn.4xlarge")


def test_where_the_account_has_no_value_of_its_own_awss_default_holds() -> None:
    assert any("5 vCPUs" in line for line in lines(limited(Need(machine="m+t4"), None), ok=True))


def test_a_limit_that_may_not_be_read_is_no_failure() -> None:
    cloud = Cloud(
        {
            "GetCallerIdentity": USER,
            "SimulatePrincipalPolicy": simulated(),
            "GetServiceQuota": Failure("AccessDeniedException"),
        }
    )
    found = findings(cloud, Need())
    assert lines(found, ok=False) == []
    assert any("not known" in line for line in lines(found, ok=True))


def test_a_word_for_no_machine_is_a_line_too() -> None:
    cloud = Cloud({"GetCallerIdentity": USER, "SimulatePrincipalPolicy": simulated()})
    (one,) = [found for found in findings(cloud, Need(gpu="K80")) if not found.ok]
    assert "K80" in one.what
    assert one.exit_code == 4


# --- without access -----------------------------------------------------------------------------------------------


def one_line(found: list[Finding]) -> Finding:
    (one,) = [line for line in found if not line.ok]
    assert one.exit_code == 3
    return one


def test_without_credentials_there_is_one_clear_line(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", "PATH": ENVIRON["PATH"]}
    one = one_line(findings(Clients(environ), Need()))
    assert "there are no AWS credentials" in one.what
    assert "aws sso login" in one.hint


@pytest.mark.parametrize(
    ("code", "said"),
    [("ExpiredToken", "expired"), ("InvalidClientTokenId", "wrong"), ("SignatureDoesNotMatch", "wrong")],
)
def test_with_expired_or_wrong_ones_too(code: str, said: str) -> None:
    one = one_line(findings(Cloud({"GetCallerIdentity": Failure(code, "no", 403)}), Need()))
    assert said in one.what


def test_credentials_that_run_out_on_the_way() -> None:
    cloud = Cloud(
        {
            "GetCallerIdentity": USER,
            "SimulatePrincipalPolicy": Failure("ExpiredToken", "no", 403),
            "GetServiceQuota": QUOTA,
        }
    )
    assert "expired" in one_line(findings(cloud, Need())).what


def test_a_wrong_region_no_ssh_and_no_boto3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = findings(Clients({**ENVIRON, "PATH": str(tmp_path)}, "us-est-9"), Need())
    assert [(one.ok, one.exit_code) for one in found] == [(False, 1), (False, 2)]
    assert "ssh" in found[0].what
    assert "us-est-9" in found[1].what
    monkeypatch.setitem(__import__("sys").modules, "boto3", None)
    assert "lofty[aws]" in findings(Clients(ENVIRON), Need())[-1].hint


def test_a_cloud_that_does_not_answer_is_told_and_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Cloud({"GetCallerIdentity": USER, "SimulatePrincipalPolicy": simulated()})
    cloud.answers["GetServiceQuota"] = Failure("ExpiredTokenException")
    assert "expired" in one_line(findings(cloud, Need())).what


# --- policies -----------------------------------------------------------------------------------------------------


def test_the_role_of_a_machine_is_exactly_this() -> None:
    group = policy.group_arn("eu-west-1", ACCOUNT, "lofty-x-1")
    assert group == f"arn:aws:autoscaling:eu-west-1:{ACCOUNT}:autoScalingGroup:*:autoScalingGroupName/lofty-x-1"
    assert policy.machine_policy("B", ("P/", "S"), group) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"],
                "Resource": ["arn:aws:s3:::B/P/*", "arn:aws:s3:::B/S/*"],
            },
            {
                "Effect": "Allow",
                "Action": "s3:ListBucket",
                "Resource": "arn:aws:s3:::B",
                "Condition": {"StringLike": {"s3:prefix": ["P/*", "S/*"]}},
            },
            {
                "Effect": "Allow",
                "Action": ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"],
                "Resource": group,
            },
        ],
    }


def _each(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def test_elsewhere_than_in_aws_proper_arns_begin_otherwise() -> None:
    made = policy.machine_policy("B", ("P",), policy.group_arn("cn-north-1", ACCOUNT, "g", "aws-cn"))
    resources = [resource for one in made["Statement"] for resource in _each(one["Resource"])]
    assert all(one.startswith("arn:aws-cn:") for one in resources)
    person = json.dumps(policy.client_policy(partition="aws-cn"))
    assert "arn:aws:" not in person


def test_the_least_policy_fits_and_gives_nothing_away() -> None:
    made = policy.client_policy(tag="lofty-task")
    assert len(json.dumps(made, separators=(",", ":"))) < 6144, "IAM's limit for a managed policy"
    sids = [one["Sid"] for one in made["Statement"]]
    assert len(sids) == len(set(sids))
    assert all(re.fullmatch(r"[A-Za-z0-9]+", sid) for sid in sids)
    assert all(one["Effect"] == "Allow" for one in made["Statement"])
    allowed = [(action, one["Resource"]) for one in made["Statement"] for action in one["Action"]]
    assert len(allowed) == len(set(allowed))
    actions = {action for action, _ in allowed}
    assert all(re.fullmatch(r"[a-z0-9-]+:[A-Z][A-Za-z0-9]+", action) for action in actions), "no wildcards"
    remove = next(one for one in made["Statement"] if one["Sid"] == "Remove")
    assert remove["Condition"] == {"Null": {"aws:ResourceTag/lofty-task": "false"}}
    for one in made["Statement"]:
        if not one["Sid"].startswith(("Look", "Make", "Tag", "Remove", "Console", "Prices", "Limits")):
            assert one["Resource"] != "*"
            assert "{" not in one["Resource"]


def test_every_action_is_one_that_aws_has() -> None:
    """Against botocore's own list, as far as an action is an operation of that name."""
    session = boto3.Session(region_name="us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    services = {"servicequotas": "service-quotas"}
    not_operations = {
        "iam:PassRole", "s3:ListBucket", "s3:PutLifecycleConfiguration", "s3:GetLifecycleConfiguration",
        "s3:PutBucketPublicAccessBlock", "s3:TagResource", "s3:ListAllMyBuckets", "s3:ListBucketMultipartUploads",
    }  # fmt: skip
    for action in {action for right in policy.RIGHTS for action in right.actions} - not_operations:
        service, _, operation = action.partition(":")
        names = session._session.get_service_model(services.get(service, service)).operation_names
        assert operation in names, action


def test_the_machine_may_do_nothing_that_its_maker_may_not() -> None:
    """Otherwise the person could not hand it on."""
    person = policy.client_policy()["Statement"]
    group = policy.group_arn("us-east-1", ACCOUNT, "lofty-x")
    for one in policy.machine_policy("lofty-bucket", ("x", "y"), group)["Statement"]:
        for action, resource in itertools.product(_each(one["Action"]), _each(one["Resource"])):
            assert any(action in theirs["Action"] and fnmatchcase(resource, theirs["Resource"]) for theirs in person), (
                action
            )


def test_the_registry_knows_which_clouds_have_a_policy() -> None:
    assert registry.policy("aws") == policy.client_policy()
    with pytest.raises(Unsupported) as caught:
        registry.policy("local")
    assert "--on aws" in (caught.value.hint or "")


# --- against moto, which does not check rights --------------------------------------------------------------------


@pytest.fixture
def moto() -> Iterator[Clients]:
    from moto import mock_aws

    with mock_aws():
        none = Failure("InternalFailure", "moto has none", 501)
        yield Cloud({"SimulatePrincipalPolicy": none, "GetServiceQuota": QUOTA}, AWS_ENDPOINT_URL="")


def test_moto_makes_nothing_of_what_is_tried(moto: Clients) -> None:
    try:
        found = findings(moto, Need())
    except NotLoggedIn:
        pytest.fail("nothing is raised")
    assert any(ACCOUNT in line for line in lines(found, ok=True))
    assert moto.ec2.describe_key_pairs()["KeyPairs"] == []
    assert moto.ec2.describe_launch_templates()["LaunchTemplates"] == []
    assert [one["GroupName"] for one in moto.ec2.describe_security_groups()["SecurityGroups"]] == ["default"]
    assert moto.ec2.describe_instances()["Reservations"] == []
