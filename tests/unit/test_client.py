"""`lofty.Client` on a cloud in memory: every verb, and that nothing is left where something fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lofty import Client, Task
from lofty.api import Step
from lofty.errors import (
    Ambiguous,
    CapacityError,
    CloudError,
    Conflict,
    Forbidden,
    LoftyError,
    NotFound,
    SpecError,
    TaskFailed,
    UsageError,
)
from lofty.reach import loopback
from lofty.store import files
from lofty.store.base import Store
from lofty.testing import Cloud, FakeClock, Script

from .support import snapshot

NOTEBOOK = json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def cloud(tmp_path: Path, clock: FakeClock) -> Cloud:
    cloud = Cloud.at(str(tmp_path / "home"))
    cloud.now = clock.now
    return cloud


@pytest.fixture
def client(tmp_path: Path, cloud: Cloud, clock: FakeClock) -> Client:
    return computer(tmp_path, clock)


def computer(tmp_path: Path, clock: FakeClock) -> Client:
    """A terminal of the same account."""
    client = Client({
        "LOFTY_ON": "fake", "LOFTY_OWNER": "me", "LOFTY_HOME": str(tmp_path / "home"),
        "LOFTY_CACHE": str(tmp_path / "cache"), "PATH": "/usr/bin:/bin", "KEY": "s3cr3t",
    })  # fmt: skip
    vars(client)["clock"] = clock
    return client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "data.csv").write_text("1,2\n")
    (tmp_path / "project" / "train.py").write_text("print(1)\n")
    (tmp_path / "project" / "nb.ipynb").write_text(NOTEBOOK)
    return tmp_path / "project"


def left_in(tmp_path: Path) -> list[str]:
    """What lies in lofty's home."""
    return [path.name for path in (tmp_path / "home").rglob("*") if path.is_file()]


# --- workspaces -----------------------------------------------------------------------------------------------


def test_a_workspace_from_lab_to_down(client: Client, cloud: Cloud, folder: Path, tmp_path: Path) -> None:
    before = snapshot(folder)
    steps: list[Step] = []
    ws = client.lab(folder, progress=steps.append)
    assert (ws.name, ws.kind, ws.state) == ("project", "workspace", "running")
    assert ws.url is not None
    assert ws.url.startswith(f"http://127.0.0.1:{ws.spec.port}/project/lab?token=")
    assert all(ws.token in (url or "") for url in (ws.url, ws.notebook_url, ws.tensorboard_url))
    assert len(ws.token) >= 20
    assert [step.name for step in steps if step.moved is None][:2] == ["create", "create"]
    assert sorted(one.split()[0] for one in cloud.left) == ["group", "machine", "role", "store"]
    ws.stop()
    assert ws.state == "stopped"
    token, url = ws.token, ws.url
    ws.start()
    assert (ws.token, ws.url, ws.state) == (token, url, "running")
    ws.down()
    assert ws.state == "gone"
    assert cloud.left == []
    assert left_in(tmp_path) == []
    assert snapshot(folder) == before


def test_a_second_request_joins_the_first(
    client: Client, cloud: Cloud, folder: Path, tmp_path: Path, clock: FakeClock
) -> None:
    ws = client.lab(folder)
    for other in (client, computer(tmp_path, clock)):
        again = other.lab(folder)
        assert (again.handle, again.url, again.token) == (ws.handle, ws.url, ws.token)
    assert len([one for one in cloud.left if one.startswith("machine")]) == 1
    ws.stop()
    assert client.lab(folder).state == "running", "and starts it when it rests"


def test_the_same_name_for_something_else_is_refused(
    client: Client, cloud: Cloud, folder: Path, tmp_path: Path
) -> None:
    client.lab(folder, name="ws", timeout="2h")
    (tmp_path / "other").mkdir()
    count = len(cloud.left)
    for path, options in ((tmp_path / "other", {}), (folder, {"timeout": "3h"}), (folder, {"spot": True})):
        with pytest.raises(Conflict) as caught:
            client.lab(path, name="ws", **options)
        assert "ws" in str(caught.value)
        assert caught.value.hint
    with pytest.raises(Conflict):
        client.run(folder / "train.py", name="ws")
    assert len(cloud.left) == count


def test_where_machines_cost_money_nothing_runs_for_ever(client: Client, folder: Path, clock: FakeClock) -> None:
    ws = client.lab(folder)
    assert (ws.spec.timeout, ws.spec.idle) == (24 * 3600, 1800)
    assert ws.observe().deadline == pytest.approx(clock.now() + 24 * 3600, abs=120)
    free = client.lab(folder, name="free", timeout="none", idle="never")
    assert (free.spec.timeout, free.spec.idle) == (None, None)
    short = client.lab(folder, name="short", timeout="90")
    assert short.spec.timeout == 90


def test_the_deadline_moves(client: Client, folder: Path, clock: FakeClock) -> None:
    ws = client.lab(folder, timeout="1h")
    ws.extend("5h")
    assert ws.observe().deadline == clock.now() + 5 * 3600
    ws.extend(60)
    clock.sleep(61)
    assert ws.state == "stopped"
    with pytest.raises(UsageError, match="not running") as caught:
        ws.extend("1h")
    assert caught.value.hint == "lofty start project"
    with pytest.raises(SpecError):
        client.lab(folder).extend("soon")


def test_what_it_costs_is_known(client: Client, folder: Path, clock: FakeClock) -> None:
    ws = client.lab(folder, machine="m", spot=True)
    assert ws.spec.price is not None
    clock.sleep(3600 - ws.observe().machine_seconds)
    assert ws.spec.price.cost(ws.observe().machine_seconds) == pytest.approx(0.16 * 0.3)


# --- jobs -----------------------------------------------------------------------------------------------------


def test_a_job_from_run_to_down(client: Client, cloud: Cloud, folder: Path) -> None:
    cloud.script = Script(output=((1.0, "one\n"), (5.0, "two\r"), (6.0, "three")))
    job = client.run(folder / "train.py")
    assert (job.name, job.kind, job.url) == ("train-1", "job", None)
    assert "".join(line.text + line.end for line in job.logs(follow=True)) == "one\ntwo\rthree"
    assert job.wait() == 0
    assert job.state == "succeeded"
    assert client.run(folder / "train.py").name == "train-2"
    with pytest.raises(UsageError, match="has ended"):
        job.start()
    for task in client.tasks():
        task.down()
    assert cloud.left == []


def test_the_exit_code_is_the_jobs_own(client: Client, cloud: Cloud, folder: Path) -> None:
    cloud.script = Script(exit_code=7)
    job = client.run(folder / "train.py")
    assert job.wait() == 7
    assert job.state == "failed"
    assert client.get("train-1").wait() == 7


def test_waiting_can_be_bounded(client: Client, cloud: Cloud, folder: Path, clock: FakeClock) -> None:
    job = client.run(folder / "train.py")
    began = clock.now()
    assert job.wait(timeout=10) is None
    assert clock.now() - began < 15
    assert job.state == "running"


@pytest.mark.parametrize("ending", ["lost", "stopped", "deadline"])
def test_a_job_that_did_not_end_by_itself_has_no_exit_code(
    client: Client, cloud: Cloud, folder: Path, clock: FakeClock, ending: str
) -> None:
    job = client.run(folder / "train.py", timeout="40s")
    if ending == "lost":
        cloud.lose(job.handle.id)
    elif ending == "stopped":
        job.stop()
    assert job.wait() is None
    assert job.state == {"lost": "lost", "stopped": "stopped", "deadline": "failed"}[ending]


def test_several_machines_run_a_job_together(client: Client, cloud: Cloud, folder: Path) -> None:
    job = client.run(folder / "train.py", parallelism=3)
    assert job.wait() == 0
    assert [one.rank for one in job.observe().machines] == [0, 1, 2]


def test_parameters_that_are_no_options_go_to_the_notebook(client: Client, folder: Path) -> None:
    job = client.run(folder / "nb.ipynb", lr=0.1, epochs=3, parameters={"name": "x"}, name="fit")
    assert json.loads(job.spec.processes[0].files["parameters.json"]) == {"name": "x", "lr": 0.1, "epochs": 3}
    assert job.output == folder / "nb.executed.ipynb"


def test_files_go_there_and_outputs_come_back(client: Client, folder: Path, tmp_path: Path, clock: FakeClock) -> None:
    job = client.run(folder / "train.py")
    there = tmp_path / "there"
    machine = files.folder(there, Store(f"{job.handle.store}/files"), tmp_path / "m.db", side="machine")
    machine.sync()
    assert snapshot(there) == snapshot(folder)
    (there / "model.bin").write_bytes(b"\0\1")
    (there / "data.csv").write_text("theirs")
    (folder / "data.csv").write_text("mine")
    machine.sync()
    report = job.down()
    assert (folder / "model.bin").read_bytes() == b"\0\1"
    assert (folder / "data.csv").read_text() == "mine"
    [kept] = report.kept
    assert (kept.path, kept.side) == ("data.csv", "machine")
    assert (folder / kept.beside).read_text() == "theirs"


def test_another_computer_brings_files_only_where_it_is_told(
    client: Client, cloud: Cloud, folder: Path, tmp_path: Path, clock: FakeClock
) -> None:
    job = client.run(folder / "train.py")
    client.bindings.remove(job.handle.id)
    with pytest.raises(LoftyError, match="no directory here") as caught:
        job.down()
    assert "--to" in (caught.value.hint or "")
    assert len(cloud.left) >= 3, "kept and named, since outputs hang on it"
    (tmp_path / "fresh").mkdir()
    (tmp_path / "fresh" / "data.csv").write_text("mine")
    job.down(to=tmp_path / "fresh")
    assert (tmp_path / "fresh" / "data.csv").read_text() == "mine", "nothing of mine is overwritten"
    assert (tmp_path / "fresh" / "train.py").exists()
    assert cloud.left == []


def test_a_secret_goes_along_and_is_in_no_record(client: Client, folder: Path) -> None:
    job = client.run(folder / "train.py", secret=("KEY",), env=("MODE=fast",))
    store = Store(job.handle.store)
    assert json.loads(store.get("private/env")) == {"KEY": "s3cr3t"}
    assert job.spec.env == {"MODE": "fast"}
    assert [entry.key for entry in store.entries() if b"s3cr3t" in store.get(entry.key)] == ["private/env"]


# --- names ----------------------------------------------------------------------------------------------------


def test_names_that_fit_none_one_or_several(client: Client, folder: Path) -> None:
    with pytest.raises(NotFound, match="there is no task") as caught:
        client.get()
    assert caught.value.hint == "lofty lab"
    client.run(folder / "train.py")
    assert client.get().name == client.get("train-1").name == client.get("tr").name == "train-1"
    client.run(folder / "train.py")
    ws = client.lab(folder, name="train")
    with pytest.raises(Ambiguous, match="train, train-1, train-2"):
        client.get()
    with pytest.raises(Ambiguous, match="'train-' fits several: train-1, train-2"):
        client.get("train-")
    assert client.get("train").handle == ws.handle, "a whole name is meant before a beginning"
    assert client.get(kind="workspace").handle == ws.handle
    with pytest.raises(NotFound, match="did you mean 'train-1'"):
        client.get("trian-1")
    with pytest.raises(NotFound):
        client.get("train-1", kind="workspace")


def test_another_owner_sees_nothing(client: Client, folder: Path, tmp_path: Path, clock: FakeClock) -> None:
    client.lab(folder)
    other = computer(tmp_path, clock)
    other.owner = "somebody-else"
    assert other.tasks() == []
    assert other.lab(folder).handle.id != client.get().handle.id


# --- what fails leaves nothing --------------------------------------------------------------------------------

STEPS = [f"create {kind}" for kind in ("store", "role", "group")] + ["scale", "observe", "find"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", STEPS)
@pytest.mark.parametrize("fault", ["forbidden", "quota", "no-capacity", "broken"])
def test_a_fault_that_lasts_leaves_nothing(
    client: Client, cloud: Cloud, folder: Path, tmp_path: Path, fault: str, at: str, after: bool
) -> None:
    before = snapshot(folder)
    cloud.fail(fault, at, after=after and at not in ("observe", "find"))
    with pytest.raises(LoftyError) as caught:
        client.lab(folder)
    assert caught.value.hint
    assert cloud.left == []
    assert left_in(tmp_path) == []
    assert snapshot(folder) == before
    assert client.lab(folder).state == "running", "and the next try is as if nothing had been"


@pytest.mark.parametrize("at", [*STEPS, "offers"])
@pytest.mark.parametrize("fault", ["throttled", "unavailable"])
def test_a_fault_that_passes_is_not_noticed(client: Client, cloud: Cloud, folder: Path, fault: str, at: str) -> None:
    cloud.fail(fault, at, times=2)
    assert client.lab(folder).state == "running"


def test_what_could_not_be_removed_is_named(client: Client, cloud: Cloud, folder: Path) -> None:
    cloud.fail("no-capacity", "scale")
    cloud.fail("forbidden", "delete role", times=None)
    with pytest.raises(LoftyError, match="not everything could be removed: role") as caught:
        client.lab(folder)
    assert "lofty down project" in (caught.value.hint or "")
    cloud.heal()
    client.get("project").down(discard=True)
    assert cloud.left == []


def test_a_machine_that_is_lost_on_the_way_up_leaves_nothing(client: Client, cloud: Cloud, folder: Path) -> None:
    cloud.fail("machine-lost")
    with pytest.raises(TaskFailed, match="did not start"):
        client.lab(folder)
    assert cloud.left == []


def test_a_machine_that_never_gets_ready_is_ended_by_its_deadline(client: Client, cloud: Cloud, folder: Path) -> None:
    cloud.fail("never-ready")
    with pytest.raises(LoftyError):
        client.lab(folder, timeout="10m")
    assert cloud.left == []


def test_a_cloud_that_shows_things_late(client: Client, cloud: Cloud, folder: Path) -> None:
    cloud.fail("slow-to-appear")
    ws = client.lab(folder)
    assert ws.state == "running"
    ws.down()
    assert cloud.left == []


def test_ctrl_c_while_it_comes_up_detaches_and_what_runs_is_found(client: Client, cloud: Cloud, folder: Path) -> None:
    def press(step: Step) -> None:
        if step.name == "create" and step.seconds is not None:
            cloud.fail("interrupted", "observe")

    with pytest.raises(KeyboardInterrupt):
        client.lab(folder, progress=press)
    assert client.get("project").start().state == "running"


def test_ctrl_c_while_things_are_made_leaves_nothing(
    client: Client, cloud: Cloud, folder: Path, tmp_path: Path
) -> None:
    cloud.fail("interrupted", "create group", after=True)
    with pytest.raises(KeyboardInterrupt):
        client.lab(folder)
    assert cloud.left == []
    assert left_in(tmp_path) == []


def test_a_port_in_use_is_named_with_its_holder(client: Client, cloud: Cloud, folder: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(Conflict, match=rf"port {port} is in use by .*\(process \d+\)"):
            client.lab(folder, port=port)
    assert cloud.left == []


def test_nothing_fits_or_is_too_dear(client: Client, cloud: Cloud, folder: Path) -> None:
    for options in ({"max_price": 0.0001}, {"cpus": "999+"}):
        with pytest.raises(CapacityError):
            client.lab(folder, **options)
    assert cloud.left == []


def test_stopping_a_machine_that_does_not_listen_says_so(client: Client, cloud: Cloud, folder: Path) -> None:
    ws = client.lab(folder)
    cloud.fail("never-ends", times=None)
    with pytest.raises(LoftyError, match="does not end"):
        ws.stop()
    ws.down(discard=True)
    assert cloud.left == [], "what does not end in good order is taken away"


def test_check_tells_about_every_cloud_and_never_raises(client: Client, cloud: Cloud) -> None:
    cloud.fail("not-logged-in", "check")
    found = {on: finding for on, finding in client.check() if not finding.ok}
    assert "expired" in found["fake"].what
    assert found["fake"].hint


def test_offers_without_making_anything(client: Client, cloud: Cloud) -> None:
    offers = client.offers({"gpu": "T4"})
    assert offers
    assert all(offer.gpu == "T4" for offer in offers)
    assert cloud.left == []
    planned = client.plan_lab(".", {"machine": "m"})
    assert planned.offer.machine == "fake.m"
    assert cloud.left == []


def test_sweeping_removes_what_a_crash_left(client: Client, cloud: Cloud, folder: Path, clock: FakeClock) -> None:
    planned = client.plan_lab(folder, {})
    for one in planned.resources[:2]:
        one.create()
    running = client.run(folder / "train.py")
    clock.sleep(7200)
    would, _ = client.sweep(dry_run=True)
    assert len(would) == 1
    assert len(client.tasks()) == 2
    assert client.sweep()[0] == would
    assert [task.name for task in client.tasks()] == [running.name]


def test_a_record_that_cannot_be_read_is_listed_and_can_be_taken_down(
    client: Client, cloud: Cloud, folder: Path
) -> None:
    ws = client.lab(folder)
    Store(ws.handle.store).delete(["task.json"])
    (remains,) = client.tasks()
    assert (remains.kind, remains.name) == ("remains", ws.handle.id)
    with pytest.raises(LoftyError, match="cannot be read"):
        remains.down()
    remains.down(discard=True)
    assert cloud.left == []


def test_the_faults_are_the_clouds_own_words(client: Client, cloud: Cloud, folder: Path) -> None:
    cloud.fail("forbidden", "create role")
    with pytest.raises(Forbidden, match="create role"):
        client.lab(folder)
    cloud.fail("broken", "create role")
    with pytest.raises(CloudError):
        client.lab(folder)


def test_a_task_says_what_it_is(client: Client, folder: Path) -> None:
    assert repr(client.lab(folder)) == "<lofty workspace project>"
    assert isinstance(client.get(), Task)


# --- ports of this computer -----------------------------------------------------------------------------------


def test_a_port_stays_the_same_while_nobody_takes_it() -> None:
    import socket

    port = loopback.free_port("some-task")
    assert loopback.FIRST <= port < loopback.LAST
    assert loopback.free_port("some-task") == port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert not loopback.is_free(port)
        assert loopback.free_port("some-task") != port
        assert "(process " in loopback.holder(port)
    assert loopback.holder(port) == ""
