"""What a workspace at rest costs in requests, in an hour on a machine with a terminal attached to it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from lofty.store.files import live
from tests.aws.bill import MOST, bill, told
from tests.cloudbox.cloud import Cloudbox
from tests.conftest import Lofty, eventually

HOUR = 3600.0


@pytest.mark.campaign
@pytest.mark.cloudbox
@pytest.mark.timeout(HOUR + 1200)
@pytest.mark.skipif(os.environ.get("LOFTY_CAMPAIGN") != "1", reason="waits for an hour: make nightly")
def test_an_hour_at_rest_on_a_machine(cloud: Cloudbox, person: Lofty, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "data.txt").write_text("1\n")
    person.environ["BROWSER"] = "true"
    with person.popen("lab", folder, "--idle", "0", "--timeout", "3h") as terminal:
        try:
            eventually(lambda: "running" in [one["state"] for one in person.ok("ls", "--json").json()], 200)
            time.sleep(live.ACTIVE + 60.0)  # until nothing counts as work any more
            first, began = len(cloud.calls), time.monotonic()
            time.sleep(HOUR)
            calls, seconds = cloud.calls[first:], time.monotonic() - began
        finally:
            terminal.send_signal(signal.SIGINT)
            terminal.communicate(timeout=60)
    own = {call.key for call in calls if call.name == "s3:PutObject" and str(call.params["Key"]).endswith("/lease")}
    machine, attached = told(calls, own, seconds)
    assert machine["s3:GetObject deadline.json"] > 1000
    assert attached["s3:GetObject task.json"] > 1000
    assert bill(machine) + bill(attached) <= MOST
    person.ok("down", "work", "-y", timeout=120)
