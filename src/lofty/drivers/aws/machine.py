"""The AWS driver's part that runs beside the agent: who am I, am I about to be taken, take me away."""

from __future__ import annotations

import http.client
import json
import re
import time
import urllib.error
import urllib.request
from pathlib import Path

from ...errors import CloudError, Unavailable
from .signed import Credentials, query

BOOT = Path("/opt/lofty/boot.json")
METADATA = "169.254.169.254"
TOKEN_SECONDS = 21_600
END_SECONDS = 20
"""For one answer of the service that is to end the machine."""


class AwsMachine:
    """One EC2 instance of an Auto Scaling group."""

    def __init__(self) -> None:
        self._token, self._token_until = "", 0.0

    def identity(self) -> str:
        """The instance's id."""
        found = self._ask("meta-data/instance-id")
        if not found:
            raise Unavailable("the metadata service does not say which instance this is", retry_after=2)
        return found

    def notice(self) -> str | None:
        """A spot interruption, about two minutes ahead; or that the group is to be rid of this machine, which comes
        with no notice but the machine's own shutdown."""
        try:
            raw = self._ask("meta-data/spot/instance-action")
            if raw:
                return f"AWS takes the machine away at {json.loads(raw).get('time', 'once')}"
            if self._ask("meta-data/autoscaling/target-lifecycle-state") == "Terminated":
                return "its group ends the machine"
        except (CloudError, ValueError):
            return None  # asked again in a moment; the shutdown itself is heard of too
        return None

    def end(self) -> None:
        """Terminate this instance and lower the group by one, with the role's own permission."""
        asked = json.loads(BOOT.read_text())
        words = {
            "Action": "TerminateInstanceInAutoScalingGroup",
            "Version": "2011-01-01",
            "InstanceId": self.identity(),
            "ShouldDecrementDesiredCapacity": "true",
        }
        url, headers, body = query(
            "autoscaling", asked["region"], words, self._credentials(), endpoint=asked["endpoint"]
        )
        request = urllib.request.Request(url, body, headers)  # noqa: S310 (the endpoint that the person uses)
        try:
            with urllib.request.urlopen(request, timeout=END_SECONDS):  # noqa: S310
                return
        except urllib.error.HTTPError as error:
            said = re.search(r"<Message>([^<]*)", error.read().decode(errors="replace"))
            raise CloudError(f"the machine cannot be ended: {said[1] if said else error}") from error
        except (OSError, http.client.HTTPException) as error:
            raise CloudError(f"the machine cannot be ended: {error}") from error

    def _credentials(self) -> Credentials:
        """The role's, which change every few hours."""
        place = "meta-data/iam/security-credentials/"
        role = (self._ask(place) or "").strip()
        try:
            found = json.loads(self._ask(place + role) or "") if role else {}
            return Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["Token"])
        except (ValueError, KeyError) as error:
            raise Unavailable("the metadata service has no credentials of a role", retry_after=2) from error

    def _ask(self, path: str) -> str | None:
        """One path of the metadata service; None where there is nothing."""
        if time.monotonic() > self._token_until:
            head = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
            self._token = self._request("PUT", "api/token", head) or ""
            self._token_until = time.monotonic() + TOKEN_SECONDS / 2
        return self._request("GET", path, {"X-aws-ec2-metadata-token": self._token})

    def _request(self, method: str, path: str, headers: dict[str, str]) -> str | None:
        connection = http.client.HTTPConnection(METADATA, timeout=5)
        try:
            connection.request(method, f"/latest/{path}", headers=headers)
            answer = connection.getresponse()
            status, body = answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"the metadata service does not answer: {error}", retry_after=2) from error
        finally:
            connection.close()
        if status not in (http.client.OK, http.client.NOT_FOUND):
            raise Unavailable(f"the metadata service answers {status}", retry_after=2)
        return body if status == http.client.OK else None
