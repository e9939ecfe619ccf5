"""What is true for every driver, as tests that each driver's own tests inherit (it needs pytest):

    class TestMine(DriverContract):
        @pytest.fixture
        def driver(self): ...       # one computer of an account
        @pytest.fixture
        def elsewhere(self): ...    # another computer of the same account
        @pytest.fixture
        def clock(self): ...        # real, or the one that a cloud in memory goes by

The other members may be overridden where a driver's jobs are written differently.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import msgspec
import pytest

from ..drivers import registry
from ..drivers.base import Driver, Resource
from ..engine import apply, watch
from ..engine.clock import Clock
from ..engine.plan import Plan, plan
from ..errors import NoOffer, SpecError, Stale, Unavailable, Unsupported
from ..model import ids
from ..model.hardware import SIZES, WORDS
from ..model.spec import Need, Process, TaskSpec
from ..model.state import ALIVE, ENDED, Cursor, Handle, LogLine, Observation
from ..store.base import Store
from ..store.records import Records

OWNER = f"contract-{os.getpid()}"
"""Not the same in two runs side by side: machines of one computer are told apart by their task alone."""
SAID = "".join(f"line {number}\n" for number in range(1, 21))


class RealClock:
    """Wall time."""

    def now(self) -> float:
        """Epoch seconds."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Really."""
        time.sleep(seconds)


Make = Callable[[TaskSpec], Plan]


class DriverContract:
    """The suite."""

    pace = 0.05
    """Seconds between two looks while something is waited for."""
    patience = 30.0
    """Seconds, by the driver's clock, after which what was waited for is taken as failed."""

    @pytest.fixture
    def driver(self) -> Driver:
        """One computer of an account."""
        raise NotImplementedError

    @pytest.fixture
    def elsewhere(self) -> Driver:
        """Another computer of the same account."""
        raise NotImplementedError

    @pytest.fixture
    def clock(self) -> Clock:
        """The time that the driver's machines go by."""
        return RealClock()

    def task(self, driver: Driver, clock: Clock, process: Process, name: str = "one") -> TaskSpec:
        """A task of the driver that runs a process in a place of its own."""
        return TaskSpec(
            id=ids.identifier(OWNER, name), name=name, owner=OWNER, kind="job", created=clock.now(), on=driver.name,
            processes=(process,), source="/contract",
        )  # fmt: skip

    def job(self, driver: Driver, clock: Clock, name: str = "one") -> TaskSpec:
        """It says `SAID` on standard output and ends by itself, well."""
        words = "i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo line $i; sleep 0.03; done"
        return self.task(driver, clock, Process(name="job", argv=("sh", "-c"), args=(words,)), name)

    def server(self, driver: Driver, clock: Clock, name: str = "one") -> TaskSpec:
        """It says `SAID` and goes on until it is stopped."""
        words = "i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo line $i; done; exec sleep 1000"
        return self.task(driver, clock, Process(name="job", argv=("sh", "-c"), args=(words,)), name)

    def running(self, handle: Handle) -> int:
        """How many processes or machines there are of a task, told by other means than the driver's."""
        raise NotImplementedError

    @pytest.fixture
    def make(self, driver: Driver, clock: Clock) -> Iterator[Make]:
        """Plans and creates a task; it is destroyed afterwards."""
        made: list[Plan] = []

        def create(spec: TaskSpec) -> Plan:
            planned = plan(driver, spec)
            made.append(planned)
            apply.create(planned.resources, clock)
            self.fill(planned)
            return planned

        yield create
        for planned in made:
            with suppress(Exception):
                watch.stop(driver, planned.handle, clock, self.pace)
            apply.destroy(planned.resources, clock)

    def fill(self, planned: Plan) -> None:
        """What a machine needs in the store before it starts: nothing where the task brings no files."""

    def until(self, driver: Driver, planned: Plan, clock: Clock, state: str) -> Observation:
        """Wait for a state; fail when another end comes first, or none within `patience`."""
        limit = clock.now() + self.patience
        for seen in watch.watch(driver, planned.handle, clock, lambda seen: seen.state == state, self.pace):
            ended = seen.state in ENDED and seen.state != state
            assert not ended, f"{seen.state} ({seen.reason}) instead of {state}"
            assert clock.now() < limit, f"still {seen.state} instead of {state}"
        return seen

    # --- what there is ----------------------------------------------------------------------------------------

    def test_check_tells_with_hints_and_changes_nothing(self, driver: Driver) -> None:
        findings = driver.check()
        assert findings
        assert all(one.what for one in findings)
        assert all(one.hint for one in findings if not one.ok)
        assert list(driver.find(OWNER)) == []

    def test_offers_come_cheapest_first_and_say_where_the_price_is_from(self, driver: Driver) -> None:
        offers = driver.offers(Need())
        prices = [offer.usd_per_hour for offer in offers]
        assert offers
        assert prices == sorted(prices)
        assert all(offer.driver == driver.name and offer.machine and offer.region for offer in offers)
        assert all(offer.price.source for offer in offers if offer.price)
        if "billed" in driver.features:
            assert min(prices) > 0
            assert all(offer.price.date for offer in offers if offer.price)

    @pytest.mark.parametrize("word", WORDS)
    def test_every_generic_size_maps(self, driver: Driver, word: str) -> None:
        try:
            offers = driver.offers(Need(machine=word))
        except NoOffer as error:
            assert "+" in word, "a size without a GPU is to be had everywhere"
            assert error.hint, "a GPU that the cloud does not have is answered with one that it has"
            return
        assert offers
        if "gpus" in driver.features:
            assert {offer.gpu.lower() for offer in offers} == {word.partition("+")[2]}
        else:
            assert "gpu" not in word or offers[0].notes

    def test_bigger_sizes_are_bigger(self, driver: Driver) -> None:
        found = [driver.offers(Need(machine=size))[0] for size in SIZES]
        assert [offer.cpus for offer in found] == sorted(offer.cpus for offer in found)
        assert [offer.usd_per_hour for offer in found] == sorted(offer.usd_per_hour for offer in found)

    @pytest.mark.parametrize("word", ["huge", "m+t5", "t4", "m+", "-", "m t4"])
    def test_a_word_for_no_machine_is_refused(self, driver: Driver, word: str) -> None:
        with pytest.raises(SpecError) as caught:
            driver.offers(Need(machine=word))
        assert caught.value.hint

    def test_terms_are_met_or_said_to_have_no_meaning(self, driver: Driver) -> None:
        need = Need(spot=True, gpu="T4:1", region=driver.offers(Need())[0].region, image="ubuntu", disk=100.0)
        offer = driver.offers(need)[0]
        said = " ".join(offer.notes)
        assert ("spot" in driver.features and offer.spot) or "--spot" in said
        assert ("gpus" in driver.features and offer.gpu == "T4") or "--gpu" in said
        assert "regions" in driver.features or "--region" in said
        assert len(offer.notes) <= 1

    # --- what is refused before anything leaves ---------------------------------------------------------------

    def test_what_is_not_claimed_is_refused(self, driver: Driver, clock: Clock) -> None:
        spec = self.job(driver, clock)
        unclaimed: dict[str, dict[str, object]] = {
            "parallelism": {"parallelism": 2},
            "in-place": {"workdir": "/somewhere"},
        }
        for feature, change in unclaimed.items():
            wanted = msgspec.structs.replace(spec, **change)
            if feature in driver.features:
                assert plan(driver, wanted).resources
            else:
                with pytest.raises(Unsupported) as caught:
                    plan(driver, wanted)
                assert caught.value.hint
        assert list(driver.find(OWNER)) == []

    # --- resources --------------------------------------------------------------------------------------------

    def test_resources_are_pure(self, driver: Driver, elsewhere: Driver, clock: Clock) -> None:
        spec = self.job(driver, clock)
        offer = driver.offers(spec.need)[0]
        first, second, third = (
            [(one.kind, one.name) for one in found]
            for found in (
                driver.resources(spec, offer), elsewhere.resources(spec, offer), driver.resources(spec, None),
            )
        )  # fmt: skip
        assert first == second == third
        assert len(set(first)) == len(first)
        assert list(driver.find(OWNER)) == []
        assert not any(one.read() for one in driver.resources(spec, offer))

    def test_exactly_one_resource_is_the_store_and_comes_first(self, driver: Driver, clock: Clock, make: Make) -> None:
        planned = make(self.job(driver, clock))
        stores = [one for one in planned.resources if one.kind == "store"]
        assert stores == [planned.resources[0]], "what is made later has its record there"
        store = Store(stores[0].name)
        assert Records(store).spec() == planned.spec
        assert planned.handle.store == stores[0].name

    def test_creating_twice_and_deleting_twice_are_fine(self, driver: Driver, clock: Clock, make: Make) -> None:
        planned = make(self.job(driver, clock))
        for one in planned.resources:
            one.create()
        for one in driver.resources(planned.spec, planned.offer):
            one.create()  # by another process that had the same idea
        assert len(driver.find(OWNER)) == 1
        for _ in range(2):
            for one in reversed(planned.resources):
                one.delete()
        assert_gone(driver, planned.resources)

    def test_a_name_that_is_taken_is_not_taken_over(self, driver: Driver, clock: Clock, make: Make) -> None:
        planned = make(self.job(driver, clock))
        other = msgspec.structs.replace(planned.spec, source="/somewhere/else")
        with pytest.raises(Stale):
            driver.resources(other, planned.offer)[0].create()
        assert driver.find(OWNER)[0].spec == planned.spec

    # --- finding ----------------------------------------------------------------------------------------------

    def test_what_one_computer_makes_another_finds(
        self, driver: Driver, elsewhere: Driver, clock: Clock, make: Make
    ) -> None:
        planned = make(self.job(driver, clock))
        make(self.job(driver, clock, "two"))
        found = {record.handle.id: record for record in elsewhere.find(OWNER)}
        assert len(found) == 2
        mine = found[planned.spec.id]
        assert mine.handle == planned.handle
        assert mine.spec == planned.spec
        assert msgspec.json.decode(msgspec.json.encode(mine.handle), type=type(mine.handle)) == mine.handle
        assert list(elsewhere.find("somebody-else")) == []

    # --- the life of a machine --------------------------------------------------------------------------------

    def test_a_job_from_before_its_creation_to_after_its_end(self, driver: Driver, clock: Clock, make: Make) -> None:
        spec = self.job(driver, clock)
        handle = plan(driver, spec).handle
        assert driver.observe(handle).state == "gone"
        planned = make(spec)
        assert driver.observe(handle) == Observation(state="pending")
        driver.scale(handle, 1, None)
        assert driver.observe(handle).state in ALIVE
        seen = self.until(driver, planned, clock, "succeeded")
        assert [machine.exit_code for machine in seen.machines] == [0]
        assert all(machine.ended and machine.started and machine.ended > machine.started for machine in seen.machines)
        assert seen.machine_seconds > 0
        assert driver.observe(handle).machine_seconds == seen.machine_seconds, "an ended machine costs no more"
        assert watch.stop(driver, handle, clock, self.pace).state == "succeeded"
        apply.destroy(planned.resources, clock)
        assert driver.observe(handle).state == "gone"
        assert driver.scale(handle, 0, None) == handle

    def test_what_was_seen_when_it_was_found_is_what_a_look_tells(
        self, driver: Driver, elsewhere: Driver, clock: Clock, make: Make
    ) -> None:
        def agree() -> None:
            (record,) = elsewhere.find(OWNER)
            seen = driver.observe(record.handle)
            assert shown(record.seen or seen) == shown(seen)

        planned = make(self.job(driver, clock))
        agree()
        driver.scale(planned.handle, 1, clock.now() + 5000)
        agree()
        self.until(driver, planned, clock, "succeeded")
        agree()
        (record,) = elsewhere.find(OWNER)
        ended = driver.observe(planned.handle)
        assert record.seen is None or record.seen.machine_seconds == ended.machine_seconds
        watch.stop(driver, planned.handle, clock, self.pace)
        agree()

    def test_scaling_is_idempotent(self, driver: Driver, elsewhere: Driver, clock: Clock, make: Make) -> None:
        planned = make(self.server(driver, clock))
        for computer in (driver, elsewhere, driver):
            assert computer.scale(planned.handle, 1, None) == planned.handle
        seen = self.until(driver, planned, clock, "running")
        assert len(seen.machines) == 1
        driver.scale(planned.handle, 1, None)
        again = driver.observe(planned.handle)
        assert [one.id for one in again.machines] == [one.id for one in seen.machines]
        assert self.running(planned.handle) > 0
        for computer in (driver, elsewhere):
            computer.scale(planned.handle, 0, None)
        seen = self.until(driver, planned, clock, "stopped")
        assert self.running(planned.handle) == 0
        driver.scale(planned.handle, 0, None)
        assert driver.observe(planned.handle).state == "stopped"

    def test_a_stopped_task_starts_again_with_a_new_machine(self, driver: Driver, clock: Clock, make: Make) -> None:
        planned = make(self.server(driver, clock))
        ids_seen = []
        for _ in range(2):
            driver.scale(planned.handle, 1, None)
            seen = self.until(driver, planned, clock, "running")
            ids_seen.append(seen.machines[0].id)
            seen = watch.stop(driver, planned.handle, clock, self.pace)
        assert len(seen.machines) == 1, "of the latest start only"
        assert len(set(ids_seen)) == 2
        second = seen.machines[0]
        assert second.started is not None
        assert second.ended is not None
        assert seen.machine_seconds > second.ended - second.started, "both starts count"

    def test_the_deadline_is_seen_and_moved(self, driver: Driver, clock: Clock, make: Make) -> None:
        planned = make(self.server(driver, clock))
        deadline = clock.now() + 5000
        driver.scale(planned.handle, 1, deadline)
        self.until(driver, planned, clock, "running")
        assert driver.observe(planned.handle).deadline == deadline
        machines = driver.observe(planned.handle).machines
        driver.scale(planned.handle, 1, deadline + 1000)
        seen = driver.observe(planned.handle)
        assert seen.deadline == deadline + 1000
        assert [one.id for one in seen.machines] == [one.id for one in machines]
        driver.scale(planned.handle, 1, None)
        assert driver.observe(planned.handle).deadline is None

    def test_the_deadline_ends_the_machine_with_nobody_watching(self, driver: Driver, clock: Clock, make: Make) -> None:
        planned = make(self.server(driver, clock))
        driver.scale(planned.handle, 1, None)
        self.until(driver, planned, clock, "running")
        driver.scale(planned.handle, 1, clock.now() + 1)
        seen = self.until(driver, planned, clock, "failed")
        assert seen.machines[0].error == "LimitReached"
        assert "deadline" in seen.reason
        assert self.running(planned.handle) == 0

    # --- logs -------------------------------------------------------------------------------------------------

    def test_logs_resume_at_every_cursor_and_outlive_the_machine(
        self, driver: Driver, elsewhere: Driver, clock: Clock, make: Make
    ) -> None:
        planned = make(self.job(driver, clock))
        handle, cursor = planned.handle, Cursor()
        assert list(driver.logs(handle, cursor)) == []
        driver.scale(handle, 1, None)
        live: list[tuple[LogLine, Cursor]] = []
        for _ in watch.watch(driver, handle, clock, watch.is_over, self.pace):
            new = list(driver.logs(handle, cursor))
            live += new
            cursor = new[-1][1] if new else cursor
        live += driver.logs(handle, cursor)
        whole = list(elsewhere.logs(handle, Cursor()))
        assert text_of(live) == text_of(whole) == SAID
        driver.scale(handle, 0, None)
        for number, (_, place) in enumerate(whole):
            kept = msgspec.json.decode(msgspec.json.encode(place), type=Cursor)
            assert [line for line, _ in elsewhere.logs(handle, kept)] == [line for line, _ in whole[number + 1 :]]

    def test_logs_of_two_starts_follow_each_other(self, driver: Driver, clock: Clock, make: Make) -> None:
        planned = make(self.server(driver, clock))
        seen = []
        cursor = Cursor()
        for _ in range(2):
            driver.scale(planned.handle, 1, None)
            self.until(driver, planned, clock, "running")
            watch.stop(driver, planned.handle, clock, self.pace)
            new = list(driver.logs(planned.handle, cursor))
            cursor = new[-1][1]
            seen.append(text_of(new))
        assert seen == [SAID, SAID]

    def test_logs_of_nothing_are_empty(self, driver: Driver, clock: Clock) -> None:
        handle = plan(driver, self.job(driver, clock)).handle
        assert list(driver.logs(handle, Cursor())) == []
        assert driver.observe(handle).state == "gone", "asking must not make it"

    # --- safety and the end -----------------------------------------------------------------------------------

    def test_a_secret_lies_nowhere_but_in_private(self, driver: Driver, clock: Clock, make: Make) -> None:
        spec = msgspec.structs.replace(self.job(driver, clock), secrets=("API_KEY",))
        planned = make(spec)
        store = Store(planned.handle.store)
        Records(store).put_secret("env", '{"API_KEY": "s3cr3t-value"}')
        driver.scale(planned.handle, 1, None)
        self.until(driver, planned, clock, "succeeded")
        keys = [entry.key for entry in store.entries()]
        assert "task.json" in keys
        assert [key for key in keys if b"s3cr3t-value" in store.get(key)] == ["private/env"]

    def test_nothing_is_reached_from_outside(self, driver: Driver, clock: Clock, make: Make) -> None:
        planned = make(self.job(driver, clock))
        try:
            end = driver.reach(planned.handle, 4321)
        except Unavailable:
            return  # there is no machine yet
        assert end.how in ("loopback", "ssh")
        assert end.how == "loopback" or "ssh" in driver.features
        assert end.how != "loopback" or end.host == "127.0.0.1"
        assert end.port

    def test_nothing_is_left_of_a_running_task_that_is_destroyed(
        self, driver: Driver, elsewhere: Driver, clock: Clock, make: Make
    ) -> None:
        planned = make(self.server(driver, clock))
        driver.scale(planned.handle, 1, None)
        self.until(driver, planned, clock, "running")
        # By another computer, which knows no more than the names.
        assert apply.destroy(elsewhere.resources(planned.spec, None), clock) == []
        assert self.running(planned.handle) == 0
        assert_gone(driver, planned.resources)
        assert driver.observe(planned.handle).state == "gone"
        assert list(driver.logs(planned.handle, Cursor())) == []

    def test_the_machine_has_its_side(self, driver: Driver) -> None:
        side = registry.load_machine(driver.name)
        assert isinstance(side.identity(), str)
        assert side.notice() is None


def shown(seen: Observation) -> tuple[object, ...]:
    """What a list shows."""
    return seen.state, seen.reason, [(one.id, one.rank, one.state, one.exit_code) for one in seen.machines]


def text_of(lines: list[tuple[LogLine, Cursor]]) -> str:
    """What the process wrote to its standard output."""
    return "".join(line.text + line.end for line, _ in lines if line.stream == "out")


def assert_gone(driver: Driver, resources: tuple[Resource, ...]) -> None:
    """Neither found nor there."""
    assert list(driver.find(OWNER)) == []
    assert [one.name for one in resources if one.read()] == []
