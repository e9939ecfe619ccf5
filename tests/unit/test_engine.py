"""Order, undo, retry and time, against a cloud that fails where and how it is told to."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from lofty.drivers.base import Resource
from lofty.engine import apply, sweep, watch
from lofty.engine.plan import Plan, plan
from lofty.engine.retry import LONGEST, TRIES, retried
from lofty.errors import CapacityError, CloudError, LoftyError, NoOffer, Stale, StoreError, Throttled, Unsupported
from lofty.model import ids
from lofty.model.spec import Need, Process, TaskSpec
from lofty.model.state import Cursor, Event, Observation
from lofty.store.base import Store
from lofty.testing import Cloud, FakeClock, FakeDriver, Script

KINDS = ("store", "role", "group")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def cloud(clock: FakeClock) -> Cloud:
    return Cloud(clock.now)


@pytest.fixture
def driver(cloud: Cloud) -> FakeDriver:
    return cloud.driver()


def task(name: str = "one", *, kind: str = "job", need: Need | None = None) -> TaskSpec:
    return TaskSpec(
        id=ids.identifier("me", name), name=name, owner="me", kind="job" if kind == "job" else "workspace",
        created=1.0, on="fake", processes=(Process(name="job"),), need=need or Need(),
    )  # fmt: skip


def up(driver: FakeDriver, clock: FakeClock, spec: TaskSpec | None = None, deadline: float | None = None) -> Plan:
    """A task with a machine that was asked for just now."""
    made = plan(driver, spec or task())
    apply.create(made.resources, clock)
    driver.scale(made.handle, 1, deadline)
    return made


# --- planning -------------------------------------------------------------------------------------------------


def test_the_cheapest_offer_is_taken_and_its_price_remembered(driver: FakeDriver) -> None:
    made = plan(driver, task(need=Need(machine="m")))
    assert made.offer == min(driver.offers(Need(machine="m")), key=lambda offer: offer.usd_per_hour)
    assert made.spec.price == made.offer.price
    assert made.offer.region == "north-1"
    assert [one.kind for one in made.resources] == list(KINDS)


def test_planning_makes_nothing(driver: FakeDriver, cloud: Cloud) -> None:
    plan(driver, task())
    assert cloud.calls == ["offers"]
    assert cloud.left == []


@pytest.mark.parametrize(
    ("need", "error"),
    [
        (Need(cpus="3"), NoOffer), (Need(cpus="1000+"), NoOffer), (Need(max_price=0.001), NoOffer),
        (Need(gpu="T4:100"), NoOffer), (Need(machine="m", memory="16"), NoOffer),
    ],
)  # fmt: skip
def test_what_nothing_fits_is_said(driver: FakeDriver, cloud: Cloud, need: Need, error: type[LoftyError]) -> None:
    with pytest.raises(error) as caught:
        plan(driver, task(need=need))
    assert caught.value.hint
    assert cloud.left == []


@pytest.mark.parametrize(
    ("need", "machine"),
    [
        (Need(), "fake.s"), (Need(cpus="8"), "fake.m"), (Need(cpus="8+", memory="100+"), "fake.l"),
        (Need(gpu="T4"), "fake.s.t4"), (Need(gpu="a100:8"), "fake.xl.a100"), (Need(machine="l+v100"), "fake.l.v100"),
        (Need(machine="fake.m"), "fake.m"),
    ],
)  # fmt: skip
def test_what_is_asked_for_in_plain_words(driver: FakeDriver, need: Need, machine: str) -> None:
    assert plan(driver, task(need=need)).offer.machine == machine


def test_a_price_that_is_not_known_is_no_price(driver: FakeDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = msgspec.structs.replace(driver.offers(Need())[0], price=None)
    monkeypatch.setattr(driver, "offers", lambda need: [unknown])
    assert plan(driver, task()).spec.price is None
    for spec in (task(need=Need(max_price=1.0)), msgspec.structs.replace(task(), budget=1.0)):
        with pytest.raises(NoOffer, match="not known") as caught:
            plan(driver, spec)
        assert caught.value.hint


def test_spot_is_cheaper(driver: FakeDriver) -> None:
    spot, other = (plan(driver, task(need=Need(machine="m", spot=spot))).offer for spot in (True, False))
    assert spot.spot
    assert spot.usd_per_hour < other.usd_per_hour


@pytest.mark.parametrize("need", [Need(spot=True), Need(gpu="T4"), Need(machine="m+t4"), Need(region="north-1")])
def test_a_feature_that_is_not_claimed_is_refused_before_any_call(driver: FakeDriver, cloud: Cloud, need: Need) -> None:
    driver.features = frozenset()
    with pytest.raises(Unsupported):
        plan(driver, task(need=need))
    with pytest.raises(Unsupported):
        plan(driver, msgspec.structs.replace(task(), parallelism=2))
    assert cloud.calls == []


# --- retrying -------------------------------------------------------------------------------------------------


class Flaky:
    """Fails so many times."""

    def __init__(self, times: int, retry_after: float | None = 1.0) -> None:
        self.left, self.retry_after, self.calls = times, retry_after, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise Throttled("later", retry_after=self.retry_after)
        return "done"


def test_another_try_waits_twice_as_long_each_time(clock: FakeClock) -> None:
    assert retried(Flaky(3), clock) == "done"
    assert clock.naps == [1, 2, 4]


def test_it_gives_up_in_the_end_and_never_waits_for_ages(clock: FakeClock) -> None:
    call = Flaky(100, retry_after=15.0)
    with pytest.raises(Throttled):
        retried(call, clock)
    assert call.calls == TRIES
    assert clock.naps == [15.0, *[LONGEST] * (TRIES - 2)]


def test_who_asks_to_be_tried_soon_is_not_given_up_sooner(clock: FakeClock) -> None:
    soon, later = Flaky(100, retry_after=0.25), Flaky(100, retry_after=1.0)
    patience = []
    for call in (soon, later):
        clock.naps.clear()
        with pytest.raises(Throttled):
            retried(call, clock)
        patience.append(sum(clock.naps))
    assert patience[0] >= patience[1] == 31
    assert soon.calls == TRIES + 2


def test_what_no_other_try_can_help_is_not_tried(clock: FakeClock) -> None:
    call = Flaky(1, retry_after=None)
    with pytest.raises(Throttled):
        retried(call, clock)
    assert (call.calls, clock.naps) == (1, [])


# --- making and unmaking --------------------------------------------------------------------------------------

PASSING = ("throttled", "unavailable")
LASTING = ("broken", "forbidden", "quota", "no-capacity", "not-logged-in", "interrupted")


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_is_waited_out(
    driver: FakeDriver, cloud: Cloud, clock: FakeClock, kind: str, fault: str, after: bool
) -> None:
    cloud.fail(fault, f"create {kind}", after=after, times=TRIES - 1)
    apply.create(plan(driver, task()).resources, clock)
    assert len(cloud.left) == len(KINDS)
    assert clock.naps


@pytest.mark.parametrize(
    ("at", "after"),
    [(f"{verb} {kind}", after) for kind in KINDS for verb, after in (("read", 0), ("create", 0), ("create", 1))],
)
@pytest.mark.parametrize("fault", LASTING)
def test_a_fault_that_lasts_leaves_nothing(
    driver: FakeDriver, cloud: Cloud, clock: FakeClock, at: str, fault: str, after: int
) -> None:
    made = plan(driver, task())
    cloud.fail(fault, at, after=bool(after))
    with pytest.raises(KeyboardInterrupt if fault == "interrupted" else LoftyError):
        apply.create(made.resources, clock)
    assert cloud.left == []
    assert list(Store(made.handle.store).entries()) == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("fault", PASSING)
def test_one_that_should_pass_and_does_not_leaves_nothing_either(
    driver: FakeDriver, cloud: Cloud, clock: FakeClock, fault: str, after: bool
) -> None:
    cloud.fail(fault, "create group", after=after, times=None)
    with pytest.raises(CloudError):
        apply.create(plan(driver, task()).resources, clock)
    assert cloud.left == []


def test_undoing_goes_backwards(driver: FakeDriver, cloud: Cloud, clock: FakeClock) -> None:
    cloud.fail("broken", "create group", after=True)
    with pytest.raises(CloudError):
        apply.create(plan(driver, task()).resources, clock)
    assert [call for call in cloud.calls if call.startswith("delete")] == [
        "delete group",
        "delete role",
        "delete store",
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_undone_is_named_with_the_way_out(
    driver: FakeDriver, cloud: Cloud, clock: FakeClock, kind: str
) -> None:
    cloud.fail("broken", "create group", after=True)
    cloud.fail("forbidden", f"delete {kind}", times=None)
    with pytest.raises(CloudError) as caught:
        apply.create(plan(driver, task()).resources, clock)
    (note,) = caught.value.__notes__
    assert f"removed: {kind} " in note
    assert "lofty sweep" in note
    assert any(one.startswith(kind) for one in cloud.left)
    cloud.heal()
    assert apply.destroy(plan(driver, task()).resources, clock) == []
    assert cloud.left == []


def test_what_was_there_before_is_left_alone(driver: FakeDriver, cloud: Cloud, clock: FakeClock) -> None:
    made = plan(driver, task())
    for one in made.resources[:2]:
        one.create()
    cloud.fail("broken", "create group")
    with pytest.raises(CloudError):
        apply.create(made.resources, clock)
    assert [one.split()[0] for one in cloud.left] == ["role", "store"]


def test_what_another_process_made_at_this_moment_is_not_ours_to_delete(
    driver: FakeDriver, cloud: Cloud, clock: FakeClock
) -> None:
    mine, theirs = (plan(driver, msgspec.structs.replace(task(), source=place)) for place in ("/mine", "/theirs"))

    class Late:
        """They come between my look and my making."""

        kind, name = "store", mine.resources[0].name
        delete = mine.resources[0].delete

        def read(self) -> bool:
            seen = mine.resources[0].read()
            theirs.resources[0].create()
            return seen

        def create(self) -> None:
            mine.resources[0].create()

    late: Resource = Late()
    with pytest.raises(Stale):
        apply.create((late, *mine.resources[1:]), clock)
    assert [record.spec for record in driver.find("me")] == [theirs.spec]


def test_destroying_goes_on_past_what_fails_and_names_it(driver: FakeDriver, cloud: Cloud, clock: FakeClock) -> None:
    made = up(driver, clock)
    cloud.fail("broken", "delete role")
    role, store = apply.destroy(made.resources, clock)
    assert role.startswith(f"role {made.spec.id} (")
    assert store.startswith("store ")
    assert [one.split()[0] for one in cloud.left] == ["role", "store"]
    assert [record.spec for record in driver.find("me")] == [made.spec], "what is left still has its name"
    assert apply.destroy(made.resources, clock) == []
    assert cloud.left == []


def test_destroying_waits_out_what_passes(driver: FakeDriver, cloud: Cloud, clock: FakeClock) -> None:
    made = up(driver, clock)
    cloud.fail("throttled", "delete *", times=3)
    assert apply.destroy(made.resources, clock) == []
    assert cloud.left == []


def test_a_slow_cloud_is_no_reason_to_make_things_twice(driver: FakeDriver, cloud: Cloud, clock: FakeClock) -> None:
    cloud.fail("slow-to-appear")
    made = plan(driver, task())
    apply.create(made.resources, clock)
    assert len(cloud.left) == len(KINDS)
    assert driver.observe(made.handle).state == "pending"
    apply.create(made.resources, clock)
    assert len(cloud.left) == len(KINDS)
    assert apply.destroy(made.resources, clock) == []
    assert cloud.left == []


@pytest.mark.parametrize("upto", range(len(KINDS) + 1))
def test_killed_on_the_way_another_process_finds_and_removes_the_rest(
    driver: FakeDriver, cloud: Cloud, clock: FakeClock, upto: int
) -> None:
    for one in plan(driver, task()).resources[:upto]:
        one.create()  # and then the power fails
    other = cloud.driver()
    clock.sleep(sweep.HALF_MADE_SECONDS)
    found = list(sweep.leftovers(other, other.find("me"), clock))
    assert len(found) == min(upto, 1)
    for leftover in found:
        assert leftover.safe
        assert sweep.remove(leftover, clock) == []
    assert cloud.left == []


def test_what_was_just_made_or_has_run_is_not_swept(driver: FakeDriver, cloud: Cloud, clock: FakeClock) -> None:
    spec = msgspec.structs.replace(task("fresh"), created=clock.now())
    apply.create(plan(driver, spec).resources, clock)
    assert list(sweep.leftovers(driver, driver.find("me"), clock)) == []
    made = up(driver, clock, task("worked"))
    watch.wait(driver, made.handle, clock, watch.is_over, 1.0)
    clock.sleep(sweep.HALF_MADE_SECONDS)
    (found,) = sweep.leftovers(driver, driver.find("me"), clock)
    assert found.record is not None
    assert found.record.handle.id == ids.identifier("me", "fresh")


def test_remains_without_a_record_are_named_and_kept(driver: FakeDriver, cloud: Cloud, clock: FakeClock) -> None:
    made = up(driver, clock)
    Store(made.handle.store).clear()
    (leftover,) = sweep.leftovers(driver, driver.find("me"), clock)
    assert not leftover.safe
    assert made.spec.id in leftover.text
    assert sweep.remove(leftover, clock) == []
    assert len(cloud.left) > 1


# --- watching -------------------------------------------------------------------------------------------------


def test_watching_goes_on_until_it_satisfies_and_through_faults(
    driver: FakeDriver, cloud: Cloud, clock: FakeClock
) -> None:
    made = up(driver, clock)
    cloud.fail("unavailable", "observe", times=3)
    states = [seen.state for seen in watch.watch(driver, made.handle, clock, watch.is_over, 5.0)]
    assert [state for state, _ in itertools.groupby(states)] == ["starting", "running", "succeeded"]


def test_waiting_keeps_only_the_last_look(driver: FakeDriver, cloud: Cloud, clock: FakeClock) -> None:
    import tracemalloc

    cloud.script = Script(runs=20_000.0)
    made = up(driver, clock)
    tracemalloc.start()
    assert watch.wait(driver, made.handle, clock, watch.is_over, 5.0).state == "succeeded"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000, "a job of days is looked at millions of times"


def test_a_machine_that_never_gets_ready_ends_at_the_deadline(
    driver: FakeDriver, cloud: Cloud, clock: FakeClock
) -> None:
    cloud.fail("never-ready")
    made = up(driver, clock, deadline=clock.now() + 600)
    states = {seen.state for seen in watch.watch(driver, made.handle, clock, watch.is_over, 5.0)}
    assert states == {"starting", "failed"}
    assert driver.observe(made.handle).machines[0].error == "LimitReached"


def test_stopping_insists(driver: FakeDriver, cloud: Cloud, clock: FakeClock) -> None:
    cloud.script = Script(runs=None)
    made = up(driver, clock)
    cloud.fail("never-ends", times=2)
    assert watch.stop(driver, made.handle, clock, 1.0).state == "stopped"
    assert cloud.calls.count("scale") == 1 + 3


def test_and_says_when_it_cannot(driver: FakeDriver, cloud: Cloud, clock: FakeClock) -> None:
    cloud.script = Script(runs=None)
    made = up(driver, clock)
    cloud.fail("never-ends", times=None)
    began = clock.now()
    with pytest.raises(LoftyError, match="does not end") as caught:
        watch.stop(driver, made.handle, clock, 1.0)
    assert caught.value.hint
    assert clock.now() - began < 4 * watch.STOP_PATIENCE
    assert cloud.left[-1].startswith("machine")


def test_stopping_what_does_not_run_is_quick(driver: FakeDriver, cloud: Cloud, clock: FakeClock) -> None:
    made = plan(driver, task())
    assert watch.stop(driver, made.handle, clock, 1.0).state == "gone"
    apply.create(made.resources, clock)
    assert watch.stop(driver, made.handle, clock, 1.0).state == "pending"
    assert clock.naps == []


def test_no_room_at_the_moment_is_passed_on(driver: FakeDriver, cloud: Cloud, clock: FakeClock) -> None:
    cloud.fail("no-capacity", "scale")
    with pytest.raises(CapacityError):
        up(driver, clock)
    assert [one.split()[0] for one in cloud.left] == ["group", "role", "store"]


def test_a_lost_machine_is_said_to_be_lost(driver: FakeDriver, cloud: Cloud, clock: FakeClock) -> None:
    cloud.fail("machine-lost")
    made = up(driver, clock)
    seen = watch.wait(driver, made.handle, clock, watch.is_over, 5.0)
    assert (seen.state, seen.machines[0].exit_code) == ("lost", None)
    assert seen.reason


def test_a_lost_spot_machine_is_replaced_with_nobody_watching(
    driver: FakeDriver, cloud: Cloud, clock: FakeClock
) -> None:
    cloud.fail("machine-lost", times=2)
    made = up(driver, clock, task(need=Need(spot=True)))
    seen = watch.wait(driver, made.handle, clock, watch.is_over, 5.0)
    assert seen.state == "succeeded"
    assert seen.machines[0].id == "0003.0"
    assert [event.code for event in seen.events] == ["replaced", "replaced"]
    assert seen.machine_seconds >= 2 * cloud.script.boot + cloud.script.boot + 60


# --- following ------------------------------------------------------------------------------------------------

SAID = "".join(f"step {number}\n" for number in range(40))


@pytest.mark.parametrize("pace", [0.5, 7.0, 100.0])
def test_following_gives_every_line_once_and_ends(
    driver: FakeDriver, cloud: Cloud, clock: FakeClock, pace: float
) -> None:
    cloud.script = Script(output=tuple((number * 1.5, line) for number, line in enumerate(SAID.splitlines(True))))
    made = up(driver, clock)
    lines = watch.follow(driver, made.handle, clock, Cursor(), pace)
    assert "".join(line.text + line.end for line in lines) == SAID


def test_following_survives_a_bad_connection(driver: FakeDriver, cloud: Cloud, clock: FakeClock) -> None:
    cloud.script = Script(output=tuple((number * 1.5, line) for number, line in enumerate(SAID.splitlines(True))))
    made = up(driver, clock)
    seen = []
    for number, line in enumerate(watch.follow(driver, made.handle, clock, Cursor(), 1.0)):
        seen.append(line.text + line.end)
        if number % 4 == 0:
            cloud.heal()
            cloud.fail("unavailable", "logs", times=2)
            cloud.fail("throttled", "observe", times=2)
    assert "".join(seen) == SAID


def test_following_gives_up_when_nothing_helps(driver: FakeDriver, cloud: Cloud, clock: FakeClock) -> None:
    made = up(driver, clock)
    cloud.fail("forbidden", "logs", times=None)
    with pytest.raises(LoftyError):
        list(watch.follow(driver, made.handle, clock, Cursor(), 1.0))
    cloud.heal()
    cloud.fail("unavailable", "logs", times=None)
    with pytest.raises(CloudError):
        list(watch.follow(driver, made.handle, clock, Cursor(), 1.0))


def test_a_store_that_breaks_is_not_tried_for_ever(driver: FakeDriver, clock: FakeClock) -> None:
    made = up(driver, clock)
    Store(made.handle.store).put("machines/0001.0/status.json", b"{")
    Store(made.handle.store).put("task.json", b"{")
    with pytest.raises(StoreError):
        watch.wait(driver, made.handle, clock, watch.is_over, 1.0)


def test_the_fake_knows_its_faults(cloud: Cloud) -> None:
    with pytest.raises(ValueError, match="did you mean 'throttled'"):
        cloud.fail("throttle")


def test_a_drought_lasts_when_nothing_else_was_seen_for_so_long() -> None:
    clock = FakeClock()
    drought = watch.Drought(clock, 60.0)
    failed = Observation(state="starting", events=(Event(time=1.0, code="launch-failed", text="dry"),))
    assert not drought.lasts(failed)
    clock.sleep(59)
    assert not drought.lasts(failed)
    assert not drought.lasts(Observation(state="starting")), "a machine comes"
    clock.sleep(10)
    assert not drought.lasts(failed), "and it begins anew"
    clock.sleep(61)
    assert drought.lasts(failed)
    assert not drought.lasts(failed), "once, and then after as long again"
