"""What the cloud sells: images, types, zones, prices, quotas. Figures are those of the real us-east-1 in 2026."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

ACCOUNT = "123456789012"
REGION = "us-east-1"
ZONES = tuple(f"{REGION}{letter}" for letter in "abcdef")
CANONICAL = "099720109477"
AMAZON = "898082745236"

_GPU = "/aws/service/deeplearning/ami/x86_64"
_UBUNTU = "/aws/service/canonical/ubuntu/server"

IMAGES = {
    "ami-0a1b2c3d4e5f60001": (
        "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20260901",
        "x86_64",
        CANONICAL,
    ),
    "ami-0a1b2c3d4e5f60002": ("ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-arm64-server-20260901", "arm64", CANONICAL),
    "ami-0a1b2c3d4e5f60003": ("ubuntu/images/hvm-ssd-gp3/ubuntu-26.04-amd64-server-20260901", "x86_64", CANONICAL),
    "ami-0a1b2c3d4e5f60004": ("ubuntu/images/hvm-ssd-gp3/ubuntu-26.04-arm64-server-20260901", "arm64", CANONICAL),
    "ami-0a1b2c3d4e5f60005": ("Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 22.04) 20260901", "x86_64", AMAZON),
    "ami-0a1b2c3d4e5f60006": ("Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 24.04) 20260901", "x86_64", AMAZON),
    "ami-0a1b2c3d4e5f60007": ("Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 26.04) 20260901", "x86_64", AMAZON),
    "ami-0a1b2c3d4e5f60008": ("Deep Learning Base AMI with Single CUDA (Ubuntu 24.04) 20260901", "x86_64", AMAZON),
}
"""Id: name, architecture, owner. All boot the same root file system; the architecture is only told."""

PARAMETERS = {
    f"{_UBUNTU}/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id": "ami-0a1b2c3d4e5f60001",
    f"{_UBUNTU}/24.04/stable/current/arm64/hvm/ebs-gp3/ami-id": "ami-0a1b2c3d4e5f60002",
    f"{_UBUNTU}/26.04/stable/current/amd64/hvm/ebs-gp3/ami-id": "ami-0a1b2c3d4e5f60003",
    f"{_UBUNTU}/26.04/stable/current/arm64/hvm/ebs-gp3/ami-id": "ami-0a1b2c3d4e5f60004",
    f"{_GPU}/base-oss-nvidia-driver-gpu-ubuntu-22.04/latest/ami-id": "ami-0a1b2c3d4e5f60005",
    f"{_GPU}/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id": "ami-0a1b2c3d4e5f60006",
    f"{_GPU}/base-oss-nvidia-driver-gpu-ubuntu-26.04/latest/ami-id": "ami-0a1b2c3d4e5f60007",
    f"{_GPU}/base-with-single-cuda-ubuntu-24.04/latest/ami-id": "ami-0a1b2c3d4e5f60008",
}
"""Public parameters of the parameter store."""

ROOT_DEVICE = "/dev/sda1"
ROOT_GIB = 8


def images() -> list[dict[str, Any]]:
    """The images as moto reads them from `MOTO_AMIS_PATH`."""
    return [
        {
            "ami_id": key,
            "name": name,
            "description": name,
            "owner_id": owner,
            "public": True,
            "virtualization_type": "hvm",
            "architecture": architecture,
            "state": "available",
            "platform": None,
            "image_type": "machine",
            "hypervisor": "xen",
            "root_device_name": ROOT_DEVICE,
            "root_device_type": "ebs",
            "sriov": "simple",
            "creation_date": "2026-09-01T00:00:00.000Z",
        }
        for key, (name, architecture, owner) in IMAGES.items()
    ]


# Prices

_PER_VCPU = {
    "m5": 0.048,
    "m6i": 0.048,
    "m6a": 0.0432,
    "m7i": 0.0504,
    "m7g": 0.0408,
    "m8i": 0.0529,
    "c6i": 0.0425,
    "r5": 0.063,
}
_SIZES = {"large": 2, "xlarge": 4, "2xlarge": 8, "4xlarge": 16, "8xlarge": 32, "16xlarge": 64}

PRICES = {
    **{f"{family}.{size}": round(rate * n, 4) for family, rate in _PER_VCPU.items() for size, n in _SIZES.items()},
    "t3.micro": 0.0104,
    "t3.small": 0.0208,
    "t3.medium": 0.0416,
    "g4dn.xlarge": 0.526,
    "g4dn.12xlarge": 3.912,
    "g5.xlarge": 1.006,
    "g5.12xlarge": 5.672,
    "g6.xlarge": 0.8048,
    "g6e.xlarge": 1.861,
    "p4d.24xlarge": 21.9576,
    "p4de.24xlarge": 27.4471,
    "p5.4xlarge": 6.88,
    "p5.48xlarge": 55.04,
}
"""USD per hour, on demand, Linux."""

_SPOT = {
    "g4dn.xlarge": (0.213, 0.216),
    "g5.xlarge": (0.433, 0.452),
    "g6.xlarge": (0.347, 0.553),
    "m8i.xlarge": (0.081, 0.095),
    "p4d.24xlarge": (6.53, 13.99),
    "p4de.24xlarge": (14.26, 20.13),
    "p5.4xlarge": (5.40, 6.88),
    "p5.48xlarge": (16.95, 55.04),
}


def spot_price(type: str, zone: str) -> float | None:  # noqa: A002
    """The zone's price of the moment; none where the type is not sold."""
    if type not in PRICES or zone not in zones_of(type):
        return None
    low, high = _SPOT.get(type, (PRICES[type] * 0.34, PRICES[type] * 0.46))
    # Zones differ, and the cheapest is not the same for all types.
    step = (ZONES.index(zone) * 5 + sum(map(ord, type))) % len(ZONES)
    return round(low + (high - low) * step / (len(ZONES) - 1), 4)


# Types

_MOTO = Path(str(__import__("moto").__file__)).parent / "ec2/resources"


@cache
def types() -> dict[str, Any]:
    """Facts of all types, from moto's copy of the real list."""
    with gzip.open(_MOTO / "instance_types.json.gz") as file:
        found: dict[str, Any] = json.load(file)
    return found


@cache
def _offerings() -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    with gzip.open(_MOTO / f"instance_type_offerings/availability-zone/{REGION}.json.gz") as file:
        for offer in json.load(file):
            found.setdefault(offer["InstanceType"], []).append(offer["Location"])
    return {type_: tuple(sorted(zones)) for type_, zones in found.items()}


def zones_of(type: str) -> tuple[str, ...]:  # noqa: A002
    """Where a type is sold; nowhere when there is no such type."""
    return _offerings().get(type, ())


def vcpus(type: str) -> int:  # noqa: A002
    """How many virtual processors count against the quota."""
    return int(types()[type]["VCpuInfo"]["DefaultVCpus"])


def architecture(type: str) -> str:  # noqa: A002
    """`x86_64` or `arm64`."""
    supported: list[str] = types()[type]["ProcessorInfo"]["SupportedArchitectures"]
    return "arm64" if "arm64" in supported else "x86_64"


# Quotas

QUOTAS = {
    ("standard", "on-demand"): ("L-1216C47A", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"),
    ("standard", "spot"): ("L-34B43A08", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests"),
    ("g", "on-demand"): ("L-DB2E81BA", "Running On-Demand G and VT instances"),
    ("g", "spot"): ("L-3819A6DF", "All G and VT Spot Instance Requests"),
    ("p", "on-demand"): ("L-417A185B", "Running On-Demand P instances"),
    ("p", "spot"): ("L-7212CCBC", "All P4, P3 and P2 Spot Instance Requests"),
}


def bucket(type: str) -> str:  # noqa: A002
    """The quota's bucket that a type belongs to."""
    first = type[0]
    return first if first in "gp" else "standard"
