"""The rights that `lofty check` asks about are those that are needed: a whole life under the least policy, and each
right that it took."""

from __future__ import annotations

import time
from typing import Any

import pytest

from lofty.agent.claim import claim
from lofty.drivers.aws import driver as aws
from lofty.drivers.aws import policy
from lofty.drivers.aws.place import Place
from lofty.store.base import Store
from tests.aws.account import Account
from tests.cloudbox.authority import authorize
from tests.conftest import eventually

REFUSED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation")


def test_the_least_policy_is_enough_for_a_whole_life(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "mine", lambda _: "198.51.100.7")
    used: set[str] = set()

    def noting(key: Any, asked: Any, wanted: Any, of: Any) -> None:
        if not key.role:
            used.update(action for action, _, _ in wanted)
        authorize(key, asked, wanted, of)

    monkeypatch.setattr("tests.cloudbox.api.authorize", noting)
    account.cloud.rules.person = policy.client_policy()["Statement"]
    first = len(account.cloud.calls)
    client = account.computer()
    failed = [one.what for _, one in client.check("aws") if not one.ok and "limit" not in one.what]
    assert failed == []
    task = account.lab(client)
    eventually(lambda: [one for one in account.cloud.machines(task.handle.id) if one.state == "running"], 10)
    (there,) = account.cloud.machines(task.handle.id)
    made = claim(task.records, Store(Place.at(task.handle).states), there.id, 1)
    assert made is not None
    made.machine.host_key, made.machine.user = "ssh-ed25519 AAAA", "ubuntu"
    task.records.put_machine(made.machine)
    other = account.computer()
    (found,) = other.tasks()
    assert found.observe().state == "starting"
    assert found._reach().host == there.public
    found.extend("2h")
    assert list(found.logs()) == []
    made.machine.state, made.machine.ended = "stopped", time.time()
    task.records.put_machine(made.machine)
    found.stop()
    found.down(discard=True)
    other.sweep()
    assert account.cloud.leftovers() == []
    assert [call.name for call in account.cloud.calls[first:] if call.outcome in REFUSED] == []
    known = {action for right in policy.RIGHTS for action in right.actions}
    assert used <= known
    print("allowed and not used here:", *sorted(known - used))
    assert len(used) > 40
