"""Tasks are found from anywhere: in every region that was used, a thousand in as many calls as there are pages, and
what no record leads to by its marks."""

from __future__ import annotations

import copy
import json
import time
from collections import Counter
from typing import Any

import msgspec
import pytest

from lofty.agent.claim import claim
from lofty.cli import ls
from lofty.drivers.aws import seen
from lofty.drivers.aws.place import Place
from lofty.drivers.aws.tags import as_list, with_record
from lofty.errors import CloudError, Conflict, Forbidden, LoftyError
from lofty.model import ids
from lofty.model.spec import TaskSpec
from lofty.model.state import Machine
from lofty.store.base import Store
from lofty.store.states import Shown
from lofty.task import Task
from tests.aws.account import Account
from tests.conftest import eventually

MANY = 1000


def test_a_thousand_tasks_are_listed_by_the_page(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = account.lab()
    word, spec = _works(account, task), task.records.spec()
    assert spec is not None
    _here(account, monkeypatch)
    few, (one,), _ = _listed(account, capsys)
    assert (one["name"], one["state"], one["machines"][0]["id"]) == ("one", "running", "0001.0")
    for part in (account.cloud.compute, account.cloud.groups.scaling):
        monkeypatch.setattr(part, "tick", lambda: None)  # the copies are nothing that this cloud could live with
    with account.cloud.account.lock:
        _many(account, spec, word)
    many, found, spent = _listed(account, capsys)
    assert len(found) == MANY
    assert {one["name"] for one in found} >= {"one", "task-7", f"task-{MANY - 1}"}
    assert Counter(one["state"] for one in found) == {"running": 500, "stopped": 250, "lost": 250}
    same = {"on": "aws", "region": "us-east-1", "kind": "workspace", "url": None}
    for listed in found:
        assert {name: listed[name] for name in same} == same
        assert listed["machine"] == (one["machine"] if listed["state"] == "running" else None)
        assert listed["cost"] == pytest.approx(listed["price_per_hour"] * 100 / 3600, rel=0.9)
        assert (listed["time_left"] is not None) == (listed["state"] == "running")
        assert [machine["state"] for machine in listed["machines"]] == [listed["state"]]
    print(f"{MANY} tasks: {spent:.2f} s of CPU, {len(many)} requests; one task: {len(few)} requests")
    pages = MANY // 50 + 2 * MANY // 1000 + MANY // 1000  # of groups, of states, of tasks
    assert len(many) < len(few) + pages
    assert not [call for call in many if call == "s3:GetObject"]
    assert spent < 2.0
    account.cloud.reset()


def _here(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line, in this process, on a computer that knows nothing yet."""
    account.computer()
    for name, value in account.environ.items():
        monkeypatch.setenv(name, value)


def _listed(account: Account, capsys: pytest.CaptureFixture[str]) -> tuple[list[str], list[dict[str, Any]], float]:
    """What `lofty ls --json` asks and says, and its processor time."""
    assert ls.command.callback is not None
    capsys.readouterr()
    spent: list[float] = []

    def run() -> None:
        before = time.thread_time()
        assert ls.command.callback is not None
        assert ls.command.callback(as_json=True) == 0
        spent.append(time.thread_time() - before)

    calls = _calls(account, run)
    return calls, json.loads(capsys.readouterr().out), spent[0]


def _works(account: Account, task: Task, *, ago: float = 0.0) -> Machine:
    """Its machine has begun, and says so, as its agent does."""
    eventually(lambda: [one for one in account.cloud.machines(task.handle.id) if one.state == "running"], 10)
    (machine,) = account.cloud.machines(task.handle.id)
    made = claim(task.records, Store(Place.at(task.handle).states), machine.id, 1)
    assert made is not None
    word = made.machine
    word.state, word.started = "running", time.time() - 100.0 - ago
    word.deadline, word.idle_at = time.time() + 3000.0, time.time() + 1800.0
    task.records.put_machine(word)
    made.show(word)
    return word


def _calls(account: Account, do: object) -> list[str]:
    assert callable(do)
    with account.noting() as calls:
        do()
    return [call.name for call in calls]


def _many(account: Account, spec: TaskSpec, word: Machine) -> None:
    """Copies of a task, made where the cloud keeps them: every second one runs, the others have stopped, or were heard
    of for the last time long ago."""
    cloud = account.cloud
    groups = cloud.groups.scaling.groups
    (bucket,) = cloud.account.s3.buckets.values()
    first = groups[spec.id]
    (life,) = cloud.groups.compute.members(first.name)
    memory = Store("memory://words")
    for number in range(1, MANY):
        name, runs = f"task-{number}", number % 2 == 0
        other = msgspec.structs.replace(spec, name=name, id=ids.identifier(spec.owner, name))
        group = copy.copy(first)
        group.name, group.tags = other.id, as_list(with_record(other))
        group.said = {**first.said, **dict.fromkeys(("DesiredCapacity", "MinSize", "MaxSize"), int(runs))}
        group.actions = {}
        groups[other.id] = group
        lost = number % 4 == 1
        said = msgspec.structs.replace(word, state="running" if runs or lost else "stopped", holder=f"i-{number:017x}")
        said.ended = None if runs or lost else (word.started or 0.0) + 100.0
        if runs:
            member = copy.copy(life)
            member.group, member.instance = other.id, copy.copy(life.instance)
            member.instance.id = said.holder
            cloud.groups.compute.lives[said.holder] = member
        Shown(Store(f"{memory.url}/{other.id}"), 0).show(said)
        _copy(bucket, f"tasks/{spec.id}/task.json", f"tasks/{other.id}/task.json")
        _copy(bucket, f"states/{spec.id}/0/lease", f"states/{other.id}/0/lease")
    lease = f"states/{spec.id}/0/lease"
    for entry in memory.entries():
        _copy(bucket, lease, f"states/{entry.key}")


def _copy(bucket: Any, key: str, to: str) -> None:
    made = copy.copy(bucket.keys[key])
    made.name = to
    bucket.keys[to] = made


@pytest.mark.parametrize("when", ["before", "starting", "running", "silent", "ended"])
def test_a_list_says_what_a_look_says(account: Account, when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    task = account.lab()
    if when != "before":
        word = _works(account, task)
        shown = Shown(Store(Place.at(task.handle).states), 0)
        if when == "silent":
            monkeypatch.setattr(seen, "SILENCE", -1.0)
        elif when != "running":
            word.state = "starting" if when == "starting" else "stopped"
            word.ended = None if when == "starting" else time.time()
            task.records.put_machine(word)
            shown.show(word)
            if when == "ended":
                task._scale(0, None)
                # A machine on its way down has gone in between the list and the look, now and then.
                eventually(lambda: {one.state for one in account.cloud.machines(task.handle.id)} == {"terminated"}, 20)
    (found,) = account.computer().tasks()
    listed, looked = found.record.seen, found.observe()
    assert listed is not None
    expected = {"before": "starting", "silent": "starting", "ended": "stopped"}.get(when, when)
    assert listed.state == looked.state == expected
    assert listed.machine_seconds == pytest.approx(looked.machine_seconds, abs=5)
    for one, other in zip(listed.machines, looked.machines, strict=True):
        same = ("id", "rank", "state", "reason", "exit_code", "started", "ended", "holder", "type", "seconds_before")
        assert [getattr(one, name) for name in same] == [getattr(other, name) for name in same]
        assert one.heartbeat == pytest.approx(other.heartbeat, abs=5)
    if when == "silent":
        assert [one.state for one in listed.machines] == ["lost"]


def test_a_list_shows_a_new_deadline_before_the_machine_knows_of_it(account: Account) -> None:
    task = account.lab()
    _works(account, task)
    task.extend(7 * 3600.0)
    (found,) = account.computer().tasks()
    assert found.record.seen is not None
    assert found.record.seen.deadline == pytest.approx(time.time() + 7 * 3600, abs=60)
    assert found.observe().deadline == pytest.approx(found.record.seen.deadline, abs=1)


def test_machines_whose_record_is_gone_are_no_secret(
    account: Account, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = account.lab()
    task.records.store.clear()
    _here(account, monkeypatch)
    _, (one,), _ = _listed(account, capsys)
    assert (one["id"], one["kind"], one["state"]) == (task.handle.id, "remains", "lost")


def test_states_of_no_task_are_swept(account: Account) -> None:
    task, kept = account.lab(), account.lab(name="kept")
    for one in (task, kept):
        _works(account, one)
    task.down(discard=True)
    assert not [one for one in account.leftovers() if task.handle.id in one]
    late = Store(Place.at(task.handle).states)
    late.put("0/lease", b"{}")  # by a machine that did not know yet
    client = account.computer()
    assert [one.name for one in client.tasks()] == ["kept"]
    removed, _ = client.sweep()
    assert removed == [f"the store {task.handle.store} of no task"]
    assert list(late.entries()) == []
    assert kept.observe().state == "running"


def test_a_region_that_is_named_is_where_it_is_made_and_found(account: Account) -> None:
    far = {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1"}  # where this cloud lets nobody in
    task = account.lab(account.computer(**far), region="us-east-1")
    assert task.handle.region == "us-east-1"
    assert task.handle.store.startswith("s3://lofty-123456789012-us-east-1/")
    other = account.computer(**far)
    (found,) = other.tasks()
    assert found.handle == task.handle
    assert found.spec.need.region == "us-east-1"
    assert found.observe().state == "starting"
    found.down(discard=True)
    other.sweep()
    assert account.cloud.leftovers() == []


def test_a_region_of_the_environment_is_taken(account: Account) -> None:
    far = {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "eu-west-1"}
    task = account.lab(account.computer(**far, LOFTY_REGION="us-east-1"))
    assert task.handle.region == "us-east-1"
    with pytest.raises(Forbidden, match="not subscribed"):
        account.lab(account.computer(**far), name="two")


@pytest.mark.parametrize("last", ["s3:PutObject", "iam:CreateRole", "CreateLaunchTemplate", "CreateAutoScalingGroup"])
def test_what_was_never_finished_is_swept_after_an_hour_and_says_so_before(account: Account, last: str) -> None:
    account.cloud.at_call(1, account.dies, match=last, after=True)
    with pytest.raises(LoftyError):
        account.lab()
    account.cloud.calm()
    client = account.computer()
    if last != "CreateAutoScalingGroup":
        with pytest.raises(LoftyError, match="was never finished") as caught:
            account.lab(client)
        assert caught.value.hint == "lofty down one --discard"
    assert client.sweep() == ([], [])
    client.clock.sleep(3700)
    removed, kept = client.sweep()
    assert removed[0] == "one, which was never finished"
    assert kept == []
    assert account.cloud.leftovers() == []


def test_who_may_not_list_buckets_finds_what_is_in_the_region(account: Account) -> None:
    account.lab()
    rights = [
        {"Effect": "Allow", "Action": "*", "Resource": "*"},
        {"Effect": "Deny", "Action": "s3:ListAllMyBuckets", "Resource": "*"},
    ]
    account.cloud.rules.person = rights
    assert [task.name for task in account.computer().tasks()] == ["one"]


def test_another_owner_is_not_seen_and_keeps_the_bucket(account: Account) -> None:
    theirs = account.lab(account.computer(LOFTY_OWNER="bob"), name="theirs")
    client = account.computer()
    assert client.tasks() == []
    client.sweep()
    assert theirs.observe().state == "starting"
    assert [one.name for one in account.computer(LOFTY_OWNER="bob").tasks()] == ["theirs"]


def test_a_group_whose_store_was_emptied_is_found_and_goes(account: Account) -> None:
    task = account.lab()
    task.records.store.clear()
    (found,) = account.computer().tasks()
    assert found.record.spec is None
    assert found.name == task.handle.id
    found.down(discard=True)
    assert account.leftovers() == []


def test_what_no_record_leads_to_is_swept(account: Account) -> None:
    task, kept = account.lab(), account.lab(name="kept")
    task.records.store.clear()
    client = account.computer()
    would, _ = client.sweep(dry_run=True)
    kinds = ("group", "launch template", "security group", "instance profile", "role", "store")
    assert len(would) == len(kinds)
    removed, _ = client.sweep()
    assert removed == would
    for kind, text in zip(kinds, removed, strict=True):
        assert text.startswith(f"the {kind} ")
        assert "lofty-one-" in text
    assert {one.name for one in account.computer().tasks()} == {"kept"}
    assert not [one for one in account.cloud.leftovers() if "lofty-one-" in one]
    assert kept.observe().state == "starting"


def test_what_is_not_seen_yet_when_it_is_taken_down_is_swept_later(account: Account) -> None:
    """Killed right after a thing was made, and taken down before AWS shows it."""
    account.cloud.rules.invisible = 60.0
    account.cloud.at_call(1, account.dies, match="ec2:CreateSecurityGroup", after=True)
    with pytest.raises(LoftyError):
        account.lab()
    (task,) = account.computer().tasks()
    task.down(discard=True)
    assert [one.split()[0] for one in account.leftovers()] == ["security"]
    account.cloud.rules.invisible = 0.0
    account.computer().sweep()
    assert account.cloud.leftovers() == []


@pytest.mark.parametrize("last", ["CreateLaunchTemplate", "CreateAutoScalingGroup", "PutScheduledUpdateGroupAction"])
def test_undoing_waits_for_what_is_not_seen_yet(account: Account, last: str) -> None:
    account.cloud.rules.invisible = 0.1
    account.cloud.fail(1, match=last, code="AccessDenied", message="no", status=403)
    with pytest.raises(Forbidden):
        account.lab()
    assert account.leftovers() == []


@pytest.mark.parametrize(
    "operation", ["CreateSecurityGroup", "CreateLaunchTemplate", "CreateInstanceProfile", "AddRoleToInstanceProfile"]
)
def test_an_answer_that_was_lost_and_a_thing_not_seen_yet(account: Account, operation: str) -> None:
    account.cloud.rules.invisible = 0.1
    account.cloud.lose(1, match=operation)
    task = account.lab()
    assert task.observe().state == "starting"
    task.down(discard=True)
    assert account.leftovers() == []


def test_a_group_that_takes_long_to_go_is_waited_for(account: Account) -> None:
    account.cloud.rules.group_delete = 0.4
    task = account.lab()
    task.down(discard=True)
    assert account.leftovers() == []
    naps = task._context.clock.naps  # type: ignore[attr-defined]
    assert sum(naps) > 60


def test_unfinished_uploads_go_with_the_task(account: Account) -> None:
    task, other = account.lab(), account.lab(name="one-more")
    s3 = account.cloud.client("s3")
    bucket = task.handle.store.split("/")[2]
    for one in (task, other):
        s3.create_multipart_upload(Bucket=bucket, Key=f"tasks/{one.handle.id}/files/packs/x")
    task.down(discard=True)
    assert [one for one in account.leftovers() if one.startswith("upload")] == [
        f"upload {bucket}/tasks/{other.handle.id}/files/packs/x"
    ]


def test_too_many_requests_are_waited_for(account: Account) -> None:
    busy = (
        "ec2:CreateSecurityGroup",
        "iam:CreateRole",
        "autoscaling:CreateAutoScalingGroup",
        "ec2:DeleteSecurityGroup",
    )
    account.cloud.rules.throttle = dict.fromkeys(busy, 4)
    account.lab().down(discard=True)
    assert account.leftovers() == []
    account.cloud.rules.throttle = {"autoscaling:CreateAutoScalingGroup": 100}
    with pytest.raises(CloudError, match="too many"):
        account.lab()
    assert account.leftovers() == []


def test_a_group_of_that_name_that_is_not_ours_is_left_alone(account: Account) -> None:
    task = account.lab()
    name = task.handle.id
    group = account.cloud.groups.scaling.groups[name]
    task.down(discard=True)
    account.cloud.groups.scaling.groups[name] = group
    group.deleting, group.tags = False, []
    with pytest.raises(Conflict, match="not lofty's"):
        account.lab()
    assert [one for one in account.leftovers() if "action" not in one] == [f"group {name}"]
    assert json.dumps(group.tags) == "[]"
