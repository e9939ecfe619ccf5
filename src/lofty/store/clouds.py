"""From a store's address to obstore's client for it. Credentials and endpoints come from where each cloud's own tools
look for them: `AWS_*`, `GOOGLE_*` and `STORAGE_EMULATOR_HOST`, `AZURE_*`."""

from __future__ import annotations

import os
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import MissingExtra, SpecError

SCHEMES = {"s3": "a bucket on S3", "gs": "a bucket on Google Cloud Storage", "az": "a container on Azure"}

CONNECT, SILENCE = 10.0, 30.0
"""Seconds to get a connection, and without a byte before a request counts as stalled. A whole request has no limit of
its own but `patience`: an object may be large and a line slow."""


def opened(scheme: str, container: str, patience: float) -> Any:
    """obstore's store for a whole container."""
    if not container:
        raise SpecError(f"'{scheme}://' names no container", hint=f"{scheme}://NAME/PREFIX")
    silence = min(SILENCE, patience)
    client = {
        "allow_http": True,  # whoever names an http endpoint means it
        "connect_timeout": timedelta(seconds=min(CONNECT, patience)),
        "read_timeout": timedelta(seconds=silence),
        "timeout": timedelta(seconds=max(patience, 4 * silence)),
        "pool_idle_timeout": timedelta(seconds=60),
        "user_agent": "lofty",
    }
    retry = {
        "max_retries": 30,
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=min(10.0, max(0.2, patience / 4))),
            "base": 2,
        },
        "retry_timeout": timedelta(seconds=patience),
    }
    make = {"s3": _s3, "gs": _gcs, "az": _azure}[scheme]
    return make(container, client, retry)


def _s3(bucket: str, client: Any, retry: Any) -> Any:
    from obstore.store import S3Store

    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    more: dict[str, Any] = {}
    if not os.environ.get("AWS_ACCESS_KEY_ID") and _has_profile():
        if find_spec("boto3") is None:
            raise MissingExtra("the AWS profile can only be read with boto3", hint="pip install boto3")
        from obstore.auth.boto3 import Boto3CredentialProvider

        more["credential_provider"] = Boto3CredentialProvider()
    return S3Store(bucket, region=region, client_options=client, retry_config=retry, **more)


def _has_profile() -> bool:
    files = (
        os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials"),
        os.environ.get("AWS_CONFIG_FILE", "~/.aws/config"),
    )
    return bool(os.environ.get("AWS_PROFILE")) or any(Path(name).expanduser().is_file() for name in files)


def _gcs(bucket: str, client: Any, retry: Any) -> Any:
    from obstore.store import GCSStore

    more: dict[str, Any] = {}
    host = os.environ.get("STORAGE_EMULATOR_HOST")
    if host:
        # Google's own name for an emulator's address; without credentials the client would ask the metadata server.
        more = {"base_url": host if "://" in host else f"http://{host}", "skip_signature": True}
    return GCSStore(bucket, client_options=client, retry_config=retry, **more)


def _azure(container: str, client: Any, retry: Any) -> Any:
    from obstore.store import AzureStore

    return AzureStore(container, client_options=client, retry_config=retry)
