"""The way to AWS: clients made when used, from the environment that the driver was given and no other."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from ...errors import MissingExtra, SpecError, Unavailable, unknown_choice
from .trouble import Exists, Gone, code_of, meaning_of_activity, never_reached, translated

__all__ = ["Clients", "Exists", "Gone", "code_of", "meaning_of_activity", "translated"]

REGION = "us-east-1"
"""Where nothing names a region."""
REGIONS = {"us-east": "us-east-1", "us-west": "us-west-1", "eu-north": "eu-north-1", "eu-west": "eu-west-1"}
"""Regions by the names that hold on every cloud, as the predecessor had them."""
CONNECT, READ = 5, 30
"""Seconds to get a connection, and without a byte from the other side."""


class Clients:
    """boto3's clients of one account in one region. They try once: trying again is the engine's business.

    What botocore would take from this process's variables is taken from `environ`; so is the place of the shared files.
    """

    def __init__(self, environ: Mapping[str, str], region: str = "") -> None:
        self.environ = dict(environ)
        self._asked = region
        self._made: dict[str, Any] = {}
        self._elsewhere: dict[str, Clients] = {}
        self._lock = threading.RLock()

    @cached_property
    def region(self) -> str:
        """The one given, or the environment's or profile's, or `us-east-1`. `SpecError` for one that is none."""
        named = self._asked or self.environ.get("AWS_REGION") or self.environ.get("AWS_DEFAULT_REGION")
        region = named or self._session.region_name or REGION
        region = REGIONS.get(region, region)
        known = self._known_regions
        if region not in known:
            near = unknown_choice("region", region, known)
            raise SpecError(
                near if near.endswith("?") else f"unknown region '{region}'",
                hint=f"--region {REGION}; for a region that is new: pip install -U boto3",
            )
        return region

    def at(self, region: str) -> Clients:
        """The same account in another region; these where it is none other. An empty region is the one that is set."""
        region = REGIONS.get(region, region)
        if region in ("", self.region):
            return self
        with self._lock:
            if region not in self._elsewhere:
                self._elsewhere[region] = other = Clients(self.environ, region)
                # Login and account are the same, and take time.
                other.__dict__.update(_core=self._core, _session=self._session, _known_regions=self._known_regions)
                if "_identity" in self.__dict__:
                    other.__dict__["_identity"] = self._identity
            return self._elsewhere[region]

    @property
    def endpoint(self) -> str:
        """Where S3 answers, if not at Amazon's own address; machines are told."""
        return self.environ.get("AWS_ENDPOINT_URL_S3") or self.environ.get("AWS_ENDPOINT_URL") or ""

    @property
    def partition(self) -> str:
        """`aws`; `aws-cn` or `aws-us-gov` in those regions. The second word of every ARN."""
        return str(self._session.get_partition_for_region(self.region))

    @property
    def account(self) -> str:
        """The twelve digits."""
        return str(self._identity["Account"])

    @property
    def arn(self) -> str:
        """Who the credentials belong to: a user, an assumed role, or the account's root."""
        return str(self._identity["Arn"])

    @property
    def ec2(self) -> Any:
        """Machines, images, networks, spot prices."""
        return self._client("ec2")

    @property
    def autoscaling(self) -> Any:
        """Groups."""
        return self._client("autoscaling")

    @property
    def iam(self) -> Any:
        """Roles of machines."""
        return self._client("iam")

    @property
    def s3(self) -> Any:
        """Buckets."""
        return self._client("s3")

    @property
    def sts(self) -> Any:
        """Who we are."""
        return self._client("sts")

    @property
    def ssm(self) -> Any:
        """The names of current images."""
        return self._client("ssm")

    @property
    def pricing(self) -> Any:
        """The price list. It is served from three places, whichever region is asked about."""
        area = self.region.partition("-")[0]
        return self._client("pricing", {"ap": "ap-south-1", "eu": "eu-central-1"}.get(area, "us-east-1"))

    @property
    def quotas(self) -> Any:
        """Limits of the account."""
        return self._client("service-quotas")

    @cached_property
    def _identity(self) -> dict[str, Any]:
        try:
            with translated("ask AWS who we are"):
                return dict(self.sts.get_caller_identity())
        except Unavailable as error:
            if never_reached(error):  # the first question of all: who is not online need not wait for another try
                raise Unavailable(str(error), hint=error.hint) from error
            raise

    @cached_property
    def _known_regions(self) -> list[str]:
        # botocore's own list of each service's regions takes a third of a second to read, this one a hundredth.
        partitions = self._core.get_data("partitions")["partitions"]
        return sorted(name for one in partitions for name in one["regions"] if not name.endswith("-global"))

    @cached_property
    def _core(self) -> Any:
        """botocore's session, which boto3's is made around."""
        try:
            import boto3  # noqa: F401 - both or none
            import botocore.session
            from botocore.configprovider import ConstantProvider, ScopedConfigProvider
        except ModuleNotFoundError as error:
            raise MissingExtra("'aws' needs boto3, which is not installed", hint="pip install 'lofty[aws]'") from error
        environ, core = self.environ, botocore.session.Session()
        folder = Path(environ.get("HOME") or "~").expanduser() / ".aws"
        core.set_config_variable("config_file", environ.get("AWS_CONFIG_FILE") or str(folder / "config"))
        shared = environ.get("AWS_SHARED_CREDENTIALS_FILE") or str(folder / "credentials")
        core.set_config_variable("credentials_file", shared)
        named = core.get_component("config_store")
        named.set_config_provider("profile", ConstantProvider(environ.get("AWS_PROFILE") or None))
        named.set_config_provider("region", ScopedConfigProvider("region", core))
        return core

    @cached_property
    def _session(self) -> Any:
        environ, core = self.environ, self._core
        import boto3

        keys = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
        with translated("use the AWS profile"):
            session = boto3.Session(
                *(keys if all(keys) else (None, None)),
                aws_session_token=environ.get("AWS_SESSION_TOKEN") if all(keys) else None,
                profile_name=environ.get("AWS_PROFILE") or None,
                botocore_session=core,
            )
            chain = core.get_component("credential_provider")
        chain.remove("env")  # it would read this process's variables
        if environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            chain.remove("iam-role")
        return session

    def _client(self, service: str, region: str = "") -> Any:
        region = region or self.region
        with self._lock:
            if service not in self._made:
                from botocore.config import Config

                retries = {"mode": "standard", "total_max_attempts": 1}
                config = Config(
                    retries=retries, user_agent_extra="lofty", connect_timeout=CONNECT, read_timeout=READ
                )  # fmt: skip
                own = f"AWS_ENDPOINT_URL_{service.replace('-', '_').upper()}"
                endpoint = self.environ.get(own) or self.environ.get("AWS_ENDPOINT_URL") or None
                with translated(f"prepare to use {service}"):
                    self._made[service] = self._session.client(
                        service, region_name=region, endpoint_url=endpoint, config=config
                    )
            return self._made[service]
