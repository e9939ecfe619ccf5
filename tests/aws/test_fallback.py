"""Where there is no spot machine: on demand, for who asked for that, as long as that lasts."""

from __future__ import annotations

import time

import pytest

from lofty.task import Task
from tests.aws.account import Account
from tests.cloudbox.rules import Pool
from tests.conftest import eventually


def share(account: Account, task: Task) -> int:
    """How many of a hundred machines are on demand."""
    scaling = account.cloud.client("autoscaling")
    (group,) = scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[task.handle.id])["AutoScalingGroups"]
    spread = group["MixedInstancesPolicy"]["InstancesDistribution"]
    assert spread["SpotAllocationStrategy"] == "price-capacity-optimized"
    return int(spread["OnDemandPercentageAboveBaseCapacity"])


def markets(account: Account, task: Task) -> list[str]:
    return [one.market for one in account.cloud.machines(task.handle.id) if one.state == "running"]


def failed(task: Task) -> bool:
    return any(event.code == "launch-failed" for event in task.observe().events)


@pytest.fixture
def deadline() -> float:
    return time.time() + 3600


def test_a_machine_on_demand_takes_the_place_of_one_that_is_not_to_be_had(account: Account, deadline: float) -> None:
    account.cloud.rules.dry = [Pool(market="spot")]
    task = account.lab(fallback=True)
    assert task.spec.price is not None
    assert task.spec.on_demand is not None
    assert task.spec.on_demand.usd_per_hour > task.spec.price.usd_per_hour
    assert share(account, task) == 0
    eventually(lambda: failed(task), 10)
    task._scale(1, deadline)  # as whoever waits does after a minute
    assert share(account, task) == 100
    eventually(lambda: markets(account, task) == ["on-demand"], 10)
    assert [event.code for event in task.records.events()] == ["on-demand"]
    task._scale(1, deadline)
    assert share(account, task) == 100, "the machine that is there is not asked to go"

    # The next start tries spot again.
    task._scale(0, None)
    eventually(lambda: not markets(account, task), 10)
    account.cloud.rules.dry = []
    task._scale(1, deadline)
    assert share(account, task) == 0
    eventually(lambda: markets(account, task) == ["spot"], 10)
    assert [event.code for event in task.records.events()] == ["on-demand", "spot"]


def test_nobody_pays_more_who_did_not_ask_for_it(account: Account, deadline: float) -> None:
    account.cloud.rules.dry = [Pool(market="spot")]
    task = account.lab()
    eventually(lambda: failed(task), 10)
    task._scale(1, deadline)
    assert share(account, task) == 0
    assert task.spec.on_demand is None


def test_another_trouble_than_capacity_is_no_reason(account: Account, deadline: float) -> None:
    account.cloud.rules.failures = ["Client.InternalError: Client error on launch"] * 50
    task = account.lab(fallback=True)
    eventually(lambda: failed(task), 10)
    task._scale(1, deadline)
    assert share(account, task) == 0
