"""The way to AWS, and what its errors mean."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lofty import errors
from lofty.drivers.aws import trouble
from lofty.drivers.aws.session import Clients, Exists, Gone, code_of, meaning_of_activity, translated
from lofty.errors import CloudError, Forbidden, LoftyError, NotLoggedIn, QuotaExceeded, SpecError, Unavailable
from lofty.store import clouds

from .aws import ENVIRON, Cloud, Failure

DENIED = (
    "You are not authorized to perform this operation. User: arn:aws:iam::123456789012:user/ann is not authorized to "
    "perform: ec2:RunInstances on resource: arn:aws:ec2:us-east-1:123456789012:instance/* because no identity-based "
    "policy allows the ec2:RunInstances action. Encoded authorization failure message: SECRETSECRET"
)
SCP = (
    "User: arn:aws:iam::123456789012:user/ann is not authorized to perform: iam:CreateRole on resource: x with an "
    "explicit deny in a service control policy"
)


ONE = Cloud({})
"""Shared: a client takes a quarter of a second to make."""


def failed(code: str, message: str = "no", status: int = 400) -> LoftyError:
    ONE.answers["DescribeInstances"] = Failure(code, message, status)
    with pytest.raises(LoftyError) as caught, translated("look at machines"):
        ONE.ec2.describe_instances()
    assert caught.value.__cause__ is not None
    assert code_of(caught.value) == code
    assert str(caught.value)
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("code", "status", "kind", "again"),
    [
        ("ExpiredToken", 400, NotLoggedIn, None),
        ("RequestExpired", 400, NotLoggedIn, None),
        ("InvalidClientTokenId", 403, NotLoggedIn, None),
        ("AuthFailure", 401, NotLoggedIn, None),
        ("SignatureDoesNotMatch", 403, NotLoggedIn, None),
        ("UnauthorizedOperation", 403, Forbidden, None),
        ("AccessDenied", 403, Forbidden, None),
        ("AccessDeniedException", 400, Forbidden, None),
        ("OptInRequired", 401, Forbidden, None),
        ("PendingVerification", 400, Forbidden, None),
        ("Blocked", 400, Forbidden, None),
        ("Throttling", 400, errors.Throttled, 1.0),
        ("ThrottlingException", 400, errors.Throttled, 1.0),
        ("RequestLimitExceeded", 503, errors.Throttled, 1.0),
        ("TooManyRequestsException", 429, errors.Throttled, 1.0),
        ("SlowDown", 503, errors.Throttled, 1.0),
        ("EC2ThrottledException", 400, errors.Throttled, 1.0),
        ("NobodyKnows", 429, errors.Throttled, 1.0),
        ("InternalError", 500, Unavailable, 2.0),
        ("NobodyKnows", 503, Unavailable, 2.0),
        ("VcpuLimitExceeded", 400, QuotaExceeded, None),
        ("MaxSpotInstanceCountExceeded", 400, QuotaExceeded, None),
        ("InstanceLimitExceeded", 400, QuotaExceeded, None),
        ("LimitExceeded", 409, QuotaExceeded, None),
        ("InsufficientInstanceCapacity", 500, errors.CapacityError, None),
        ("UnfulfillableCapacity", 400, errors.CapacityError, None),
        ("Unsupported", 400, errors.CapacityError, None),
        ("InsufficientFreeAddressesInSubnet", 400, errors.CapacityError, None),
        ("DependencyViolation", 400, CloudError, 2.0),
        ("DeleteConflict", 409, CloudError, 2.0),
        ("ResourceInUse", 400, CloudError, 2.0),
        ("ScalingActivityInProgress", 400, CloudError, 2.0),
        ("ConcurrentModification", 409, CloudError, 2.0),
        ("OperationAborted", 409, CloudError, 2.0),
        ("ResourceContention", 500, CloudError, 2.0),
        ("ServiceLinkedRoleFailure", 500, CloudError, 2.0),
        ("InvalidGroup.NotFound", 400, Gone, None),
        ("InvalidLaunchTemplateName.NotFoundException", 400, Gone, None),
        ("NoSuchEntity", 404, Gone, None),
        ("NoSuchBucket", 404, Gone, None),
        ("404", 404, Gone, None),
        ("InvalidKeyPair.Duplicate", 400, Exists, None),
        ("InvalidLaunchTemplateName.AlreadyExistsException", 400, Exists, None),
        ("EntityAlreadyExists", 409, Exists, None),
        ("AlreadyExists", 400, Exists, None),
        ("BucketAlreadyOwnedByYou", 409, Exists, None),
        ("MissingParameter", 400, CloudError, None),
    ],
)
def test_every_family_of_codes(code: str, status: int, kind: type[LoftyError], again: float | None) -> None:
    error = failed(code, "no", status)
    assert type(error) is kind
    assert error.retry_after == again
    assert str(error).startswith("look at machines: ")


@pytest.mark.parametrize(
    ("code", "message", "kind", "again"),
    [
        ("ValidationError", "AutoScalingGroup name not found - null", Gone, None),
        ("ValidationError", "Scheduled action name not found", Gone, None),
        ("AlreadyExists", "AutoScalingGroup by this name is pending delete", CloudError, 2.0),
        ("ValidationError", "It may not be modified while it is pending delete", CloudError, 2.0),
        ("ValidationError", "Value (x) for parameter iamInstanceProfile.name is invalid.", CloudError, 2.0),
        ("ValidationError", "Given start time is in the past", CloudError, None),
        ("InvalidParameterCombination", "The specified instance type is not eligible for Free Tier",
         errors.CapacityError, None),
    ],
)  # fmt: skip
def test_one_code_for_many_things_is_told_apart_by_its_sentence(
    code: str, message: str, kind: type[LoftyError], again: float | None
) -> None:
    error = failed(code, message)
    assert (type(error), error.retry_after) == (kind, again)


def test_a_missing_right_is_named_and_nothing_encoded_is_repeated() -> None:
    error = failed("UnauthorizedOperation", DENIED, 403)
    assert str(error) == "look at machines: the right ec2:RunInstances is missing"
    assert "--policy" in (error.hint or "")
    assert "DescribeInstances" in str(failed("AccessDenied", "no", 403)), "at least which call was refused"


def test_an_explicit_deny_is_said_to_be_beyond_ones_own_rights() -> None:
    error = failed("AccessDenied", SCP, 403)
    assert "iam:CreateRole" in str(error)
    assert "service control policy" in str(error)
    assert "administrator" in (error.hint or "")


def test_no_code_has_two_meanings() -> None:
    codes = [code for family in trouble._FAMILIES.values() for code in family]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    ("message", "kind", "again"),
    [
        ("Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill capacity due to your request "
         "configuration. Please adjust your request and try again. Launching EC2 instance failed.",
         errors.CapacityError, None),
        ("There is no Spot capacity available that matches your request. Launching EC2 instance failed.",
         errors.CapacityError, None),
        ("Could not launch On-Demand Instances. InsufficientInstanceCapacity - We currently do not have sufficient "
         "g4dn.xlarge capacity in the Availability Zone you requested (us-east-1a). Launching EC2 instance failed.",
         errors.CapacityError, None),
        ("Could not launch On-Demand Instances. VcpuLimitExceeded - You have requested more vCPU capacity than your "
         "current vCPU limit of 0 allows for the instance bucket that the specified instance type belongs to. "
         "Launching EC2 instance failed.", QuotaExceeded, None),
        ("Could not launch Spot Instances. MaxSpotInstanceCountExceeded - Max spot instance count exceeded. "
         "Launching EC2 instance failed.", QuotaExceeded, None),
        ("Could not launch On-Demand Instances. InvalidParameterCombination - The specified instance type is not "
         "eligible for Free Tier.", errors.CapacityError, None),
        ("Your Spot request price of 0.001 is lower than the minimum required Spot request fulfillment price of 0.02.",
         errors.CapacityError, None),
        ("Value (lofty-x) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name",
         CloudError, 2.0),
        ("Authentication Failure. Launching EC2 instance failed.", CloudError, 30.0),
        ("Client.InternalError: Client error on launch", Forbidden, None),
        ("Your requested instance type (p5.4xlarge) is not supported in your requested Availability Zone (us-east-1e)",
         errors.CapacityError, None),
        ("The requested configuration is currently not supported. Please check the documentation",
         errors.CapacityError, None),
        ("You have exceeded your quota for maximum Fleet Requests", Forbidden, None),
        ("This account is currently blocked and not recognized as a valid account.", Forbidden, None),
        ("The security group 'sg-1' does not exist. Launching EC2 instance failed.", Gone, None),
        ("The key pair 'x' does not exist. Launching EC2 instance failed.", Gone, None),
        ("InvalidAMIID.NotFound - The image id '[ami-1]' does not exist", Gone, None),
    ],
)  # fmt: skip
def test_why_a_group_got_no_machine(message: str, kind: type[LoftyError], again: float | None) -> None:
    error = meaning_of_activity(message)
    assert error is not None
    assert (type(error), error.retry_after) == (kind, again)
    assert error.hint
    assert "Launching EC2 instance failed" not in str(error)


@pytest.mark.parametrize("message", ["", "Launching a new EC2 instance: i-0123456789abcdef0"])
def test_a_message_that_says_nothing_known(message: str) -> None:
    assert meaning_of_activity(message) is None


# --- credentials --------------------------------------------------------------------------------------------------


def bare(tmp_path: Path, **environ: str) -> Clients:
    """Clients in a home without keys."""
    return Clients({"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", **environ})


def test_without_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-another-process")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-another-process")
    monkeypatch.setenv("AWS_PROFILE", "of-another-process")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "sa-east-1")
    assert bare(tmp_path).region == "us-east-1"
    with pytest.raises(NotLoggedIn, match="no AWS credentials") as caught:
        _ = bare(tmp_path).account
    assert "aws sso login" in (caught.value.hint or "")
    assert "lofty check --on aws" in (caught.value.hint or "")


def test_half_a_key_is_none(tmp_path: Path) -> None:
    with pytest.raises(NotLoggedIn):
        _ = bare(tmp_path, AWS_ACCESS_KEY_ID="AKIA").account


def test_a_profile_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotLoggedIn, match="nobody"):
        _ = bare(tmp_path, AWS_PROFILE="nobody").region


def test_a_login_that_has_run_out(tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(
        "[profile work]\nsso_session = s\nsso_account_id = 123456789012\nsso_role_name = Dev\nregion = eu-west-1\n"
        "[sso-session s]\nsso_region = eu-west-1\nsso_start_url = https://example.invalid/start\n"
    )
    clients = bare(tmp_path, AWS_PROFILE="work")
    assert clients.region == "eu-west-1"
    with pytest.raises(NotLoggedIn, match="cannot be used") as caught:
        _ = clients.account
    assert "aws sso login" in (caught.value.hint or "")


def test_keys_come_from_the_environment_given_and_go_before_a_profile(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("[work]\naws_access_key_id = FILE\naws_secret_access_key = FILE\n")
    of_file = bare(tmp_path, AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "keys"), AWS_PROFILE="work")
    assert of_file._session.get_credentials().access_key == "FILE"
    both = bare(tmp_path, **{**of_file.environ, "AWS_ACCESS_KEY_ID": "OWN", "AWS_SECRET_ACCESS_KEY": "OWN"})
    assert both._session.get_credentials().access_key == "OWN"


# --- regions and clients ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "environ", "region"),
    [
        ("", {}, "us-east-1"),
        ("", {"AWS_DEFAULT_REGION": "eu-west-3"}, "eu-west-3"),
        ("", {"AWS_DEFAULT_REGION": "eu-west-3", "AWS_REGION": "ap-south-1"}, "ap-south-1"),
        ("sa-east-1", {"AWS_REGION": "ap-south-1"}, "sa-east-1"),
        ("eu-north", {}, "eu-north-1"),
    ],
)
def test_the_region(tmp_path: Path, given: str, environ: dict[str, str], region: str) -> None:
    assert Clients({"HOME": str(tmp_path), **environ}, given).region == region


def test_an_unknown_region_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="did you mean 'eu-west-1'") as caught:
        _ = Clients({"HOME": str(tmp_path)}, "eu-wes-1").region
    assert caught.value.hint


def test_clients_try_once_name_us_and_are_made_once() -> None:
    clients = Clients(ENVIRON)
    for name in ("ec2", "autoscaling", "iam", "s3", "sts", "ssm", "pricing", "quotas"):
        client = getattr(clients, name)
        assert client is getattr(clients, name)
        assert client.meta.config.retries["total_max_attempts"] == 1
        assert "lofty" in client.meta.config.user_agent
        assert client.meta.endpoint_url == ENVIRON["AWS_ENDPOINT_URL"]
    assert clients.partition == "aws"


@pytest.mark.parametrize(
    ("region", "served"),
    [
        ("us-west-2", "us-east-1"),
        ("eu-north-1", "eu-central-1"),
        ("ap-northeast-1", "ap-south-1"),
        ("sa-east-1", "us-east-1"),
    ],
)
def test_the_price_list_is_served_from_three_places(region: str, served: str) -> None:
    assert Clients(ENVIRON, region).pricing.meta.region_name == served


def test_an_endpoint_may_be_one_services_own() -> None:
    clients = Clients({**ENVIRON, "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:8"})
    assert clients.s3.meta.endpoint_url == "http://127.0.0.1:8"
    assert clients.ec2.meta.endpoint_url == "http://127.0.0.1:9"


def test_who_we_are_is_asked_once() -> None:
    answer = {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/ann", "UserId": "AIDA"}
    cloud = Cloud({"GetCallerIdentity": answer})
    assert (cloud.account, cloud.arn) == ("123456789012", "arn:aws:iam::123456789012:user/ann")
    assert len(cloud.calls["GetCallerIdentity"]) == 1


def test_another_region_is_the_same_account_and_login() -> None:
    answer = {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/ann", "UserId": "AIDA"}
    cloud = Cloud({"GetCallerIdentity": answer})
    assert cloud.account == "123456789012"
    other = cloud.at("eu-west")
    assert (other.region, other.account) == ("eu-west-1", "123456789012")
    assert other.ec2.meta.region_name == "eu-west-1"
    assert other is cloud.at("eu-west-1")
    assert cloud.at("") is cloud is cloud.at("us-east-1")
    assert len(cloud.calls["GetCallerIdentity"]) == 1
    with pytest.raises(SpecError, match="unknown region"):
        _ = cloud.at("nowhere").region


@pytest.mark.parametrize(
    ("bucket", "region"),
    [
        ("lofty-123456789012-eu-west-1", "eu-west-1"),
        ("lofty-123456789012-us-gov-west-1", "us-gov-west-1"),
        ("lofty-data-eu-west-1", ""),
        ("mine", ""),
    ],
)
def test_a_bucket_of_ours_says_where_it_lies(bucket: str, region: str) -> None:
    assert clouds._region_of(bucket) == region


def test_boto3_is_not_imported_before_it_is_used() -> None:
    code = (
        "import sys; from lofty.drivers.aws import session, catalogue, prices, offers, images, policy, check\n"
        "session.Clients({}); print([m for m in sys.modules if m.startswith('boto')])"
    )
    environ = {key: value for key, value in os.environ.items() if key != "COVERAGE_PROCESS_START"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env=environ
    )
    assert done.stdout.strip() == "[]"


def test_without_boto3_the_command_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in sys.modules if one.split(".")[0] in ("boto3", "botocore")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.setitem(sys.modules, "botocore", None)
    with pytest.raises(errors.MissingExtra) as caught:
        _ = Clients(ENVIRON).account
    assert caught.value.hint == "pip install 'lofty[aws]'"
