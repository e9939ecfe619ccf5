"""The cloud says that it takes the machine away: the agent ends in good order, and says why."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from lofty.agent.main import Agent, End
from lofty.agent.order import Order
from lofty.drivers.registry import load_machine
from lofty.model.spec import Process, TaskSpec
from lofty.model.state import Machine
from lofty.store.base import Store
from lofty.store.records import Records


class Doomed:
    """A machine that the cloud wants back."""

    def identity(self) -> str:
        return ""

    def notice(self) -> str | None:
        return "the spot machine is taken back"

    def end(self) -> None:
        raise AssertionError("the cloud does that itself")


def test_a_notice_begins_the_end_and_is_remembered(tmp_path: Path) -> None:
    spec = TaskSpec(
        id="lofty-x-0", name="x", owner="me", kind="workspace", created=1.0, on="local", workdir=str(tmp_path),
        processes=(Process(name="jupyter"),),
    )  # fmt: skip
    records = Records(Store((tmp_path / "store").as_uri()))
    records.create_spec(spec)
    order = Order(store=records.store.url, machine="0001.0", workdir="", state="", cache="")

    async def live() -> End:
        machine = Machine(id="0001.0", started=time.time())
        agent = Agent(order, records, spec, machine, tmp_path, Doomed())
        await asyncio.wait_for(agent._watch_notice(), 5)
        return await agent._end

    assert asyncio.run(live()) == End("stopped", "the spot machine is taken back", goes_on=True)
    assert [event.code for event in records.events()] == ["interrupted"]


def test_this_computer_is_taken_back_by_nobody() -> None:
    assert load_machine("local").notice() is None
