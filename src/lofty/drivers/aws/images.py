"""Which image a machine starts from. Found out once and kept by its id: a name that is resolved at every launch would
give the second machine of a task another system than the first."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from ...errors import CloudError, Forbidden, SpecError, unknown_choice
from .catalogue import Arch
from .session import Clients, Gone, translated


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """An image of the region."""

    id: str
    root_device: str
    """Name of the disk that it starts from: a disk under another name would be a second one."""
    root_gb: int
    """GiB of its snapshot; a smaller disk is refused."""
    user: str
    """Who logs in."""
    arch: Arch


class _Alias(NamedTuple):
    """A name for the newest image of a kind: where AWS keeps its id, and how to look for it otherwise."""

    parameters: tuple[str, ...]
    """Of the parameter store, the best first; `{arch}` is in the publisher's own words."""
    words: Mapping[str, str]
    owner: str
    names: tuple[str, ...]
    user: str


_ARCH_WORDS = {"x86_64": "amd64", "arm64": "arm64"}
CANONICAL, AMAZON = "099720109477", "898082745236"
ALIASES: dict[str, _Alias] = {
    "nvidia": _Alias(
        parameters=tuple(
            f"/aws/service/deeplearning/ami/{{arch}}/base-oss-nvidia-driver-gpu-ubuntu-{version}/latest/ami-id"
            for version in ("26.04", "24.04", "22.04")
        ),
        words={"x86_64": "x86_64", "arm64": "arm64"},
        owner=AMAZON,
        names=("Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu *",),
        user="ubuntu",
    ),
    "ubuntu": _Alias(
        parameters=tuple(
            f"/aws/service/canonical/ubuntu/server/{version}/stable/current/{{arch}}/hvm/ebs-gp3/ami-id"
            for version in ("26.04", "24.04")
        ),
        words=_ARCH_WORDS,
        owner=CANONICAL,
        names=(
            "ubuntu/images/hvm-ssd-gp3/ubuntu-*-26.04-{arch}-server-*",
            "ubuntu/images/hvm-ssd*/ubuntu-*-24.04-{arch}-server-*",
        ),
        user="ubuntu",
    ),
}
_GRAMMAR = re.compile(r"(?P<user>[^@\s]+)@(?P<owner>[^:\s]+):(?P<arch>[^:\s]+):(?P<name>.+)")
_ID = re.compile(r"(?:(?P<user>[^@\s]+)@)?(?P<id>ami-[0-9a-f]{8,17})")
_ARCHS: dict[str, Arch] = {"x86_64": "x86_64", "amd64": "x86_64", "arm64": "arm64", "aarch64": "arm64"}
_USERS = (("ubuntu", "ubuntu"), ("debian", "admin"), ("al2023", "ec2-user"), ("amzn2", "ec2-user"))
"""What is found in an image's name, and who logs in to it."""
HINT = "--image ubuntu, --image nvidia, --image ami-0123456789abcdef0, or --image ubuntu@099720109477:x86_64:NAME*"


def check(word: str) -> None:
    """`SpecError` unless `--image` is written as an image is; whether there is one, `resolve` finds out."""
    word = word.strip()
    if not word or word in ALIASES or _ID.fullmatch(word):
        return
    match = _GRAMMAR.fullmatch(word)
    if not match:
        near = unknown_choice("image", word, list(ALIASES))
        raise SpecError(near if near.endswith("?") else f"'{word}' is no image of AWS", hint=HINT)
    if match["arch"] != "*" and match["arch"].lower() not in _ARCHS:
        raise SpecError(f"'{match['arch']}' in --image {word} is no architecture", hint="write x86_64, arm64 or *")


def resolve(clients: Clients, word: str, *, gpu: bool, arch: str) -> Image:
    """The image that `--image` means for a machine of an architecture: `ubuntu` (also when nothing is said), `nvidia`
    (when nothing is said, with a GPU), an id, or `user@owner:arch:name` of which the newest counts, with `*` for any
    owner or architecture. Raises `SpecError` that names what was searched."""
    word = word.strip() or ("nvidia" if gpu else "ubuntu")
    if word in ALIASES:
        return _alias(clients, word, arch)
    if match := _ID.fullmatch(word):
        return _by_id(clients, match["id"], match["user"] or "", arch)
    check(word)
    match = _GRAMMAR.fullmatch(word)
    assert match is not None
    named = _ARCHS.get(match["arch"].lower())
    if named and named != arch:
        raise SpecError(f"the image {word} is {named}, and the machine {arch}", hint=_other_machine(named))
    wanted: Arch = named or _ARCHS[arch]
    found = _newest(clients, match["owner"], (match["name"],), wanted)
    if found is None:
        raise _none(clients, f"owner {match['owner']}, {wanted}, name {match['name']}")
    return _image(found, match["user"])


def _alias(clients: Clients, word: str, arch: str) -> Image:
    alias = ALIASES[word]
    names = [name.format(arch=alias.words[arch]) for name in alias.parameters]
    image_id = _parameter(clients, names)
    if image_id:
        return _by_id(clients, image_id, alias.user, arch)
    patterns = tuple(name.format(arch=alias.words[arch]) for name in alias.names)
    found = _newest(clients, alias.owner, patterns, _ARCHS[arch])
    if found is None:
        searched = f"{', '.join(names)} in the parameter store, and owner {alias.owner}, {arch}, name "
        raise _none(clients, searched + " or ".join(patterns))
    return _image(found, alias.user)


def _parameter(clients: Clients, names: Sequence[str]) -> str:
    """The first of these public parameters that there is; empty for none, also where they may not be read."""
    try:
        with translated("ask for the current image"):
            answer = clients.ssm.get_parameters(Names=list(names))
    except (Forbidden, CloudError):
        return ""
    values = {entry["Name"]: str(entry["Value"]) for entry in answer["Parameters"]}
    return next((values[name] for name in names if name in values), "")


def _by_id(clients: Clients, image_id: str, user: str, arch: str) -> Image:
    try:
        with translated(f"look at the image {image_id}"):
            images = clients.ec2.describe_images(ImageIds=[image_id])["Images"]
    except Gone:
        images = []
    if not images:
        raise _none(clients, image_id)
    found = _image(images[0], user)
    if found.arch != arch:
        raise SpecError(
            f"the image {image_id} is {found.arch}, and the machine {arch}", hint=_other_machine(found.arch)
        )
    return found


def _newest(clients: Clients, owner: str, names: Sequence[str], arch: Arch) -> dict[str, Any] | None:
    """The newest image whose name fits the first pattern that any fits."""
    for name in names:
        filters = [
            {"Name": "name", "Values": [name]},
            {"Name": "architecture", "Values": [arch]},
            {"Name": "state", "Values": ["available"]},
        ]
        owners = {} if owner == "*" else {"Owners": [owner]}
        with translated("look for an image"):
            images = clients.ec2.describe_images(Filters=filters, **owners)["Images"]
        if images:
            newest: dict[str, Any] = max(images, key=lambda one: str(one.get("CreationDate", "")))
            return newest
    return None


def _image(told: Mapping[str, Any], user: str) -> Image:
    device = str(told.get("RootDeviceName") or "/dev/sda1")
    disks = {disk.get("DeviceName"): disk.get("Ebs", {}) for disk in told.get("BlockDeviceMappings", [])}
    name = f"{told.get('Name', '')} {told.get('Description', '')}".lower()
    return Image(
        id=told["ImageId"],
        root_device=device,
        root_gb=int(disks.get(device, {}).get("VolumeSize", 0)) or 8,
        user=user or next((login for part, login in _USERS if part in name), "ec2-user"),
        arch=_ARCHS.get(told.get("Architecture", ""), "x86_64"),
    )


def _other_machine(arch: str) -> str:
    return "--machine m7g.2xlarge, or another of AWS's arm64 types" if arch == "arm64" else "--machine m"


def _none(clients: Clients, searched: str) -> SpecError:
    return SpecError(f"there is no such image in {clients.region}: searched {searched}", hint=HINT)
