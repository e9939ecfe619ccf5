"""A workspace of AWS that is reached through a third party alone: no way in, and nobody sees the token for it."""

from __future__ import annotations

import pytest

from lofty.api import Step
from lofty.errors import Unsupported
from lofty.model.state import Machine
from lofty.task import Task
from tests.aws.account import Account
from tests.aws.test_security import _door, _rules, texts

TOKEN = "ngrok-token-of-a-person"


@pytest.fixture
def steps() -> list[Step]:
    return []


@pytest.fixture
def task(account: Account, steps: list[Step]) -> Task:
    return account.lab(account.computer(NGROK_AUTHTOKEN=TOKEN), tunnel="ngrok", progress=steps.append)


def test_nothing_comes_in_whoever_asks(account: Account, task: Task, steps: list[Step]) -> None:
    assert any("ngrok, a third party, sees all" in step.note for step in steps)
    assert _rules(_door(account, task)) == set()
    (machine,) = account.cloud.machines(task.handle.id)
    word = Machine(id="0001.0", state="running", holder=machine.id, host_key="ssh-ed25519 AAAA", user="ubuntu")
    task.records.put_machine(word)
    with pytest.raises(Unsupported, match="reached through ngrok alone") as caught:
        task.ssh(["true"])
    assert caught.value.hint == "lofty url one, and open a terminal there"
    with pytest.raises(Unsupported):
        account.computer().driver("aws").reach(task.handle, 8888)
    assert task.addresses is None, "not yet"
    task.records.put_machine(Machine(id="0001.0", state="running", holder=machine.id, public="https://a.example"))
    assert account.computer().get("one").url == f"https://a.example/one/lab?token={task.token}"
    assert _rules(_door(account, task)) == set()


def test_the_token_is_with_the_secrets_and_nowhere_else(account: Account, task: Task) -> None:
    assert task.records.secret("tunnel") == TOKEN
    for place, text in texts(account, task):
        assert TOKEN not in text, f"it is in {place}"
