"""What a new machine runs first: it fetches the agent from the task's own prefix with its own role, checks it by hash
and starts it. No secret is in it, and it fits four times into what EC2 takes."""

from __future__ import annotations

import json

LIMIT = 4096
"""Bytes; EC2 takes 16 KiB, and a template has to hold other things too."""

SCRIPT = r'''#!/usr/bin/python3
"""lofty: fetch this machine's agent, check it, start it."""
import datetime, hashlib, hmac, io, json, os, subprocess, tarfile, time, urllib.error, urllib.request

P = {**json.loads(r"""@PARAMETERS@"""), "began": time.time()}
IMDS = "http://169.254.169.254/latest/"
open_ = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def imds(path, token):
    asked = urllib.request.Request(IMDS + path, headers={"X-aws-ec2-metadata-token": token})
    return open_(asked, timeout=5).read().decode()


def credentials():
    head = {"X-aws-ec2-metadata-token-ttl-seconds": "300"}
    token = open_(urllib.request.Request(IMDS + "api/token", b"", head, method="PUT"), timeout=5).read().decode()
    role = "meta-data/iam/security-credentials/"
    return json.loads(imds(role + imds(role, token).split()[0], token))


def fetch(key):
    c, now = credentials(), datetime.datetime.now(datetime.timezone.utc)
    stamp, region = now.strftime("%Y%m%dT%H%M%SZ"), P["region"]
    endpoint = P["endpoint"] or "https://s3.%s.amazonaws.com" % region
    host, path, empty = endpoint.split("://")[1], "/%s/%s" % (P["bucket"], key), hashlib.sha256().hexdigest()
    head = {"host": host, "x-amz-content-sha256": empty, "x-amz-date": stamp, "x-amz-security-token": c["Token"]}
    names = ";".join(sorted(head))
    lines = "".join("%s:%s\n" % one for one in sorted(head.items()))
    scope = "%s/%s/s3/aws4_request" % (stamp[:8], region)
    canonical = "\n".join(["GET", path, "", lines, names, empty])
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    secret = ("AWS4" + c["SecretAccessKey"]).encode()
    for part in (*scope.split("/"), text):
        secret = hmac.new(secret, part.encode(), hashlib.sha256).digest()
    head["Authorization"] = "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s" % (
        c["AccessKeyId"], scope, names, secret.hex())
    return open_(urllib.request.Request(endpoint + path, headers=head), timeout=60).read()


def patiently(key):
    """A new role's policy, and the network, may need a minute or two."""
    limit = time.time() + 180
    while True:
        try:
            return fetch(key)
        except (OSError, ValueError, KeyError, IndexError) as error:
            if time.time() > limit:
                raise
            print("lofty: %s: %s" % (key, error), flush=True)
            time.sleep(1)


bundle = patiently(P["agent"])
if hashlib.sha256(bundle).hexdigest() != P["sha256"]:
    raise SystemExit("lofty: the agent in the store is not the one that was sent")
os.makedirs("/opt/lofty", exist_ok=True)
tarfile.open(fileobj=io.BytesIO(bundle)).extractall("/opt/lofty")
with open("/opt/lofty/boot.json", "w") as file:
    json.dump(P, file)
subprocess.run(["/usr/bin/python3", "/opt/lofty/boot.py"], check=True)
'''


def user_data(parameters: dict[str, str]) -> str:
    """The script; `parameters`: region, bucket, endpoint (empty for Amazon's), agent (key of the bundle), sha256, and
    what `lofty/boot/boot.py` reads. All of it is public on the machine."""
    text = SCRIPT.replace("@PARAMETERS@", json.dumps(parameters))
    if len(text.encode()) > LIMIT:
        raise ValueError(f"the user data has {len(text.encode())} bytes, more than {LIMIT}")
    return text
