"""Files in a bucket of the person's own: as they are, for other tools too, and there when the task is gone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError

from lofty.errors import LoftyError, SpecError, UsageError
from tests.aws.account import Account

BUCKET, PLACE = "ada-results", "s3://ada-results/runs/one"


@pytest.fixture
def bucket(account: Account) -> str:
    account.cloud.client("s3").create_bucket(Bucket=BUCKET)
    return BUCKET


def keys(account: Account) -> list[str]:
    return [one["Key"] for one in account.cloud.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def test_files_lie_there_as_they_are_and_stay(account: Account, bucket: str) -> None:
    task = account.lab(container=PLACE)
    assert keys(account) == ["runs/one/data.txt"]
    account.cloud.client("s3").put_object(Bucket=bucket, Key="runs/one/sub/model.bin", Body=b"by another tool")
    account.computer().get("one").pull(account.work)
    assert (account.work / "sub/model.bin").read_bytes() == b"by another tool"
    assert not [one for one in account.cloud.leftovers() if "/files/" in one]
    with pytest.raises(UsageError, match="keeps no versions"):
        list(task.history())
    account.computer().get("one").down(discard=True)
    assert keys(account) == ["runs/one/data.txt", "runs/one/sub/model.bin"]
    assert [one for one in account.leftovers() if BUCKET not in one] == []


def test_a_machine_reaches_that_place_and_no_other(account: Account, bucket: str) -> None:
    task = account.lab(container=PLACE)
    place = task.record.handle.id
    (role,) = (one for one in account.cloud.client("iam").list_roles()["Roles"] if place in one["RoleName"])
    key = account.cloud.account.keys.role(role["RoleName"], "i-1", 600)
    own = {"aws_access_key_id": key.id, "aws_secret_access_key": key.secret, "aws_session_token": key.session}
    s3 = account.cloud.client("s3", **own)
    s3.put_object(Bucket=bucket, Key="runs/one/made", Body=b"1")
    assert s3.list_objects_v2(Bucket=bucket, Prefix="runs/one/")["KeyCount"] == 2
    refused: list[Callable[[], object]] = [
        lambda: s3.put_object(Bucket=bucket, Key="runs/two/made", Body=b""),
        lambda: s3.put_object(Bucket=bucket, Key="runs/one-more", Body=b""),
        lambda: s3.list_objects_v2(Bucket=bucket, Prefix="runs/"),
        lambda: s3.delete_bucket(Bucket=bucket),
    ]
    for call in refused:
        with pytest.raises(ClientError, match="AccessDenied"):
            call()


@pytest.mark.parametrize("url", ["ada-results", "gs://ada-results/x", "s3://", "/tmp/x"])
def test_what_is_no_place_is_refused_before_anything_is_made(account: Account, url: str) -> None:
    with pytest.raises(SpecError, match="is no place on aws"):
        account.lab(container=url)
    assert account.leftovers() == []


def test_a_bucket_that_is_not_there_leaves_nothing(account: Account) -> None:
    with pytest.raises(LoftyError):
        account.lab(container="s3://nobodys-bucket/x")
    assert account.leftovers() == []


def test_a_bucket_in_another_region_is_named_with_it(account: Account) -> None:
    account.cloud.account.s3.create_bucket("ada-far", "eu-west-1")
    with pytest.raises(LoftyError, match="lies in region eu-west-1") as caught:
        account.lab(container="s3://ada-far/x")
    assert "?region=eu-west-1" in (caught.value.hint or "")
    assert account.leftovers() == []
    task = account.lab(container="s3://ada-far/x?region=eu-west-1")
    s3 = account.cloud.client("s3", region_name="eu-west-1")
    s3.put_object(Bucket="ada-far", Key="x/made", Body=b"there")
    task.pull(account.work)
    assert (account.work / "made").read_bytes() == b"there"
    (role,) = (one for one in account.cloud.client("iam").list_roles()["Roles"] if task.handle.id in one["RoleName"])
    key = account.cloud.account.keys.role(role["RoleName"], "i-1", 600)
    own = {"aws_access_key_id": key.id, "aws_secret_access_key": key.secret, "aws_session_token": key.session}
    account.cloud.client("s3", region_name="eu-west-1", **own).put_object(Bucket="ada-far", Key="x/more", Body=b"1")
