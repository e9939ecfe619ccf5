"""What lists tell of all tasks: in the names of empty objects, told by the machine that is the rank and by no other."""

from __future__ import annotations

import itertools
import time

import msgspec
import pytest

from lofty.agent.claim import Claim, claim
from lofty.errors import Stale, StoreError
from lofty.model.state import Machine
from lofty.store.base import Entry, Store
from lofty.store.records import Records
from lofty.store.states import LEASE_SECONDS, Shown, Told, show_deadline, told

_numbers = itertools.count()
WORD = Machine(
    id="0002.0",
    state="failed",
    reason="exit code 3: “näh”",
    exit_code=3,
    started=1764137292.123456,
    ended=1764137299.5,
    deadline=1764140000.25,
    idle_at=1764138000.0,
    holder="i-0123456789abcdef0",
    pid=4321,
    seconds_before=17.25,
)


@pytest.fixture
def account() -> str:
    return f"memory://states-{next(_numbers)}"


def own(account: str, task: str = "one") -> Store:
    return Store(f"{account}/states/{task}")


def shown(account: str) -> dict[str, Told]:
    return told(Store(f"{account}/states").entries())


def listed(account: str) -> dict[str, tuple[Machine, ...]]:
    return {task_id: words.machines for task_id, words in shown(account).items()}


def claimed(account: str, holder: str, now: float, task: str = "one", ranks: int = 1) -> Claim:
    records = Records(Store(f"{account}/tasks/{task}"))
    found = claim(records, own(account, task), holder, ranks, now=lambda: now)
    assert found is not None
    return found


def names(account: str, task: str = "one") -> list[str]:
    return sorted(entry.key for entry in own(account, task).entries() if not entry.key.endswith("lease"))


def test_a_word_is_told_as_it_was_said_without_reading_an_object(account: str) -> None:
    Shown(own(account), 0).show(WORD)
    ((machine,),) = listed(account).values()
    heard = machine.heartbeat
    assert heard is not None
    assert abs(heard - time.time()) < 5
    machine.heartbeat = None
    assert machine == WORD
    (key,) = names(account)
    assert own(account).get(key) == b""
    assert len(f"states/{'x' * 63}/{key}".encode()) < 1024


def test_what_a_list_does_not_show_changes_nothing(account: str) -> None:
    shown = Shown(own(account), 0)
    shown.show(WORD)
    before = names(account)
    shown.show(msgspec.structs.replace(WORD, heartbeat=1.0, notes=["said once"], user="ubuntu"))
    assert names(account) == before


def test_a_new_word_is_there_before_the_old_one_goes(account: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, store = Shown(own(account), 0), own(account)
    monkeypatch.setattr(shown, "_store", store)
    seen: list[str] = []
    put, delete = store.put, store.delete

    def look(state: str) -> None:
        ((machine,),) = listed(account).values()
        seen.append(f"{state}: {machine.state}")

    def put_and_look(key: str, data: bytes) -> None:
        put(key, data)
        look("put")

    def look_and_delete(keys: list[str]) -> None:
        look("delete")
        delete(keys)

    monkeypatch.setattr(store, "put", put_and_look)
    monkeypatch.setattr(store, "delete", look_and_delete)
    for state in ("starting", "running", "stopped"):
        shown.show(msgspec.structs.replace(WORD, state=state))
    assert seen == [f"{call}: {state}" for state in ("starting", "running", "stopped") for call in ("put", "delete")]
    assert len(names(account)) == 1


def test_one_that_could_not_be_removed_goes_with_the_next(account: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = Shown(own(account), 0)
    shown.show(msgspec.structs.replace(WORD, state="starting"))

    def fail(*_: object) -> None:
        raise StoreError("503")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "delete", fail)
        with pytest.raises(StoreError):
            shown.show(msgspec.structs.replace(WORD, state="running"))
    assert len(names(account)) == 2
    ((machine,),) = listed(account).values()
    assert machine.state == "running", "the newest counts"
    shown.show(msgspec.structs.replace(WORD, state="stopped"))
    assert len(names(account)) == 1


def test_the_tenth_word_is_newer_than_the_ninth(account: str) -> None:
    store = own(account)
    for number in range(1, 12):
        shown = Shown(store, 0)  # as after a restart: it finds out what is there
        shown.show(msgspec.structs.replace(WORD, pid=number))
    ((machine,),) = listed(account).values()
    assert (machine.pid, len(names(account))) == (11, 1)
    both = [Entry(f"one/0/{name}", 0, 1.0, "") for name in ("0009.0.9.e30", "0009.0.2.e30", "0008.0.12.e30")]
    for order in itertools.permutations(both):
        assert told([*order, Entry("one/0/0009.0.10.eyJwaWQiOjd9", 0, 1.0, "")])["one"].machines[0].pid == 7


def test_the_next_machine_of_a_rank_is_the_one_that_is_told(account: str) -> None:
    first = claimed(account, "i-a", 1000.0)
    first.show(msgspec.structs.replace(first.machine, state="running"))
    second = claimed(account, "i-b", 1000.0 + LEASE_SECONDS + 1)
    assert [(one.id, one.state, one.holder) for one in listed(account)["one"]] == [("0002.0", "starting", "i-b")]
    assert second.machine.seconds_before == 0.0, "it was never heard of after its claim"
    assert len(names(account)) == 1
    # The first one does not know yet, and speaks: the newer one is believed.
    first.show(msgspec.structs.replace(first.machine, state="stopped"))
    assert [one.id for one in listed(account)["one"]] == ["0002.0"]
    with pytest.raises(Stale):
        first.renew(1200.0)
    before = names(account)
    first.show(msgspec.structs.replace(first.machine, state="failed"))
    assert names(account) == before, "who has lost the lease speaks no more"


def test_the_lease_is_the_sign_of_life(account: str) -> None:
    made = claimed(account, "i-a", time.time())
    store = Store(f"{account}/states")
    aged = [entry._replace(modified=1000.0) for entry in store.entries()]
    assert told(aged)["one"].machines[0].heartbeat == 1000.0
    renewed = [entry._replace(modified=1040.0) if entry.key.endswith("/lease") else entry for entry in aged]
    assert told(renewed)["one"].machines[0].heartbeat == 1040.0
    made.renew(time.time())


def test_what_an_earlier_machine_was_paid_for_counts(account: str) -> None:
    first = claimed(account, "i-a", 1000.0)
    first.renew(1300.0)
    second = claimed(account, "i-b", 1500.0)
    assert second.machine.seconds_before == 300.0, "it lived until its last renewal"
    records = Records(Store(f"{account}/tasks/one"))
    second.machine.state, second.machine.ended = "stopped", 1650.0
    records.put_machine(second.machine)
    second.give_back(over=False)
    third = claimed(account, "i-c", 2000.0)
    assert third.machine.seconds_before == 450.0
    ((machine,),) = listed(account).values()
    assert machine.seconds_before == 450.0


def test_ranks_and_tasks_are_told_apart(account: str) -> None:
    for task, ranks in (("one", 2), ("two", 1)):
        for number in range(ranks):
            claimed(account, f"i-{task}-{number}", 1000.0, task, ranks)
    assert {task: [one.holder for one in machines] for task, machines in listed(account).items()} == {
        "one": ["i-one-0", "i-one-1"],
        "two": ["i-two-0"],
    }


@pytest.mark.parametrize(
    "key",
    [
        "one",
        "one/lease",
        "one/x/0001.0.1.e30",
        "one/0/0001.0.1.",
        "one/0/0001.0.1.e",
        "one/0/0001.0.1.bnVsbA",  # null
        "one/0/0001.0.1.eyJzdGF0ZSI6ImZseWluZyJ9",  # {"state":"flying"}
        "one/0/0001.0.1.eyJleGl0X2NvZGUiOiJ4In0",  # {"exit_code":"x"}
        "one/0/../../two/0/0001.0.1.e30",
        "one/0/" + "9" * 900,
    ],
)
def test_a_name_that_is_no_word_is_passed_over(key: str) -> None:
    assert told([Entry(key, 0, 1000.0, "")]) == {}


def test_a_machine_does_not_say_who_it_is(account: str) -> None:
    """Its place in the store does, where its role lets it write."""
    (machine,) = told([Entry("one/3/0001.3.1.eyJpZCI6IjA5OTkuOSIsInJhbmsiOjl9", 0, 1.0, "")])["one"].machines
    assert (machine.id, machine.rank) == ("0001.3", 3)


def test_a_reason_that_does_not_fit_is_left_out(account: str) -> None:
    Shown(own(account), 0).show(msgspec.structs.replace(WORD, reason="\x00ä" * 2000))
    ((machine,),) = listed(account).values()
    assert (machine.state, machine.reason) == ("failed", "")


def test_the_deadline_that_was_set_last_is_told(account: str) -> None:
    for at in (1764140000.4, 1764150000.0, 1764130000.0):  # it may come nearer too
        show_deadline(own(account), at)
        assert shown(account) == {"one": Told((), round(at))}
    assert len(names(account)) == 1
    Shown(own(account), 0).show(WORD)
    assert shown(account)["one"].deadline == 1764130000.0
    own(account).put("deadline/4.never", b"")
    own(account).put(f"deadline/5.{'9' * 400}", b"")  # as a float it would be infinite
    own(account).put("deadline/3.1764190000", b"")  # of one that was overtaken
    assert shown(account)["one"].deadline == 1764190000.0
