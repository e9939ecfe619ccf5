"""The arguments and results of `iterative_task`, under the predecessor's names, types and defaults."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ...drivers import registry
from ...jupyter import job
from ..diagnostics import Diagnostic
from ..schema import NUMBER, STRING, Attribute, Block, List, Map, Schema
from . import environment, identity, words

MOST = 65535
LONGEST = 10 * 366 * 86400


def _cloud(word: str) -> Iterable[Diagnostic]:
    words.driver(word, registry.names())
    return ()


def _name(text: str) -> Iterable[Diagnostic]:
    if text:
        identity.named(text)
    return ()


def _script(text: str) -> Iterable[Diagnostic]:
    job.script(text)
    return ()


def _machine(word: str) -> Iterable[Diagnostic]:
    words.machine(word)
    return ()


def _permission_set(word: str) -> Iterable[Diagnostic]:
    words.permission_set(word)
    return ()


def _disk_size(number: Any) -> Iterable[Diagnostic]:
    words.whole(number, "disk_size", -MOST, MOST)
    return ()


def _spot(number: Any) -> Iterable[Diagnostic]:
    words.price(number)
    return ()


def _parallelism(number: Any) -> Iterable[Diagnostic]:
    words.whole(number, "parallelism", 1, MOST)
    return ()


def _timeout(number: Any) -> Iterable[Diagnostic]:
    words.whole(number, "timeout", 1, LONGEST)
    return ()


STORAGE = Block(
    name="storage",
    nesting="set",
    max_items=1,
    description="The directory that goes along with the script.",
    attributes=(
        Attribute(
            name="workdir",
            type=STRING,
            default="",
            replace=True,
            description="Directory of this computer that is copied to the machine, where the script works in it; blank "
            "for an empty one.",
        ),
        Attribute(
            name="output",
            type=STRING,
            default="",
            description="What of workdir comes back, at every refresh and at destroy: a path relative to it, `.` for "
            "everything, blank for nothing.",
        ),
        Attribute(
            name="exclude",
            type=List(STRING),
            optional=True,
            description="What does not go along: names from the root of workdir, or rclone's rules beginning with `+ ` "
            "or `- `.",
        ),
        Attribute(
            name="container",
            type=STRING,
            default="",
            replace=True,
            description="A bucket of your own for the files, `BUCKET` or `BUCKET/DIRECTORY`. "
            "They stay there when the task is destroyed.",
        ),
        Attribute(
            name="container_opts",
            type=Map(STRING),
            optional=True,
            replace=True,
            description="Of the container: its `region`, where that is another one than the task's.",
        ),
    ),
)

ARGUMENTS = (
    Attribute(
        name="cloud",
        type=STRING,
        required=True,
        replace=True,
        validate=_cloud,
        description="`aws`, or `local` for this computer; `az`, `gcp` and `k8s` as soon as lofty has drivers for them.",
    ),
    Attribute(
        name="script",
        type=STRING,
        required=True,
        replace=True,
        validate=_script,
        description="What runs; its first line says with what, such as `#!/bin/bash`. As root on a machine of a cloud.",
    ),
    Attribute(
        name="name",
        type=STRING,
        optional=True,
        replace=True,
        validate=_name,
        description="From which the identifier is made; or an identifier, whose task is taken over. Otherwise the "
        "identifier is random, and in a CI run made from the run's.",
    ),
    Attribute(
        name="region",
        type=STRING,
        default="us-west",
        replace=True,
        description="`us-east`, `us-west`, `eu-north`, `eu-west`, or a region by the cloud's own name.",
    ),
    Attribute(
        name="machine",
        type=STRING,
        default="m",
        replace=True,
        validate=_machine,
        description="`s`, `m`, `l`, `xl`, one with a GPU such as `m+t4`, or a type by the cloud's own name.",
    ),
    Attribute(
        name="permission_set",
        type=STRING,
        default="",
        replace=True,
        validate=_permission_set,
        description="What the machine may do in the account, in the cloud's own form.",
    ),
    Attribute(
        name="disk_size",
        type=NUMBER,
        default=-1,
        replace=True,
        validate=_disk_size,
        description="GB of the disk; 0 or less for what the image needs, and at least 40.",
    ),
    Attribute(
        name="spot",
        type=NUMBER,
        default=-1,
        replace=True,
        validate=_spot,
        description="Below 0: on demand. 0: a spot machine at the price of the day. Above: at most so many USD/h.",
    ),
    Attribute(
        name="image",
        type=STRING,
        default="ubuntu",
        replace=True,
        description="`ubuntu`, `nvidia`, or an image in the cloud's own form.",
    ),
    Attribute(
        name="parallelism",
        type=NUMBER,
        default=1,
        replace=True,
        validate=_parallelism,
        description="How many machines run the script; LOFTY_RANK and LOFTY_SIZE tell them apart.",
    ),
    Attribute(
        name="timeout",
        type=NUMBER,
        default=86400,
        replace=True,
        validate=_timeout,
        description="Seconds after which the machines are ended whatever happens, from the moment the task is made.",
    ),
    Attribute(
        name="environment",
        type=Map(STRING),
        optional=True,
        replace=True,
        validate=environment.problems,
        description='Variables of the script. A blank value takes that of this computer, and `"NAME_*" = ""` takes all '
        "that fit. CI, CI_*, GITHUB_*, BITBUCKET_*, CML_* and REPO_TOKEN go along by themselves.",
    ),
    Attribute(
        name="tags",
        type=Map(STRING),
        optional=True,
        replace=True,
        validate=words.tag_problems,
        description="Labels for what the cloud makes.",
    ),
)

RESULTS = (
    Attribute(name="id", type=STRING, computed=True, description="`tpi-NAME-SALT-CHECK`; `lofty ls` shows NAME-CHECK."),
    Attribute(
        name="ssh_public_key", type=STRING, computed=True, sensitive=True, description="Of the key made for this task."
    ),
    Attribute(
        name="ssh_private_key", type=STRING, computed=True, sensitive=True, description="Opens its machines, no others."
    ),
    Attribute(
        name="addresses", type=List(STRING), computed=True, description="Public addresses of the machines that run."
    ),
    Attribute(
        name="status",
        type=Map(NUMBER),
        computed=True,
        description="How many machines are `running`, and how many have `succeeded` and `failed`.",
    ),
    Attribute(name="events", type=List(STRING), computed=True, description="What happened to the task, in UTC."),
    Attribute(
        name="logs",
        type=List(STRING),
        computed=True,
        description="What the script has printed, a text for each machine, every line with its time in UTC.",
    ),
)

SCHEMA = Schema(
    attributes=(*ARGUMENTS, *RESULTS),
    blocks=(STORAGE,),
    description="A script on a machine of any cloud that ends by itself.",
)
