"""A task of a cloud whose making was interrupted, at calls of the cloud that were carried out and not yet answered."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from tests.aws.conftest import _machines, cloud, left  # noqa: F401 (fixtures)
from tests.cloudbox.api import Call
from tests.cloudbox.cloud import Cloudbox
from tests.cloudbox.conftest import machines_here  # noqa: F401 (the fixture)
from tests.conftest import Lofty

from .test_task import Tasks, lofty_names, terraform  # noqa: F401 (the fixture)
from .test_task_aws import aws  # noqa: F401 (the fixture)
from .test_task_interrupted import stopped_when

WHOLE = os.environ.get("LOFTY_CAMPAIGN") == "1"
pytestmark = [pytest.mark.cloudbox, pytest.mark.timeout(500)]

SCRIPT = "#!/bin/sh\necho begun; sleep 600"
LINES = ('region = "us-east"', "spot = 0")
TEMPLATE, GROUP, START = (
    "ec2:CreateLaunchTemplate$",
    "autoscaling:CreateAutoScalingGroup$",
    "autoscaling:(SetDesiredCapacity|UpdateAutoScalingGroup)$",
)


def interrupted_at(aws: Tasks, cloud: Cloudbox, match: str, number: int) -> tuple[int, str]:  # noqa: F811
    """Apply, with a signal while such a call has no answer; how it ended, and what it said."""
    reached, over = threading.Event(), threading.Event()

    def hold(_: Call) -> None:
        reached.set()
        over.wait(60 if number == signal.SIGKILL else 2)  # for terraform to tell the provider

    cloud.at_call(1, hold, match=match, after=True)
    process = aws.popen("apply", "-auto-approve", "-no-color")
    try:
        out = stopped_when(aws, process, reached.is_set, number)
    finally:
        over.set()
        cloud.calm()
    (aws.directory / ".terraform.tfstate.lock.info").unlink(missing_ok=True)
    return process.returncode, out


def entries(lofty: Lofty) -> list[Path]:
    """Tasks that are being made, as this computer has it."""
    return list((lofty.home / "terraform").glob("*.json"))


@pytest.mark.parametrize("match", [GROUP, START, *[TEMPLATE] * WHOLE])
def test_killed_in_the_middle_and_applied_again(aws: Tasks, cloud: Cloudbox, lofty: Lofty, match: str) -> None:  # noqa: F811
    aws.write(aws.task("one", SCRIPT, *LINES, cloud="aws"))
    interrupted_at(aws, cloud, match, signal.SIGKILL)
    assert (aws.directory / "terraform.tfstate").read_text() == ""
    names = lofty_names(lofty)
    assert (len(names), len(entries(lofty))) == (1, 1)
    aws.apply()
    assert (lofty_names(lofty), entries(lofty)) == (names, [])
    found = aws.until("one", lambda one: one["logs"] and "begun" in one["logs"][0], 200)
    assert found["status"] == {"running": 1}
    assert sum(one.startswith("group ") for one in cloud.leftovers()) == 1
    assert len(cloud.machines()) == 1
    aws.ok("destroy", "-auto-approve", timeout=200)
    assert (left(cloud), lofty_names(lofty)) == ([], [])


@pytest.mark.parametrize("match", [TEMPLATE, *[GROUP] * WHOLE])
def test_ctrl_c_leaves_nothing(aws: Tasks, cloud: Cloudbox, lofty: Lofty, match: str) -> None:  # noqa: F811
    aws.write(aws.task("one", SCRIPT, *LINES, cloud="aws"))
    code, out = interrupted_at(aws, cloud, match, signal.SIGINT)
    assert (code, "Interrupted by Ctrl-C" in out) == (1, True)
    assert (aws.state(), left(cloud), lofty_names(lofty), entries(lofty)) == ({}, [], [], [])


def test_ctrl_c_once_the_machine_is_asked_for_is_too_late_and_the_state_has_the_task(
    aws: Tasks,  # noqa: F811
    cloud: Cloudbox,  # noqa: F811
    lofty: Lofty,
) -> None:
    aws.write(aws.task("one", SCRIPT, *LINES, cloud="aws"))
    code, out = interrupted_at(aws, cloud, START, signal.SIGINT)
    assert (code, "Creation complete" in out) == (1, True)
    assert [one["tainted"] for one in aws.state().values()] == [False]
    assert (len(lofty_names(lofty)), entries(lofty)) == (1, [])
    aws.ok("destroy", "-auto-approve", timeout=200)
    assert (left(cloud), lofty_names(lofty)) == ([], [])
