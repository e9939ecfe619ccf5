"""From a store's address to obstore's client for it. Credentials and endpoints come from where each cloud's own tools
look for them: `AWS_*` and profiles, `GOOGLE_*` and `STORAGE_EMULATOR_HOST`, `AZURE_*` and `az login`."""

from __future__ import annotations

import os
import re
import shutil
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import MissingExtra, NotLoggedIn, SpecError

SCHEMES = {"s3": "bucket", "gs": "bucket", "az": "container"}
"""What a store's outermost folder is called."""

LOGIN = {
    "s3": "run `aws sso login` or renew AWS_ACCESS_KEY_ID and its secret; then `lofty check`",
    "gs": "run `gcloud auth application-default login`; then `lofty check`",
    "az": "run `az login` or renew AZURE_STORAGE_ACCOUNT_KEY; then `lofty check`",
}

CONNECT, SILENCE, WHOLE = 10.0, 30.0, 600.0
"""Seconds to get a connection, without a byte from the other side, and for a whole answer."""
LARGE = 256 * 1024
"""From this size on a write has no limit but `patience`: the other side is silent until it has everything, and of
eight objects of 8 MiB each takes a minute on a line of 8 Mbit/s."""

METADATA = "http://169.254.169.254"
"""Where a cloud's machines ask for credentials."""


def region_in(url: str) -> str:
    """The region that a store's address names; empty where it names none. Raises `SpecError` for any other word after
    a question mark, which may have been meant as a part of a name."""
    parts = urlsplit(url)
    said = url.partition("?")[2] or parts.fragment
    found = re.fullmatch(r"region=([a-z]{2}(?:-[a-z]+)+-\d+)", said)
    if said and not (found and parts.scheme == "s3"):
        raise SpecError(f"'{said}' in '{url}' is not understood", hint="s3://BUCKET/PREFIX?region=REGION")
    return found[1] if found else ""


def opened(scheme: str, container: str, patience: float, region: str = "", *, large: bool = False) -> Any:
    """obstore's store for a whole container. The one for `large` writes waits longer for an answer. `region`: where an
    S3 bucket lies, unless that is the environment's."""
    if not container:
        raise SpecError(f"'{scheme}://' names no {SCHEMES[scheme]}", hint=f"{scheme}://NAME/PREFIX")
    silence = min(SILENCE, max(0.5, patience / 4))
    client = {
        "allow_http": True,  # whoever names an http endpoint means it
        "connect_timeout": timedelta(seconds=min(CONNECT, max(0.5, patience / 2))),
        "timeout": timedelta(seconds=patience if large else WHOLE),
        "pool_idle_timeout": timedelta(seconds=60),
        "user_agent": "lofty",
    } | ({} if large else {"read_timeout": timedelta(seconds=silence)})
    retry = {
        "max_retries": 1000,  # `patience` is the limit
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=min(10.0, max(0.2, patience / 4))),
            "base": 2,
        },
        "retry_timeout": timedelta(seconds=patience),
    }
    if scheme == "s3":
        return _s3(container, client, retry, region)
    return {"gs": _gcs, "az": _azure}[scheme](container, client, retry)


def _s3(bucket: str, client: Any, retry: Any, region: str) -> Any:
    from obstore.store import S3Store

    own = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SKIP_SIGNATURE")
    container = ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI")
    more: dict[str, Any] = {}
    region = region or _region_of(bucket) or _first("AWS_REGION", "AWS_DEFAULT_REGION")
    if not _first(*own, *container):
        if _has_profile() and find_spec("boto3") is not None:
            more["credential_provider"] = provider = _profile()
            region = region or provider.config.get("region")
        elif os.environ.get("AWS_PROFILE"):
            raise MissingExtra("an AWS profile can only be read with boto3", hint="pip install boto3")
        else:
            address = _first("AWS_METADATA_ENDPOINT", "AWS_EC2_METADATA_SERVICE_ENDPOINT") or METADATA
            if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true" or not _answers(address):
                raise NotLoggedIn("there are no AWS credentials here", hint=LOGIN["s3"])
            more["metadata_endpoint"] = address
    endpoint = _first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    if "AWS_UNSIGNED_PAYLOAD" not in os.environ and not endpoint.startswith("http:"):
        more["unsigned_payload"] = True  # TLS guards the bytes; a hash of each body would halve the speed
    return S3Store(bucket, region=region or "us-east-1", client_options=client, retry_config=retry, **more)


def _region_of(bucket: str) -> str:
    """lofty's own buckets, one in each region of an account, say where they are; others do not."""
    found = re.fullmatch(r"lofty-\d{12}-([a-z]{2}(?:-[a-z]+)+-\d+)", bucket)
    return found[1] if found else ""


def _has_profile() -> bool:
    keys = _first("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials"
    files = (keys, _first("AWS_CONFIG_FILE") or "~/.aws/config")
    return bool(os.environ.get("AWS_PROFILE")) or any(Path(name).expanduser().is_file() for name in files)


def _profile() -> Any:
    """What boto3 makes of the profile: keys, SSO, roles. Asked once here, so that the trouble has a clear place."""
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        provider = Boto3CredentialProvider()
        provider()
    except (BotoCoreError, ValueError, AssertionError) as error:
        known = "Received None" not in str(error)
        text = f"the AWS profile cannot be used: {error}" if known else "there are no AWS credentials here"
        raise NotLoggedIn(" ".join(text.split()), hint=LOGIN["s3"]) from error
    return provider


def _gcs(bucket: str, client: Any, retry: Any) -> Any:
    from obstore.store import GCSStore

    more: Any
    if host := _first("STORAGE_EMULATOR_HOST"):
        # Google's own name for an emulator's address. A token, because without one the metadata server is asked.
        more = {"base_url": host if "://" in host else f"http://{host}", "bearer_token": "emulator"}
        return GCSStore(bucket, client_options=client, retry_config=retry, **more)
    own = ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_BEARER_TOKEN", "GOOGLE_SKIP_SIGNATURE")
    account = ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH", "GOOGLE_SERVICE_ACCOUNT_KEY")
    login = Path("~/.config/gcloud/application_default_credentials.json").expanduser()
    if not _first(*own, *account) and not login.is_file() and not _answers(_first("GCE_METADATA_IP") or METADATA):
        raise NotLoggedIn("there are no Google Cloud credentials here", hint=LOGIN["gs"])
    return GCSStore(bucket, client_options=client, retry_config=retry)


def _azure(container: str, client: Any, retry: Any) -> Any:
    from obstore.store import AzureStore

    own = ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_MASTER_KEY", "AZURE_STORAGE_TOKEN")
    signed = ("AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_SKIP_SIGNATURE", "AZURE_USE_AZURE_CLI")
    client_of = ("AZURE_CLIENT_SECRET", "AZURE_STORAGE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE")
    more: dict[str, Any] = {}
    emulator = _first("AZURE_STORAGE_USE_EMULATOR").lower() in ("1", "true", "yes", "on")
    account = _first("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT")  # obstore's name, and az's own
    if account:
        more["account_name"] = account
    elif not emulator:
        raise SpecError(f"az://{container} does not name its account", hint="export AZURE_STORAGE_ACCOUNT_NAME=NAME")
    if not emulator and not _first(*own, *signed, *client_of):
        if _first("AZURE_STORAGE_KEY"):
            more["account_key"] = _first("AZURE_STORAGE_KEY")
        elif shutil.which("az") and Path("~/.azure").expanduser().is_dir():
            more["use_azure_cli"] = True
        elif not _answers(_first("AZURE_MSI_ENDPOINT", "AZURE_IDENTITY_ENDPOINT", "IDENTITY_ENDPOINT") or METADATA):
            raise NotLoggedIn("there are no Azure credentials here", hint=LOGIN["az"])
    return AzureStore(container, client_options=client, retry_config=retry, **more)


def _first(*names: str) -> str:
    return next(filter(None, map(os.environ.get, names)), "")


def _answers(address: str) -> bool:
    """Whether somebody listens there. obstore itself would try again and again for as long as its patience lasts."""
    import socket

    parts = urlsplit(address if "://" in address else f"http://{address}")
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), timeout=1):
            return True
    except OSError:
        return False
