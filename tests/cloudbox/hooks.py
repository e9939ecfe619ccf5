"""Lifecycle hooks: the time that a group gives a machine between being told to go and going."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.cloudbox.protocol import Refused
from tests.cloudbox.scaling import Group, Params, Scaling, invalid

_TERMINATING = "autoscaling:EC2_INSTANCE_TERMINATING"


class Hooks:
    """The operations. A launch that waits is not known here."""

    def __init__(self, scaling: Scaling, find: Callable[[str], Group]) -> None:
        self._scaling, self._find = scaling, find
        self.operations: dict[str, Callable[[Params], Params]] = {
            "PutLifecycleHook": self.put,
            "DeleteLifecycleHook": self.delete,
            "DescribeLifecycleHooks": self.describe,
            "CompleteLifecycleAction": self.complete,
            "RecordLifecycleActionHeartbeat": self.heartbeat,
        }

    def put(self, params: Params) -> Params:
        group, name = self._find(params["AutoScalingGroupName"]), params["LifecycleHookName"]
        known = group.hooks.get(name, {})
        transition = params.get("LifecycleTransition") or known.get("LifecycleTransition")
        if transition is None:
            raise invalid("A new lifecycle hook must have a transition")
        if transition != _TERMINATING:
            raise Refused("NotImplemented", "cloudbox holds machines that end, not machines that start", 501)
        timeout = int(params.get("HeartbeatTimeout") or known.get("HeartbeatTimeout") or 3600)
        if not 30 <= timeout <= 7200:
            raise invalid("HeartbeatTimeout must be between 30 and 7200 seconds")
        group.hooks[name] = {
            "AutoScalingGroupName": group.name,
            "LifecycleHookName": name,
            "LifecycleTransition": transition,
            "HeartbeatTimeout": timeout,
            "GlobalTimeout": min(timeout * 100, 172800),
            "DefaultResult": params.get("DefaultResult") or known.get("DefaultResult") or "ABANDON",
        }
        return {}

    def delete(self, params: Params) -> Params:
        group = self._find(params["AutoScalingGroupName"])
        if group.hooks.pop(params["LifecycleHookName"], None) is None:
            raise invalid(f"No Lifecycle Hook found with name {params['LifecycleHookName']}")
        self._scaling.release(group)
        return {}

    def describe(self, params: Params) -> Params:
        group = self._find(params["AutoScalingGroupName"])
        names = params.get("LifecycleHookNames") or list(group.hooks)
        return {"LifecycleHooks": [group.hooks[name] for name in names if name in group.hooks]}

    def complete(self, params: Params) -> Params:
        group = self._find(params["AutoScalingGroupName"])
        self._held(group, params)
        self._scaling.release(group, params["InstanceId"])
        return {}

    def heartbeat(self, params: Params) -> Params:
        group = self._find(params["AutoScalingGroupName"])
        self._held(group, params)
        timeout = group.hooks[params["LifecycleHookName"]]["HeartbeatTimeout"]
        self._scaling.compute.lives[params["InstanceId"]].held = time.monotonic() + timeout
        return {}

    def _held(self, group: Group, params: Params) -> None:
        life = self._scaling.compute.lives.get(params.get("InstanceId", ""))
        there = life is not None and life.group == group.name and life.held is not None
        if params["LifecycleHookName"] not in group.hooks or not there:
            raise invalid(f"No active Lifecycle Action found with instance ID {params.get('InstanceId')}")
