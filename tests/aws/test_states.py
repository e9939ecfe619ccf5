"""What a task's state is while its machines come and go, by the group and by what the machines said last."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lofty.task import Task
from tests.aws.account import Account, agent_says
from tests.conftest import eventually


@pytest.fixture
def job(account: Account) -> Task:
    """A job whose machine is asked for."""
    (account.work / "job.py").write_text("print(1)\n")
    return account.computer().run(Path(account.work / "job.py"), on="aws", name="job", timeout=3600.0, spot=True)


def test_an_interrupted_job_is_not_done_whatever_code_its_process_had(job: Task) -> None:
    agent_says(job, "0001.0", state="interrupted", reason="AWS takes the machine away", exit_code=143, holder="i-gone")
    seen = job.observe()
    assert (seen.state, seen.machines[0].state) == ("starting", "interrupted"), "another machine is on its way"
    agent_says(job, "0002.0", state="succeeded", exit_code=0, holder="i-other")
    assert job.observe().state == "succeeded"


def test_what_went_down_because_a_person_wanted_that_is_stopped(job: Task) -> None:
    agent_says(job, "0001.0", state="interrupted", reason="the machine was shut down", exit_code=143, holder="i-gone")
    job._scale(0, None)
    seen = job.observe()
    assert (seen.state, seen.reason, seen.machines[0].exit_code) == ("stopped", "", 143)


def test_a_machine_that_is_kept_is_there_until_it_is_gone(account: Account, job: Task) -> None:
    eventually(lambda: [one for one in account.cloud.machines(job.handle.id) if one.state == "running"], 5)
    (machine,) = account.cloud.machines(job.handle.id)
    agent_says(job, "0001.0", state="failed", exit_code=None, kept=True, ended=time.time() - 100, holder=machine.id)
    seen = job.observe()
    assert (seen.state, seen.machines[0].kept) == ("failed", True), "also where lofty itself failed"
    account.cloud.machine(machine.id).cut()
    eventually(lambda: not job.observe().machines[0].kept, 10)
