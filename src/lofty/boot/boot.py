"""Runs once on a fresh machine, as root, under the system's Python and with its standard library alone: makes the
agent's environment and starts it under systemd. `boot.json` beside it says for which task."""

import json
import os
import pwd
import subprocess
from pathlib import Path

HERE = Path("/opt/lofty")
UNIT = """\
[Unit]
Description=lofty agent
Wants=network-online.target
After=network-online.target

[Service]
User={user}
EnvironmentFile={here}/environ
WorkingDirectory={here}
ExecStart={here}/env/bin/python -P -m lofty.agent {here}/order.json
KillMode=mixed
TimeoutStopSec=90
Restart=on-failure
RestartSec=1
StandardOutput=journal+console
StandardError=journal+console

[Install]
WantedBy=multi-user.target
"""
"""On the way down systemd ends it with TERM and waits: that is the time for the last push."""


def main() -> None:
    """The environment, the order, the unit."""
    asked = json.loads((HERE / "boot.json").read_text())
    person = pwd.getpwnam(asked["user"])
    environ = {
        "AWS_REGION": asked["region"],
        "AWS_ENDPOINT_URL": asked["endpoint"],
        "UV_DEFAULT_INDEX": asked["index"],
        "LOFTY_UV": str(HERE / "uv"),
        "HOME": person.pw_dir,
    }
    environ = {key: value for key, value in environ.items() if value}
    order = {
        "store": asked["store"],
        "states": asked["states"],
        "machine": "",
        "workdir": f"{person.pw_dir}/{asked['name']}",
        "state": str(HERE / "state"),
        "cache": str(HERE / "cache"),
        "began": asked["began"],
    }
    (HERE / "environ").write_text("".join(f"{key}={value}\n" for key, value in environ.items()))
    (HERE / "order.json").write_text(json.dumps(order))
    for name in ("state", "cache"):
        (HERE / name).mkdir(exist_ok=True)
    uv = {**os.environ, **environ, "UV_CACHE_DIR": str(HERE / "cache" / "uv")}
    into = ["--python", str(HERE / "env" / "bin" / "python")]
    for words in (
        ["venv", "--clear", "--python", "/usr/bin/python3", str(HERE / "env")],
        ["pip", "sync", "--require-hashes", *into, "requirements.lock"],
        ["pip", "install", "--no-deps", "--no-index", *into, *map(str, HERE.glob("*.whl"))],
    ):
        subprocess.run([str(HERE / "uv"), "-q", *words], check=True, cwd=HERE, env=uv)
    subprocess.run(["chown", "-R", asked["user"], str(HERE)], check=True)
    unit = Path("/etc/systemd/system/lofty.service")
    unit.write_text(UNIT.format(user=asked["user"], here=HERE))
    subprocess.run(["systemctl", "daemon-reload"], check=True)
    subprocess.run(["systemctl", "enable", "-q", "--now", unit.name], check=True)


if __name__ == "__main__":
    main()
