"""Who may ask for what, and objects: keys, signatures, roles, conditions."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from typing import Any

import obstore
import pytest
from botocore.config import Config
from obstore.store import S3Store

from tests.cloudbox.cloud import Cloudbox
from tests.cloudbox.support import (
    IMAGE,
    code,
    group,
    machine_policy,
    role,
    subnets,
    template,
    words,
)

pytestmark = pytest.mark.cloudbox


# Who asks


def test_only_keys_that_were_handed_out(api: Cloudbox) -> None:
    def stranger(service: str) -> Any:
        return api.client(service, aws_access_key_id="AKIAAAAAAAAAAAAAAAAA", aws_secret_access_key="x")

    assert code(stranger("sts").get_caller_identity) == "InvalidClientTokenId"
    assert code(stranger("ec2").describe_regions) == "AuthFailure"
    assert code(stranger("s3").list_buckets) == "InvalidAccessKeyId"
    assert code(api.client("sts", aws_secret_access_key="x").get_caller_identity) == "SignatureDoesNotMatch"
    assert code(api.client("s3", aws_secret_access_key="x").list_buckets) == "SignatureDoesNotMatch"
    assert code(api.client("ec2", aws_secret_access_key="x").describe_regions) == "AuthFailure"
    assert api.client("sts").get_caller_identity()["Account"] == "123456789012"


def test_keys_of_a_role_expire(api: Cloudbox) -> None:
    role(api, "machine", machine_policy("tasks", "mine", "task"))
    api.client("s3").create_bucket(Bucket="tasks")
    key = api.account.keys.role("machine", "i-1", 2)
    mine = {"aws_access_key_id": key.id, "aws_secret_access_key": key.secret, "aws_session_token": key.session}
    objects = api.client("s3", **mine)
    api.rules.invisible = 60  # the policy has not been heard of
    assert code(lambda: objects.put_object(Bucket="tasks", Key="mine/a", Body=b"a")) == "AccessDenied"
    api.rules.invisible = 0
    objects.put_object(Bucket="tasks", Key="mine/a", Body=b"a")
    time.sleep(2.1)
    assert code(lambda: api.client("s3", **mine).list_buckets()) == "ExpiredToken"
    assert code(lambda: api.client("ec2", **mine).describe_regions()) == "RequestExpired"
    assert code(lambda: api.client("sts", **mine).get_caller_identity()) == "ExpiredToken"


def test_a_session_ends_and_a_clock_is_wrong(api: Cloudbox) -> None:
    environ = api.session(2)
    mine = {
        "aws_access_key_id": environ["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": environ["AWS_SECRET_ACCESS_KEY"],
        "aws_session_token": environ["AWS_SESSION_TOKEN"],
    }
    client = api.client("sts", **mine)
    assert ":assumed-role/AWSReservedSSO" in client.get_caller_identity()["Arn"]
    assert code(api.client("sts", **{**mine, "aws_session_token": "x"}).get_caller_identity) == "InvalidClientTokenId"
    time.sleep(2.1)
    assert code(client.get_caller_identity) == "ExpiredToken"
    api.rules.skew = 1000
    assert code(api.client("sts").get_caller_identity) == "SignatureDoesNotMatch"
    assert code(api.client("s3").list_buckets) == "RequestTimeTooSkewed"
    assert code(api.client("ec2").describe_regions) == "RequestExpired"


def test_presigned_addresses_expire(api: Cloudbox, s3: Any) -> None:
    s3.put_object(Bucket="tasks", Key="a b", Body=b"text")
    signing = api.client("s3", config=Config(signature_version="s3v4", proxies={}))
    url = signing.generate_presigned_url("get_object", Params={"Bucket": "tasks", "Key": "a b"}, ExpiresIn=3)
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"text"
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(url.replace("X-Amz-Expires=3", "X-Amz-Expires=900"))
    time.sleep(3.1)
    with pytest.raises(urllib.error.HTTPError, match="403") as caught:
        urllib.request.urlopen(url)
    assert b"Request has expired" in caught.value.read()


def test_a_role_may_do_what_its_policy_says(api: Cloudbox, s3: Any) -> None:
    role(api, "machine", machine_policy("tasks", "mine", "task"))
    group(api, template(api), size=0)
    group(api, template(api, "other"), "other", size=0)
    key = api.account.keys.role("machine", "i-1", 60)
    mine = {"aws_access_key_id": key.id, "aws_secret_access_key": key.secret, "aws_session_token": key.session}
    objects, scaling = api.client("s3", **mine), api.client("autoscaling", **mine)
    s3.put_object(Bucket="tasks", Key="yours/a", Body=b"a")
    objects.put_object(Bucket="tasks", Key="mine/a", Body=b"a")
    assert objects.list_objects_v2(Bucket="tasks", Prefix="mine/")["KeyCount"] == 1
    for refused in (
        lambda: objects.get_object(Bucket="tasks", Key="yours/a"),
        lambda: objects.put_object(Bucket="tasks", Key="yours/a", Body=b"b"),
        lambda: objects.copy_object(Bucket="tasks", Key="mine/b", CopySource="tasks/yours/a"),
        lambda: objects.delete_objects(Bucket="tasks", Delete={"Objects": [{"Key": "mine/a"}, {"Key": "yours/a"}]}),
        lambda: objects.list_objects_v2(Bucket="tasks", Prefix="yours/"),
        lambda: objects.list_objects_v2(Bucket="tasks"),
        lambda: objects.get_object(Bucket="tasks", Key="mine/missing"),
        lambda: scaling.set_desired_capacity(AutoScalingGroupName="other", DesiredCapacity=0),
        lambda: scaling.describe_auto_scaling_groups(),
    ):
        assert code(refused) == "AccessDenied"
    assert code(lambda: objects.head_object(Bucket="tasks", Key="mine/missing")) == "403"
    assert code(api.client("ec2", **mine).describe_instances) == "UnauthorizedOperation"
    scaling.set_desired_capacity(AutoScalingGroupName="task", DesiredCapacity=0)
    api.client("iam").delete_role_policy(RoleName="machine", PolicyName="task")
    assert code(lambda: objects.put_object(Bucket="tasks", Key="mine/a", Body=b"a")) == "AccessDenied"
    assert code(lambda: s3.get_object(Bucket="tasks", Key="mine/missing")) == "NoSuchKey"


def test_whoever_makes_a_group_passes_its_role(api: Cloudbox, ec2: Any) -> None:
    api.rules.invisible = 0
    role(api, "machine", [])
    launch = template(api, IamInstanceProfile={"Name": "machine"})
    most = {"Effect": "Allow", "Action": ["ec2:*", "autoscaling:*"], "Resource": "*"}
    api.rules.person = [most]
    sizes = {"MinSize": 0, "MaxSize": 1, "LaunchTemplate": {"LaunchTemplateId": launch}}
    where = {"AutoScalingGroupName": "task", "VPCZoneIdentifier": subnets(api)[0]}
    text = words(lambda: api.client("autoscaling").create_auto_scaling_group(**sizes, **where))
    assert "iam:PassRole on resource: arn:aws:iam::123456789012:role/machine" in text
    said = {"ImageId": IMAGE, "InstanceType": "m5.large", "MinCount": 1, "MaxCount": 1}
    profile = {"IamInstanceProfile": {"Name": "machine"}}
    assert code(lambda: ec2.run_instances(**said, **profile)) == "UnauthorizedOperation"
    allowed = {
        "Effect": "Allow",
        "Action": "iam:PassRole",
        "Resource": "arn:aws:iam::*:role/mach*",
        "Condition": {"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
    }
    api.rules.person = [most, allowed]
    group(api, launch, size=0)


def test_a_person_with_less_than_everything(api: Cloudbox, ec2: Any) -> None:
    api.rules.person = [{"Effect": "Allow", "Action": ["iam:*", "ec2:Describe*", "ec2:RunInstances"], "Resource": "*"}]
    assert code(lambda: ec2.create_security_group(GroupName="a", Description="a")) == "UnauthorizedOperation"
    assert code(lambda: ec2.run_instances(ImageId=IMAGE, MinCount=1, MaxCount=1, DryRun=True)) == "DryRunOperation"
    assert code(lambda: api.client("ssm").get_parameter(Name="/a")) == "AccessDeniedException"
    answer = api.client("iam").simulate_principal_policy(
        PolicySourceArn=api.client("sts").get_caller_identity()["Arn"],
        ActionNames=["ec2:RunInstances", "autoscaling:CreateAutoScalingGroup"],
    )
    decisions = [one["EvalDecision"] for one in answer["EvaluationResults"]]
    assert decisions == ["allowed", "implicitDeny"]


# Objects


def test_another_client_signs_as_this_one_reads(api: Cloudbox, s3: Any) -> None:
    environ = api.environ
    store = S3Store(
        "tasks",
        endpoint=api.url,
        access_key_id=environ["AWS_ACCESS_KEY_ID"],
        secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
        region=environ["AWS_REGION"],
        client_options={"allow_http": True},
    )
    name = "a b/ü+x=1&y~(z)!*'.txt"
    obstore.put(store, name, b"123")
    assert bytes(obstore.get(store, name).bytes()) == b"123"
    assert [one["path"] for page in obstore.list(store, "a b") for one in page] == [name]
    obstore.put(store, "large", b"x" * (12 << 20))
    assert obstore.head(store, "large")["size"] == 12 << 20
    obstore.delete(store, [name, "large"])
    assert s3.list_objects_v2(Bucket="tasks")["KeyCount"] == 0


def test_conditional_writes(api: Cloudbox, s3: Any) -> None:
    made = s3.put_object(Bucket="tasks", Key="a", Body=b"1", IfNoneMatch="*")["ETag"]
    assert code(lambda: s3.put_object(Bucket="tasks", Key="a", Body=b"2", IfNoneMatch="*")) == "PreconditionFailed"
    assert code(lambda: s3.put_object(Bucket="tasks", Key="a", Body=b"2", IfNoneMatch=made)) == "NotImplemented"
    assert code(lambda: s3.put_object(Bucket="tasks", Key="a", Body=b"2", IfMatch='"0"')) == "PreconditionFailed"
    assert code(lambda: s3.put_object(Bucket="tasks", Key="b", Body=b"2", IfMatch=made)) == "NoSuchKey"
    s3.put_object(Bucket="tasks", Key="a", Body=b"2", IfMatch=made)
    assert code(lambda: s3.delete_object(Bucket="tasks", Key="a", IfMatch=made)) == "PreconditionFailed"
    upload = s3.create_multipart_upload(Bucket="tasks", Key="a")["UploadId"]
    part = s3.upload_part(Bucket="tasks", Key="a", UploadId=upload, PartNumber=1, Body=b"3")["ETag"]
    whole = {"Bucket": "tasks", "Key": "a", "UploadId": upload}
    parts = {"Parts": [{"PartNumber": 1, "ETag": part}]}
    refused = code(lambda: s3.complete_multipart_upload(**whole, MultipartUpload=parts, IfNoneMatch="*"))
    assert refused == "PreconditionFailed"
    assert s3.get_object(Bucket="tasks", Key="a")["Body"].read() == b"2"
    assert "upload tasks/a" in api.leftovers()


def test_a_conditional_write_loses_against_one_that_came_before(api: Cloudbox, s3: Any) -> None:
    inner: list[str] = []

    def meanwhile(_: object) -> None:
        second = api.client("s3")
        inner.append(code(lambda: second.put_object(Bucket="tasks", Key="a", Body=b"2", IfNoneMatch="*")))

    with api.writing("tasks", "a"):
        meanwhile(None)
    assert inner == ["ConditionalRequestConflict"]


def test_new_buckets(api: Cloudbox, s3: Any) -> None:
    s3.create_bucket(Bucket="tasks")  # one's own: a success in this region
    assert s3.get_bucket_encryption(Bucket="tasks")["ServerSideEncryptionConfiguration"]["Rules"]
    blocks = s3.get_public_access_block(Bucket="tasks")["PublicAccessBlockConfiguration"]
    assert all(blocks.values())
    assert code(lambda: s3.put_object(Bucket="tasks", Key="a", Body=b"1", ContentMD5="AAAAAAAAAAAAAAAAAAAAAA==")) in (
        "BadDigest",
        "InvalidDigest",
    )
