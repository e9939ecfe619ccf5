"""Ctrl-C, and worse, while the real terraform applies: what exists stays in the state, and nothing hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from ..conftest import eventually
from .conftest import Terraform


def end(process: subprocess.Popen[str], seconds: float = 60) -> str:
    """What it printed; fails when it hangs."""
    try:
        out, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        pytest.fail(f"terraform hung for {seconds} s")
    return out


def kept(terraform: Terraform) -> None:
    """What was made is in the state, and what was not made is not; and terraform can go on."""
    made = {path.stem for path in terraform.things.glob("*.json")}
    state = terraform.state()
    assert {one["id"] for one in state.values()} == made
    for one in state.values():
        assert one["tainted"] == (one["status"] is None)


def providers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children()


WHOLE = os.environ.get("LOFTY_CAMPAIGN") == "1"
MOMENTS = [
    pytest.param(after, everybody, id=f"{after}-{'group' if everybody else 'terraform'}")
    for number, after in enumerate((0.05, 0.3, 0.6, 0.9, 1.2, 1.5, 1.8, 2.1, 2.5, 3.0))
    for everybody in (True, False)
    if WHOLE or everybody == (number % 2 == 0)
]
"""Over the whole of an apply, starts of the provider included. In `make test` each is either for the group, as in a
terminal, or for terraform alone, in turn."""


@pytest.mark.campaign
@pytest.mark.parametrize(("after", "everybody"), MOMENTS)
def test_ctrl_c_at_any_moment(terraform: Terraform, after: float, everybody: bool) -> None:
    terraform.write(terraform.thing("a", 'mode = "slow 1"'), terraform.thing("b", 'mode = "slow 1"'))
    process = terraform.popen("apply", "-auto-approve", "-no-color")
    time.sleep(after)
    if process.poll() is None:
        (os.killpg if everybody else os.kill)(process.pid, signal.SIGINT)
    said = end(process)
    assert "did not respond" not in said, said
    assert "Traceback" not in said, said
    kept(terraform)
    terraform.write(terraform.thing("a"), terraform.thing("b"))
    terraform.apply()
    assert [one["tainted"] for one in terraform.state().values()] == [False, False]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("everybody", [True, False], ids=["group", "terraform"])
def test_stopped_while_it_makes(terraform: Terraform, everybody: bool, number: signal.Signals) -> None:
    terraform.write(terraform.thing("a", 'mode = "slow 60"'), terraform.thing("b"))
    process = terraform.popen("apply", "-auto-approve", "-no-color")
    eventually(lambda: list(terraform.things.glob("*.begun")), 40)
    began = time.monotonic()
    (os.killpg if everybody else os.kill)(process.pid, number)
    said = end(process)
    assert time.monotonic() - began < 20
    assert process.returncode == 1
    assert "Error: It was stopped" in said
    kept(terraform)
    assert terraform.state()["test_thing.a"]["tainted"]


def test_twice(terraform: Terraform) -> None:
    """A call that does not stop: the second Ctrl-C ends terraform at once, and the provider with it."""
    terraform.write(terraform.thing("a", 'mode = "slow 60 deaf"'))
    process = terraform.popen("apply", "-auto-approve", "-no-color")
    eventually(lambda: list(terraform.things.glob("*.begun")), 40)
    mine = providers(process)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(1)
    os.killpg(process.pid, signal.SIGINT)
    said = end(process)
    assert process.returncode != 0
    assert "Traceback" not in said
    _, alive = psutil.wait_procs(mine, 20)
    assert not alive
    _sweep(terraform)


def test_the_provider_is_killed(terraform: Terraform) -> None:
    terraform.write(terraform.thing("a", 'mode = "slow 60"'))
    process = terraform.popen("apply", "-auto-approve", "-no-color")
    eventually(lambda: list(terraform.things.glob("*.begun")), 40)
    for one in providers(process):
        one.kill()
    said = end(process)
    assert process.returncode == 1
    # Terraform's own words for it: whether the call broke off first, or it had seen the end of the process.
    assert "did not respond" in said or "request was cancelled" in said, said
    _sweep(terraform)


def test_terraform_is_killed(terraform: Terraform) -> None:
    """The call hears that it should stop, and the provider goes when it is over."""
    terraform.write(terraform.thing("a", 'mode = "slow 60"'))
    process = terraform.popen("apply", "-auto-approve", "-no-color")
    eventually(lambda: list(terraform.things.glob("*.begun")), 40)
    mine = providers(process)
    process.kill()
    process.communicate(timeout=20)
    _, alive = psutil.wait_procs(mine, 20)
    assert not alive
    assert list(terraform.things.glob("*.stopped"))


def _sweep(terraform: Terraform) -> None:
    """What a killed provider leaves, a folder with a socket, a later one takes away; else the test fails."""
    for folder in Path(terraform.environ["TMPDIR"]).glob("lofty-tf-*"):
        os.utime(folder, (0, 0))
    terraform.ok("providers", "schema", "-json")
