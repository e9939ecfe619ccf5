"""An agent that is killed cannot tell; its keeper does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lofty.agent import processes
from lofty.model.spec import Process, TaskSpec
from lofty.model.state import Machine
from lofty.store.base import Store
from lofty.store.records import Records

AGENT = """
import os, subprocess, sys, time
from pathlib import Path
import msgspec
from lofty.agent import keeper
from lofty.agent.order import Order
order = msgspec.json.decode(sys.argv[1], type=Order)
watch = keeper.start(order, Path(sys.argv[2]))
subprocess.Popen(["sleep", "1000"], start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
print(watch.pid, flush=True)
if sys.stdin.readline() == "end\\n":
    watch.dismiss()
else:
    time.sleep(1000)
"""


class Agent:
    """A stand-in for the agent, with a keeper and a child."""

    def __init__(self, tmp_path: Path) -> None:
        self.run = tmp_path / "run"
        self.run.mkdir()
        (self.run / "token").write_text("secret")
        self.tag = (tmp_path / "store").as_uri()
        self.records = Records(Store(self.tag))
        self.records.create_spec(
            TaskSpec(
                id="lofty-keeper", name="x", owner="me", kind="job", created=1.0, on="local", workdir=str(tmp_path),
                processes=(Process(name="job"),),
            )
        )  # fmt: skip
        self.records.put_machine(Machine(id="0001.0", state="running", started=time.time()))
        order = f'{{"store":"{self.records.store.url}","machine":"0001.0","workdir":"","state":"","cache":""}}'
        self.process = subprocess.Popen(
            [sys.executable, "-c", AGENT, order, str(self.run)],
            env={**os.environ, processes.TASK_TAG: self.records.store.url, processes.MACHINE_TAG: "0001.0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.keeper = int(self.process.stdout.readline())

    def machine(self) -> Machine:
        found = self.records.machine("0001.0")
        assert found is not None
        return found

    def gone(self) -> None:
        """Wait until the keeper has done its work."""
        limit = time.monotonic() + 15
        while psutil.pid_exists(self.keeper) and time.monotonic() < limit:
            time.sleep(0.02)
        assert not psutil.pid_exists(self.keeper)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    one = Agent(tmp_path)
    yield one
    processes.kill_tagged(one.records.store.url)
    one.process.communicate()


def test_killed_it_is_reported_and_what_it_ran_is_ended(agent: Agent) -> None:
    assert len(list(processes.tagged(agent.records.store.url))) == 3
    os.kill(agent.process.pid, signal.SIGKILL)
    agent.process.wait()
    agent.gone()
    machine = agent.machine()
    assert machine.state == "lost"
    assert "killed" in machine.reason
    assert machine.ended is not None
    assert list(processes.tagged(agent.records.store.url)) == []
    assert not agent.run.exists(), "it holds the token"


def test_asked_to_end_the_keeper_stays_until_the_agent_has_spoken(agent: Agent) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(agent.keeper, number)
    time.sleep(0.2)
    assert psutil.pid_exists(agent.keeper)
    os.kill(agent.process.pid, signal.SIGKILL)
    agent.process.wait()
    agent.gone()
    assert agent.machine().state == "lost"


def test_dismissed_it_touches_nothing(agent: Agent) -> None:
    agent.process.communicate("end\n", timeout=20)
    agent.gone()
    assert agent.machine().state == "running"
    assert agent.run.exists()
    assert len(list(processes.tagged(agent.records.store.url))) == 1


def test_a_last_word_that_was_written_is_not_overwritten(agent: Agent) -> None:
    agent.records.put_machine(Machine(id="0001.0", state="succeeded", exit_code=0))
    os.kill(agent.process.pid, signal.SIGKILL)
    agent.process.wait()
    agent.gone()
    assert (agent.machine().state, agent.machine().exit_code) == ("succeeded", 0)


def test_an_identifier_that_another_process_got_is_not_the_agent(agent: Agent) -> None:
    birth = psutil.Process(agent.process.pid).create_time()
    assert processes.alive(agent.process.pid, birth)
    assert not processes.alive(agent.process.pid, birth - 100)
    assert not processes.alive(None, None)
    assert len(list(processes.tagged(agent.records.store.url))) == 3
    processes.kill_tagged(agent.records.store.url)
    agent.process.wait()
    assert not processes.alive(agent.process.pid, birth)
