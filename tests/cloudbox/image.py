"""The root file system that every machine starts from: made once, named after its recipe, mounted read-only.

`python -m tests.cloudbox.image` makes it ahead of the tests.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import filelock

from tests.cloudbox.tools import missing, run

ROOT = Path(__file__).parent.parent.parent
CACHE = Path(os.environ.get("LOFTY_TEST_CACHE") or ROOT / ".cache") / "cloudbox"

PACKAGES = (
    "ca-certificates",
    "cloud-init",
    "curl",
    "dbus",
    "git",
    "iproute2",
    "openssh-server",
    "procps",
    "python3",
    "python3-venv",
    "rsync",
    "sudo",
    "systemd",
    "systemd-sysv",
)

UNWANTED = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    "networking.service",
    "remote-fs.target",
    "systemd-firstboot.service",
    "systemd-hostnamed.service",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-timesyncd.service",
    "systemd-update-utmp.service",
)
"""Units that a machine without disks, screen or internet waits for in vain."""

FIRST_BOOT = r"""#!/bin/bash
# What cloud-init does for a machine that needs nothing but its key and its script, in a tenth of the time.
imds=http://169.254.169.254/latest
ask() { curl -sf --retry 5 --retry-connrefused --max-time 5 -H "X-aws-ec2-metadata-token: $token" "$imds/$1"; }
token=$(curl -sf --retry 20 --retry-delay 1 --retry-connrefused --max-time 5 -X PUT \
  -H 'X-aws-ec2-metadata-token-ttl-seconds: 21600' $imds/api/token) || exit 1
id=$(ask meta-data/instance-id) || exit 1
if key=$(ask meta-data/public-keys/0/openssh-key); then
  for home in /root /home/ubuntu; do
    install -d -m 700 $home/.ssh
    echo "$key" > $home/.ssh/authorized_keys
  done
  chown -R ubuntu: /home/ubuntu/.ssh
fi
mark=/var/lib/cloudbox/$id
[ -e "$mark" ] && exit 0  # once for an instance, not for every boot
install -d /var/lib/cloudbox
touch "$mark"
data=/var/lib/cloudbox/user-data
ask user-data > $data || exit 0
[ "$(head -c 2 $data | od -An -tx1 | tr -d ' ')" = 1f8b ] && gunzip < $data > $data.plain && mv $data.plain $data
[ "$(head -c 2 $data)" = '#!' ] || { echo "user data is not a script: this lane runs nothing else"; exit 1; }
chmod 700 $data
exec $data > >(tee -a /var/log/cloud-init-output.log) 2>&1
"""

FILES = {
    "usr/lib/cloudbox/first-boot": FIRST_BOOT,
    "etc/systemd/system/first-boot.service": """[Unit]
Description=Key and user data from the metadata service
After=basic.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/lib/cloudbox/first-boot
StandardOutput=journal+console
TimeoutStartSec=infinity
KillMode=process
[Install]
WantedBy=multi-user.target
""",
    "etc/systemd/system/host-key.service": """[Unit]
Description=A host key of the machine's own
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key
[Install]
WantedBy=multi-user.target
""",
    "etc/sudoers.d/ubuntu": "ubuntu ALL=(ALL) NOPASSWD:ALL\n",
    "etc/ssh/sshd_config.d/test.conf": "UseDNS no\nMaxStartups 100\nPermitRootLogin prohibit-password\n",
    # In a container cloud-init cannot read the machine's DMI, so it is told where it is.
    "etc/cloud/ds-identify.cfg": "policy: enabled\ndatasource: Ec2\n",
    "etc/cloud/cloud.cfg.d/99-test.cfg": """datasource_list: [Ec2]
datasource:
  Ec2:
    strict_id: false
    max_wait: 20
    timeout: 5
network:
  config: disabled
apt:
  preserve_sources_list: true
system_info:
  default_user:
    name: ubuntu
    gecos: Ubuntu
    sudo: ["ALL=(ALL) NOPASSWD:ALL"]
    shell: /bin/bash
""",
}

CUSTOMIZE = rf"""set -eu
useradd -R "$1" -m -s /bin/bash ubuntu
chmod 755 "$1/usr/lib/cloudbox/first-boot"
chmod 440 "$1/etc/sudoers.d/ubuntu"
systemctl --root="$1" -q mask {" ".join(UNWANTED)}
systemctl --root="$1" -q enable first-boot.service host-key.service ssh.service
systemctl --root="$1" -q set-default multi-user.target
rm -f "$1"/etc/ssh/ssh_host_* "$1/etc/hostname" "$1/etc/resolv.conf"
: > "$1/etc/machine-id"
rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/* "$1"/usr/share/doc/*
"""


def suite() -> str:
    """The release whose packages this computer can fetch: the host's own when it is a Debian, else bookworm."""
    found = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', Path("/etc/os-release").read_text(), re.M))
    return found.get("VERSION_CODENAME", "bookworm") if found.get("ID") == "debian" else "bookworm"


def place() -> Path:
    """Where the image lies, or will: the name says what it was made from."""
    recipe = repr((suite(), PACKAGES, UNWANTED, sorted(FILES.items()), CUSTOMIZE))
    return CACHE / f"image-{hashlib.sha256(recipe.encode()).hexdigest()[:16]}.squashfs"


def image() -> Path:
    """The image, made when it is not there yet; whoever comes second waits for the first."""
    target = place()
    if target.exists():
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(CACHE / "image.lock"):
        if not target.exists():
            _make(target)
            for old in CACHE.glob("image-*.squashfs"):
                if old != target:
                    old.unlink()
    return target


def _make(target: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="cloudbox-image-") as scratch:
        root, files, hook = Path(scratch, "root"), Path(scratch, "files"), Path(scratch, "customize")
        for name, text in FILES.items():
            path = files / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        hook.write_text("#!/bin/sh\n" + CUSTOMIZE)
        hook.chmod(0o755)
        options = [
            "--variant=minbase",
            "--mode=root",
            "--quiet",
            '--aptopt=Acquire::Languages "none"',
            "--dpkgopt=force-unsafe-io",
            *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("man", "doc", "locale", "info")),
            f"--include={','.join(PACKAGES)}",
            f"--customize-hook=copy-in {' '.join(str(path) for path in sorted(files.iterdir()))} /",
            f"--customize-hook={hook}",
        ]
        run("mmdebstrap", *options, suite(), root, *_sources())
        part = target.with_suffix(f".{os.getpid()}")
        quick = ["-comp", "zstd", "-Xcompression-level", "3", "-noappend", "-no-progress", "-quiet"]
        run("mksquashfs", root, part, *quick)
        part.replace(target)


def _sources() -> list[Path]:
    """The host's own lists of where its release comes from, so that a mirror set there is used here too."""
    wanted = re.compile(rf"^(Suites:|deb ).*(?<=\s){suite()}(?=\s|$)", re.M)
    folder = Path("/etc/apt")
    candidates = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    found = [path for path in candidates if path.suffix in (".list", ".sources") and path.is_file()]
    return [path for path in found if wanted.search(path.read_text())]


if __name__ == "__main__":
    if reason := missing():
        sys.exit(f"no machines of our own: {reason}")
    shutil.rmtree(CACHE / "scratch", ignore_errors=True)
    print(image())
