"""An S3 server that is not ours: moto, as a process on loopback."""

from __future__ import annotations

import subprocess
import sys
from typing import Self

import boto3

from tests.stores.s3 import KEY, REGION, SECRET
from tests.stores.support import ended, free_port, listening


class Moto:
    """`with Moto() as server: Store(server.url)`, with `server.environ` in the environment."""

    def __init__(self, bucket: str = "bucket") -> None:
        self.url = f"s3://{bucket}"
        self._bucket = bucket
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environ(self) -> dict[str, str]:
        """What a client needs."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._port}",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def __enter__(self) -> Self:
        words = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self._port)]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(words, stdin=quiet, stdout=quiet, stderr=quiet)
        listening(self._process, self._port)
        boto3.client(
            "s3",
            endpoint_url=self.environ["AWS_ENDPOINT_URL"],
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name=REGION,
        ).create_bucket(Bucket=self._bucket)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            ended(self._process)
