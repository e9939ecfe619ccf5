"""Of several machines that a cloud runs at once, one is the task: a lease in the store decides, whatever happens."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

import msgspec
import pytest

from lofty.agent.claim import Claim, claim, resume
from lofty.errors import Stale, StoreError
from lofty.store.base import Store
from lofty.store.records import Records
from lofty.store.states import LEASE_SECONDS, Lease

_numbers = itertools.count()


class Waited(Exception):
    """There was nothing to claim, and the machine would have waited."""


def states_of(records: Records) -> Store:
    """Where the leases of the task are: beside it."""
    return Store(records.store.url.replace("/task", "/states/task"))


def impatient(_: float) -> None:
    raise Waited


@pytest.fixture
def records() -> Records:
    return Records(Store(f"memory://claim-{next(_numbers)}/task"))


def taken(
    records: Records, holder: str, ranks: int = 1, now: float = 1000.0, sleep: Callable[[float], None] = impatient
) -> Claim:
    found = claim(records, states_of(records), holder, ranks, now=lambda: now, sleep=sleep)
    assert found is not None
    return found


def test_the_first_one_is_the_first_machine(records: Records) -> None:
    made = taken(records, "i-a").machine
    assert (made.id, made.rank, made.state, made.holder, made.started) == ("0001.0", 0, "starting", "i-a", 1000.0)
    assert records.machine("0001.0") == made


def test_while_one_holds_it_no_other_gets_it(records: Records) -> None:
    taken(records, "i-a")
    with pytest.raises(Waited):
        taken(records, "i-b", now=1000.0 + LEASE_SECONDS - 1)
    assert [machine.id for machine in records.machines()] == ["0001.0"], "and the other has left no trace"


def test_who_is_silent_for_too_long_is_replaced_and_learns_of_it(records: Records) -> None:
    first = taken(records, "i-a")
    second = taken(records, "i-b", now=1000.0 + LEASE_SECONDS + 1)
    assert second.machine.id == "0002.0"
    with pytest.raises(Stale):
        first.renew(1000.0 + LEASE_SECONDS + 2)
    first.give_back(over=True)
    second.renew(1200.0)
    with pytest.raises(Waited):
        taken(records, "i-c", now=1210.0)


def test_a_renewal_keeps_it(records: Records) -> None:
    first = taken(records, "i-a")
    first.renew(1050.0)
    with pytest.raises(Waited):
        taken(records, "i-b", now=1050.0 + LEASE_SECONDS - 1)


def test_a_lease_given_back_is_taken_up_at_once(records: Records) -> None:
    taken(records, "i-a").give_back(over=False)
    assert taken(records, "i-b", now=1001.0).machine.id == "0002.0"


def test_a_machine_that_was_started_again_need_not_wait_for_itself(records: Records) -> None:
    taken(records, "i-a")
    assert taken(records, "i-a", now=1001.0).machine.id == "0002.0"


def test_ranks_are_handed_out_one_by_one_and_what_is_over_is_not_begun_again(records: Records) -> None:
    claims = [taken(records, f"i-{number}", ranks=3) for number in range(3)]
    assert [one.machine.id for one in claims] == ["0001.0", "0001.1", "0001.2"]
    claims[1].give_back(over=True)
    with pytest.raises(Waited):
        taken(records, "i-9", ranks=3, now=1001.0)
    claims[2].give_back(over=False)
    assert taken(records, "i-9", ranks=3, now=1001.0).machine.id == "0002.2", "the lost one is replaced alone"
    claims[0].give_back(over=True)
    claim(records, states_of(records), "i-9", 3, now=lambda: 1002.0, sleep=impatient)
    for rank in range(3):
        states_of(records).put(f"{rank}/lease", msgspec.json.encode(Lease("", "", 0.0, over=True)))
    assert claim(records, states_of(records), "i-x", 3, sleep=impatient) is None


def test_many_at_once_and_one_gets_it(records: Records) -> None:
    won: list[str] = []
    start = threading.Barrier(8)

    def ask(holder: str) -> None:
        start.wait()
        try:
            won.append(taken(records, holder).machine.holder)
        except Waited:
            return

    threads = [threading.Thread(target=ask, args=(f"i-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert [machine.holder for machine in records.machines()] == won


def test_after_a_new_process_began_the_lease_is_found_again(records: Records) -> None:
    first = taken(records, "i-a")
    resumed = resume(states_of(records), "i-a", first.machine)
    resumed.renew(1060.0)
    taken(records, "i-b", now=1060.0 + LEASE_SECONDS + 1)
    with pytest.raises(Stale):
        resume(states_of(records), "i-a", first.machine)


def test_a_renewal_whose_answer_was_lost_is_no_loss(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    first = taken(records, "i-a")
    store = first._states
    swap = store.swap

    def lose(key: str, raw: bytes, version: str) -> str:
        swap(key, raw, version)
        raise Stale("the second try of a request whose answer was lost")

    monkeypatch.setattr(store, "swap", lose)
    first.renew(1050.0)
    monkeypatch.undo()
    first.renew(1060.0)


def test_a_damaged_lease_is_taken_over(records: Records) -> None:
    states_of(records).put("0/lease", b"\xff{")
    assert taken(records, "i-a").machine.id == "0001.0"


def test_a_store_that_fails_is_said(records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StoreError("503")

    monkeypatch.setattr(Store, "read", fail)
    with pytest.raises(StoreError):
        taken(records, "i-a")
