"""The instance metadata service: a machine is known by its address, and version 2 wants a token."""

from __future__ import annotations

import base64
import json
import secrets
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.cloudbox.account import Account
from tests.cloudbox.catalogue import REGION
from tests.cloudbox.compute import Compute, Life
from tests.cloudbox.network import METADATA, Network

_TTL = "X-aws-ec2-metadata-token-ttl-seconds"


class Metadata:
    """Answers on 169.254.169.254, port 80, inside the cloud's network."""

    def __init__(self, account: Account, compute: Compute, network: Network) -> None:
        self._account, self._compute = account, compute
        self._tokens: dict[str, tuple[str, float]] = {}
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_PUT(self) -> None:
                self._reply(*service.token(self.client_address[0], self.path, self.headers.get(_TTL, "")))

            def do_GET(self) -> None:
                token = self.headers.get("X-aws-ec2-metadata-token")
                self._reply(*service.answer(self.client_address[0], self.path, token))

            def _reply(self, status: int, text: str | bytes, *headers: tuple[str, str]) -> None:
                body = text.encode() if isinstance(text, str) else text
                self.send_response(status)
                for header in (*headers, ("Content-Type", "text/plain"), ("Content-Length", str(len(body)))):
                    self.send_header(*header)
                self.end_headers()
                self.wfile.write(body)

        with network.inside():
            self._server = ThreadingHTTPServer((METADATA, 80), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True, name="metadata")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def token(self, address: str, path: str, seconds: str) -> Any:
        """A token for one machine and some time."""
        with self._account.lock:
            life = self._compute.at(address)
            if life is None or path != "/latest/api/token":
                return 404, ""
            if not seconds.isdigit() or not 1 <= int(seconds) <= 21600:
                return 400, ""
            token = secrets.token_urlsafe(40)
            self._tokens[token] = (life.id, time.monotonic() + int(seconds))
            return 200, token, (_TTL, seconds)

    def answer(self, address: str, path: str, token: str | None) -> Any:
        """What a machine is told about itself."""
        with self._account.lock:
            life = self._compute.at(address)
            if life is None:
                return 404, ""
            options = life.instance.metadata_options
            if options.http_endpoint == "disabled":
                return 403, ""
            if token is None:
                if options.http_tokens == "required" or not self._account.rules.imds_v1:
                    return 401, ""
            elif self._tokens.get(token, ("", 0.0))[0] != life.id or self._tokens[token][1] < time.monotonic():
                return 401, ""
            _, _, what = path.lstrip("/").partition("/")  # the version: all are the same
            return self._tell(life, what.rstrip("/"))

    def _tell(self, life: Life, what: str) -> Any:
        if what == "":
            return 200, "dynamic\nmeta-data\nuser-data"
        if what == "user-data":
            data = life.instance.user_data
            return (200, base64.b64decode(str(data))) if data else (404, "")
        if what == "dynamic/instance-identity/document":
            zone = life.instance.placement.zone
            return 200, json.dumps({"instanceId": life.id, "region": REGION, "availabilityZone": zone})
        tree = self._tree(life)
        kind, _, leaf = what.partition("/")
        if kind != "meta-data":
            return 404, ""
        if leaf in tree:
            return 200, tree[leaf]
        if leaf.startswith("iam/security-credentials/") and leaf.rpartition("/")[2] == self._role(life):
            return 200, self._credentials(life)
        start = f"{leaf}/" if leaf else ""
        below = [key[len(start) :] for key in tree if key.startswith(start)]
        listed = sorted({name.partition("/")[0] + ("/" if "/" in name else "") for name in below})
        return (200, "\n".join(listed)) if listed else (404, "")

    def _tree(self, life: Life) -> dict[str, str]:
        instance = life.instance
        tree = {
            "ami-id": instance.image_id,
            "ami-launch-index": "0",
            "hostname": instance.private_dns_name,
            "instance-action": "none",
            "instance-id": life.id,
            "instance-life-cycle": life.market,
            "instance-type": instance.instance_type,
            "local-hostname": instance.private_dns_name,
            "local-ipv4": instance.private_ip,
            "mac": instance.nics[0].mac_address,
            "placement/availability-zone": instance.placement.zone,
            "placement/region": REGION,
            "reservation-id": instance.reservation.id,
            "security-groups": "\n".join(group.name for group in instance.security_groups),
        }
        if instance.public_ip:
            tree["public-ipv4"] = instance.public_ip
        if key := self._account.ec2.key_pairs.get(instance.key_name):
            tree["public-keys"] = f"0={key.key_name}"
            tree["public-keys/0"] = "openssh-key"
            tree["public-keys/0/openssh-key"] = key.material_public
        if life.action:
            tree["spot/instance-action"] = json.dumps(life.action)
            tree["spot/termination-time"] = life.action["time"]
        if life.rebalance:
            tree["events/recommendations/rebalance"] = json.dumps({"noticeTime": life.rebalance})
        if life.group:
            tree["autoscaling/target-lifecycle-state"] = "Terminated" if life.leaving else "InService"
        if role := self._role(life):
            tree["iam/security-credentials"] = role
            tree["iam/info"] = json.dumps(
                {"Code": "Success", "InstanceProfileArn": instance.iam_instance_profile["Arn"]}
            )
        return tree

    def _role(self, life: Life) -> str:
        named = life.instance.iam_instance_profile
        for profile in self._account.iam.instance_profiles.values():
            if named and profile.arn == named["Arn"] and profile.roles:
                return str(profile.roles[0].name)
        return ""

    def _credentials(self, life: Life) -> str:
        lifetime = self._account.rules.role_credentials
        role = self._role(life)
        # New ones are there at least five minutes before the old end, or half their life where that is shorter.
        if life.key is None or life.key.role != role or life.key.expires - time.time() < min(300.0, lifetime / 2):
            life.key = self._account.keys.role(role, life.id, lifetime)
        stamp = "%Y-%m-%dT%H:%M:%SZ"
        return json.dumps(
            {
                "Code": "Success",
                "LastUpdated": datetime.now(UTC).strftime(stamp),
                "Type": "AWS-HMAC",
                "AccessKeyId": life.key.id,
                "SecretAccessKey": life.key.secret,
                "Token": life.key.session,
                "Expiration": datetime.fromtimestamp(life.key.expires, UTC).strftime(stamp),
            }
        )
