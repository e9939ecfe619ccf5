"""How a task stands: what its machines say, corrected by what its group has. The same whether one task is looked at or
a thousand are listed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...model.spec import TaskSpec
from ...model.state import ALIVE, Event, Machine, Observation, combined, extra_cost, machine_seconds

SILENCE = 300.0
"""Seconds without a word after which a machine that the group still counts is taken for lost."""


def observation(
    spec: TaskSpec | None,
    machines: Sequence[Machine],
    group: Mapping[str, Any] | None,
    now: float,
    *,
    events: tuple[Event, ...] = (),
    deadline: float | None = None,
) -> Observation:
    """`machines`: the newest of every rank, with its last sign of life; `group`: as AWS describes it, None where there
    is none; `deadline`: where it is known otherwise than by the machines."""
    if spec is None:
        return Observation(state="lost" if group else "gone")
    there = instances(group)
    wanted = size(group)
    newest = tuple(_truth(machine, there, wanted, now) for machine in machines)
    state = combined(newest)
    if wanted and state not in ALIVE:
        over = spec.kind == "job" and newest and all(_has_ended(machine) for machine in newest)
        state = state if over else "starting"
    elif not wanted and not there and state in ALIVE:
        state = "lost"
    if deadline is None:
        deadline = next((machine.deadline for machine in newest if machine.deadline), None)
    return Observation(
        state=state,
        machines=newest,
        events=events,
        machine_seconds=machine_seconds(list(newest), now) + sum(machine.seconds_before for machine in newest),
        extra_cost=extra_cost(list(newest), now),
        deadline=deadline,
    )


def instances(group: Mapping[str, Any] | None) -> dict[str, Mapping[str, Any]]:
    """What the group has, by their ids."""
    return {str(one["InstanceId"]): one for one in group["Instances"]} if group else {}


def size(group: Mapping[str, Any] | None) -> int:
    """How many the group is to have."""
    return int(group["DesiredCapacity"]) if group else 0


def _has_ended(machine: Machine) -> bool:
    """For good: an interrupted one has an exit code too, and its work is done again by another."""
    return machine.state != "interrupted" and (machine.exit_code is not None or machine.kept)


def _truth(machine: Machine, there: Mapping[str, Mapping[str, Any]], wanted: int, now: float) -> Machine:
    machine.type = there.get(machine.holder, {}).get("InstanceType", "")
    if machine.state == "interrupted" and not wanted:
        machine.state, machine.reason = "stopped", ""  # it went down because the person wanted that
    machine.kept = machine.kept and machine.holder in there
    if machine.state not in ALIVE:
        return machine
    silent = now - (machine.heartbeat or machine.started or 0.0)
    if machine.holder in there and silent < SILENCE:
        return machine
    if machine.holder in there or silent > SILENCE or not wanted:
        machine.state, machine.reason = "lost", machine.reason or "the cloud took the machine, without a word"
    return machine
