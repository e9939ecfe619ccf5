#!/usr/bin/python3
"""A client of the cloud in one file without packages, for machines: role credentials, signed requests, user data.

As user data it installs itself as `cloud`, then puts `MARK/INSTANCE` into a bucket. `cloud put BUCKET KEY TEXT`,
`cloud get BUCKET KEY`, `cloud list BUCKET PREFIX` and `cloud group ACTION NAME=VALUE ...` print what came back, or exit
with the error's code.
"""

import datetime
import hashlib
import hmac
import json
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

ENDPOINT = "@ENDPOINT@"
BUCKET = "@BUCKET@"
MARK = "@MARK@"
METADATA = "http://169.254.169.254/latest"


def ask(path: str) -> str:
    """The metadata service's answer."""
    ttl = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    request = urllib.request.Request(f"{METADATA}/api/token", method="PUT", headers=ttl)
    with urllib.request.urlopen(request, timeout=5) as answer:
        token = answer.read().decode()
    request = urllib.request.Request(f"{METADATA}/{path}", headers={"X-aws-ec2-metadata-token": token})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return str(answer.read().decode())


def send(service: str, method: str, path: str, query: "dict[str, str]", body: bytes = b"") -> str:
    """One request, signed with the machine's role."""
    role = ask("meta-data/iam/security-credentials/")
    keys = json.loads(ask(f"meta-data/iam/security-credentials/{role}"))
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    headers = {
        "host": urllib.parse.urlparse(ENDPOINT).netloc,
        "x-amz-content-sha256": digest,
        "x-amz-date": now,
        "x-amz-security-token": keys["Token"],
    }
    names = ";".join(sorted(headers))
    place = urllib.parse.quote(path, safe="/-_.~")
    pairs = sorted((urllib.parse.quote(k, safe=""), urllib.parse.quote(v, safe="")) for k, v in query.items())
    words = "&".join(f"{k}={v}" for k, v in pairs)
    lines = [method, place, words, *(f"{k}:{headers[k]}" for k in sorted(headers)), "", names, digest]
    scope = f"{now[:8]}/us-east-1/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256("\n".join(lines).encode()).hexdigest()])
    key = f"AWS4{keys['SecretAccessKey']}".encode()
    for part in (now[:8], "us-east-1", service, "aws4_request", text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    credential = f"Credential={keys['AccessKeyId']}/{scope}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={key.hex()}"
    if service != "s3":
        headers["content-type"] = "application/x-www-form-urlencoded"
    url = f"{ENDPOINT}{place}" + (f"?{words}" if words else "")
    request = urllib.request.Request(url, data=body or None, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as error:
        code = re.search(r"<Code>(\w+)</Code>", error.read().decode())
        sys.exit(f"{error.code} {code.group(1) if code else ''}")


def main(words: "list[str]") -> None:
    if not words:
        tool = Path("/usr/local/bin/cloud")
        tool.write_bytes(Path(sys.argv[0]).read_bytes())
        tool.chmod(0o755)
        send("s3", "PUT", f"/{BUCKET}/{MARK}/{ask('meta-data/instance-id')}", {}, b"hello")
        print("user data done")
    elif words[0] == "put":
        send("s3", "PUT", f"/{words[1]}/{words[2]}", {}, words[3].encode())
    elif words[0] == "get":
        print(send("s3", "GET", f"/{words[1]}/{words[2]}", {}))
    elif words[0] == "list":
        answer = send("s3", "GET", f"/{words[1]}", {"list-type": "2", "prefix": words[2]})
        print("\n".join(re.findall(r"<Key>([^<]*)</Key>", answer)))
    elif words[0] == "group":
        said = dict(word.split("=", 1) for word in words[2:])
        body = urllib.parse.urlencode({"Action": words[1], "Version": "2011-01-01", **said})
        print(send("autoscaling", "POST", "/", {}, body.encode()))


main(sys.argv[1:])
