"""`lofty_workspace` on a machine of a cloud: what terraform leaves running on this computer, and what goes with it."""

from __future__ import annotations

import urllib.request

import psutil
import pytest

from tests.aws.conftest import _machines, cloud, left  # noqa: F401 (fixtures)
from tests.cloudbox.cloud import Cloudbox
from tests.cloudbox.conftest import machines_here  # noqa: F401 (the fixture)
from tests.conftest import Lofty
from tests.e2e.support import Workspace

from .test_task import Tasks, lofty_names, terraform  # noqa: F401 (the fixture)
from .test_task_aws import aws  # noqa: F401 (the fixture)

pytestmark = [pytest.mark.cloudbox, pytest.mark.timeout(500)]

WORKSPACE = """
terraform {
  required_providers { lofty = { source = "lofty/lofty" } }
}
data "lofty_offers" "there" {
  on      = "aws"
  machine = "m"
  spot    = true
}
resource "lofty_workspace" "lab" {
  path    = "work"
  on      = "aws"
  machine = "m"
  spot    = true
}
output "offer" {
  value = data.lofty_offers.there.offers[0]
}
output "url" {
  value     = lofty_workspace.lab.url
  sensitive = true
}
"""


def running(lofty: Lofty, *words: str) -> list[psutil.Process]:
    """What of this home runs with these words in its command line."""
    return [one for one in lofty.processes() if set(words) <= {*one.cmdline()}]


def test_a_workspace_from_apply_to_destroy(aws: Tasks, cloud: Cloudbox, lofty: Lofty) -> None:  # noqa: F811
    (aws.directory / "main.tf").write_text(WORKSPACE)
    aws.ok("init", "-upgrade")
    work = aws.directory / "work"
    work.mkdir()
    (work / "book.txt").write_text("sent\n")
    told = aws.ok("apply", "-auto-approve", "-no-color", timeout=200)
    assert "token=" not in told.out + told.err
    state = aws.state()["lofty_workspace.lab"]
    assert (state["state"], state["url"]) == ("running", aws.outputs()["url"])
    assert 0 < aws.outputs()["offer"]["price_per_hour"] == state["price_per_hour"] < 1
    (machine,) = cloud.machines()
    assert machine.market == "spot"

    # The provider is gone, and the way to the machine is not.
    assert running(lofty, "tf", "serve") == []
    (relay,) = running(lofty, "lofty.reach.relay")
    with urllib.request.urlopen(state["url"]) as answer:
        assert answer.status == 200
        assert b"<title>JupyterLab</title>" in answer.read()
    workspace = Workspace({**state, "name": "work"})
    assert workspace.ask("GET", "api/contents/book.txt").json()["content"] == "sent\n"
    made = {"type": "file", "format": "text", "content": "made there\n"}
    assert workspace.ask("PUT", "api/contents/made.txt", body=made).status == 201
    assert aws.changes()["lofty_workspace.lab"]["actions"] == ["no-op"]
    assert running(lofty, "lofty.reach.relay") == [relay]

    # It is opened again where it has gone, at the same address.
    relay.kill()
    aws.ok("refresh")
    assert aws.state()["lofty_workspace.lab"]["url"] == state["url"]
    assert workspace.answers()

    aws.ok("destroy", "-auto-approve", timeout=200)
    assert left(cloud) == []
    assert lofty.processes() == []
    assert not list((lofty.home / "forward").iterdir())
    assert lofty_names(lofty) == []
    assert (work / "book.txt").read_text() == "sent\n"
    assert (work / "made.txt").read_text() == "made there\n"
