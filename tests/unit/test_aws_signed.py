"""The machine's own signature is the one that Amazon's library would make."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as Theirs

from lofty.drivers.aws.signed import Credentials, endpoint_of, query

NOW = datetime(2026, 11, 26, 6, 30, 1, tzinfo=UTC)
WORDS = {"Action": "TerminateInstanceInAutoScalingGroup", "Version": "2011-01-01", "InstanceId": "i-0 a/ü"}
MINE = Credentials("ASIAX", "s3cr3t/+", "to/ken==")


@pytest.mark.parametrize("endpoint", ["", "http://172.31.255.254:5000"])
@pytest.mark.parametrize("region", ["us-east-1", "cn-north-1"])
def test_it_is_signed_as_boto_signs(region: str, endpoint: str) -> None:
    url, headers, body = query("autoscaling", region, WORDS, MINE, endpoint=endpoint, now=NOW)
    assert url == (endpoint or endpoint_of("autoscaling", region)) + "/"
    theirs: Any = AWSRequest("POST", url, {"content-type": headers["content-type"]}, body)
    with patch("botocore.auth.get_current_datetime", return_value=NOW):
        SigV4Auth(Theirs(*MINE), "autoscaling", region).add_auth(theirs)
    assert headers["authorization"] == theirs.headers["Authorization"]


def test_the_endpoint_is_the_one_that_boto_knows() -> None:
    import boto3

    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    for region in ("us-east-1", "eu-north-1", "cn-north-1", "us-gov-west-1"):
        theirs = boto3.client("autoscaling", region, **keys).meta.endpoint_url
        assert theirs == endpoint_of("autoscaling", region)
