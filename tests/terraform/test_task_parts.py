"""The parts of `iterative_task`, each by itself: values in, values out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofty.errors import Conflict, Interrupted, LoftyError, SpecError
from lofty.model import ids
from lofty.model.state import Event, LogLine, Machine, State
from lofty.progress import Step
from lofty.store.files.ignore import Rules, only
from lofty.terraform.clients import environ_of, patience
from lofty.terraform.resource import Call
from lofty.terraform.task import environment, identity, results, storage, words
from lofty.terraform.task.journal import Entry, Journal, key_of, place_of

# --- identity ---


def test_names_have_the_predecessors_identifiers() -> None:
    assert identity.named("test").text == "tpi-test-3z4xlzwq-3u0vweb4"
    assert identity.named("Hello, World!").text == "tpi-hello-world-4dl8w653-5lubxln8"
    assert identity.named("tpi-test-3z4xlzwq-3u0vweb4") == identity.named("test")
    assert identity.parsed("tpi-test-3z4xlzwq-3u0vweb5") is None  # its check is another


@given(st.text(min_size=1, max_size=80))
def test_an_identifier_is_what_it_was_made_from_and_fits_everywhere(name: str) -> None:
    try:
        found = identity.named(name)
    except SpecError:
        assert not re.search(r"[a-z0-9]", name.lower())
        return
    assert identity.parsed(found.text) == found
    assert len(found.text) <= 50
    assert ids.check_name(found.task) == found.task
    assert len(ids.identifier("somebody", found.task)) <= 64 - 5  # a role of AWS has a region behind it


def test_tasks_of_one_run_are_told_apart() -> None:
    same = identity.of_run("12345", "key")
    assert same == identity.of_run("12345", "key")
    others = {identity.of_run("12345", "other"), identity.of_run("12345", "key", 1), identity.of_run("12346", "key")}
    assert len({same, *others}) == 4
    assert same.text.startswith("tpi-12345-")
    assert identity.run_of({"CI_PIPELINE_ID": "7", "GITHUB_RUN_ID": ""}) == "7"
    assert identity.run_of({"BITBUCKET_STEP_TRIGGERER_UUID": "{}"}) == ""


def test_what_is_fresh_is_nobodys() -> None:
    found = {identity.fresh() for _ in range(200)}
    assert len(found) == 200
    assert all(identity.parsed(one.text) == one and len(one.name) <= identity.NAME_LIMIT for one in found)


# --- environment ---

HERE = {
    "TOKEN": "t",
    "AB": "1",
    "AXB": "2",
    "B": "3",
    "CI": "true",
    "GITHUB_REF": "main",
    "REPO_TOKEN": "r",
    "HOME": "/",
}


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"K": "v"}, {"K": "v"}),
        ({"TOKEN": "", "MISSING": ""}, {"TOKEN": "t"}),
        ({"TOKEN": None}, {"TOKEN": "t"}),
        ({"A*B": ""}, {"AB": "1", "AXB": "2"}),
        ({"A?B": "", "[A]B": ""}, {}),  # * alone stands for others
        ({"CI": "mine"}, {"CI": "mine"}),
        ({"AB": "own", "A*": ""}, {"AB": "own", "AXB": "2"}),
    ],
)
def test_variables(asked: dict[str, str | None], found: dict[str, str]) -> None:
    automatic = {"TPI_TASK": "true", "TPI_REGION": "us-west", "TPI_MACHINE": "m+t4"}
    automatic |= {"CI": "true", "GITHUB_REF": "main", "REPO_TOKEN": "r"}
    assert environment.resolved(asked, HERE, "us-west", "m+t4") == automatic | found


def test_only_the_configuration_says_what_a_task_is() -> None:
    asked = {"LOFTY_SPOT": "1", "LOFTY_HOME": "/h", "LOFTY_INDEX_URL": "u", "PLUGIN_CLIENT_CERT": "c", "TERM": "x"}
    assert environ_of(asked) == {"LOFTY_HOME": "/h", "LOFTY_INDEX_URL": "u", "TERM": "x"}


def test_a_call_ends_by_ctrl_c_and_when_its_time_is_over() -> None:
    cancelled, now = threading.Event(), iter((0.0, 59.0, 61.0))
    watch = patience(Call(cancelled=cancelled, timeout=60), now=lambda: next(now))
    watch(Step("files"))
    with pytest.raises(LoftyError, match="it took longer than 1m") as error:
        watch(Step("files"))
    assert "timeouts" in str(error.value.hint)
    cancelled.set()
    with pytest.raises(Interrupted):
        watch(Step("files"))


# --- words ---


@pytest.mark.parametrize(
    ("said", "here"),
    [
        ("--machine p3.2xlarge", 'machine = "p3.2xlarge"'),
        ("--region us-east-1, or another --machine", 'region = "us-east-1", or another machine'),
        ("--gpu T4:1, or --gpu L4:1, which is faster", 'machine = "m+t4", or machine = "g6.xlarge", which is faster'),
        ("--max-price 0.1234, or a smaller --machine", "spot = 0.1234, or a smaller machine"),
        ("leave --spot and --max-price out", "leave spot and the price out"),
        ("--timeout 24h", "timeout = 86400"),
        ("raise --max-price or take a smaller machine", "raise the price or take a smaller machine"),
    ],
)  # fmt: skip
def test_what_is_said_at_a_terminal_is_said_in_a_configuration(said: str, here: str) -> None:
    assert words.in_configuration(said) == here


def test_clouds() -> None:
    assert words.driver("az", ["azure", "local"]) == "azure"
    assert words.driver("local", ["local"]) == "local"
    with pytest.raises(SpecError, match="did you mean 'aws'"):
        words.driver("awss", ["aws", "local"])


def test_a_permission_set_is_an_instance_profile() -> None:
    assert words.role_of("arn:aws:iam::123456789012:instance-profile/path/ml-runner") == "ml-runner"
    assert words.role_of("ml-runner") == "ml-runner"
    with pytest.raises(SpecError, match="is no instance profile"):
        words.role_of("a b")


# --- storage ---


def block(**said: object) -> list[dict[str, object]]:
    return [dict.fromkeys(("workdir", "output", "exclude", "container", "container_opts")) | said]


def test_what_comes_back() -> None:
    assert storage.of([]).bringing is None
    assert storage.of(block(workdir="a", output="")).bringing is None
    found = storage.of(block(workdir="a", output="./b//c/", exclude=["*.pyc"]))
    assert found.workdir == Path.cwd() / "a"
    assert found.bringing is not None
    assert (found.bringing.path, found.bringing.keep) == ("b/c", True)
    assert found.bringing.exclude == (*storage.ALWAYS, "/*.pyc")
    every = storage.of(block(workdir="a", output=".")).bringing
    assert every is not None
    assert every.path == ""


def test_where_files_lie() -> None:
    def url(container: str | None) -> str | None:
        return storage.of(block(container=container)).url("3z4xlzwq3u0vweb4")

    assert url(None) is None
    assert url("") is None
    assert url("mine") == url("mine/") == "s3://mine/3z4xlzwq3u0vweb4/data"
    assert url("mine/a/b/") == "s3://mine/a/b/data"
    assert url("mine/1% of?#") == "s3://mine/1%25%20of%3F%23/data"
    far = storage.of(block(container="mine", container_opts={"region": "eu-west-1"}))
    assert far.url("x") == "s3://mine/x/data?region=eu-west-1"


@pytest.mark.parametrize("odd", ["out", "a/b", "a b ", "[x]*", "\\back", "ünï/c d/#e", "!n", "-/."])
def test_only_a_part_is_meant(tmp_path: Path, odd: str) -> None:
    path = os.path.normpath(odd)
    rules = Rules(tmp_path, only(path), git=False)
    assert rules.excluded(path, folder=True) is None
    assert rules.excluded(f"{path}/deep/file", folder=False) is None
    for other in ("other", f"{path}x", "a/c", "a"):
        if not path.startswith(f"{other}/"):
            assert rules.excluded(other, folder=False) == "rule", other


# --- results ---


def machine(state: State, rank: int = 0) -> Machine:
    return Machine(id=f"0001.{rank}", rank=rank, state=state)


def test_counts() -> None:
    states: list[State] = ["pending", "starting", "running", "succeeded", "failed", "lost", "stopped"]
    assert results.status(map(machine, states)) == {"running": 2, "succeeded": 1, "failed": 3}
    assert results.status([machine("pending")]) == {}


def line(text: str, end: str = "\n", stream: str = "out", of: str = "0001.0", at: float = 0.0) -> LogLine:
    return LogLine(machine=of, time=at, stream=stream, text=text, end=end)  # type: ignore[arg-type]


def test_logs_have_the_predecessors_form() -> None:
    lines = [
        line("one", at=1_700_000_000.9),
        line("10%", "\r"),
        line("90%", "\r"),
        line("done"),
        line("be", "", at=5),
        line("gun"),
        line("mind", stream="sys"),
        line("windows\r"),
        line("elsewhere", of="0002.1"),
        line("left by a machine that is gone", of="0000.0"),
        line("no end", ""),
    ]
    first, second = results.logs(lines, ["0001.0", "0002.1"])
    assert first.splitlines() == [
        "2023-11-14T22:13:20Z one",
        "1970-01-01T00:00:00Z done",
        "1970-01-01T00:00:05Z begun",
        "1970-01-01T00:00:00Z lofty: mind",
        "1970-01-01T00:00:00Z windows",
        "1970-01-01T00:00:00Z no end",
    ]
    assert second == "1970-01-01T00:00:00Z elsewhere\n"


def test_a_long_log_keeps_both_ends() -> None:
    (text,) = results.logs((line(f"{number:0100}") for number in range(20_000)), ["0001.0"])
    assert len(text) < results.FIRST + results.LAST + 200
    assert (text.splitlines()[0][-3:], text.splitlines()[-1][-5:]) == ("000", "19999")
    assert text.count("characters are left out here; lofty logs shows them") == 1


def test_events() -> None:
    happened = [Event(time=0.0, code="interrupted", text="the cloud takes it away")]
    assert results.events(happened) == ["1970-01-01 00:00:00: interrupted\nthe cloud takes it away"]


# --- journal ---


def test_what_a_dead_process_began_is_gone_on_with(tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from lofty.terraform.task.journal import Journal
print(Journal(Path({str(tmp_path)!r})).begin("key", "place", lambda: ("first", "task-1")))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "first\n"
    journal, counter = Journal(tmp_path), iter(("second", "third", "fourth"))

    def new() -> tuple[str, str]:
        text = next(counter)
        return text, f"task-{text}"

    assert journal.begin("other", "place", new) == "second"
    assert journal.begin("key", "place", new) == "first"
    assert journal.begin("key", "place", new) == "third"  # ours, and at work: another task of the same kind
    journal.end("first")
    assert sorted(journal.entries()) == ["second", "third"]


def test_a_name_that_another_process_works_on_is_refused(tmp_path: Path) -> None:
    import msgspec
    import psutil

    parent = psutil.Process(os.getppid())
    entry = Entry(key="k", place="p", task="t", pid=parent.pid, birth=parent.create_time())
    (tmp_path / "terraform").mkdir()
    (tmp_path / "terraform" / "tpi-x.json").write_bytes(msgspec.json.encode(entry))
    with pytest.raises(Conflict, match="being made by another terraform"):
        Journal(tmp_path).begin("k", "p", lambda: ("tpi-x", "t"))


def test_places_and_keys(tmp_path: Path) -> None:
    assert place_of(tmp_path, {}) == f"{tmp_path}#default"
    (tmp_path / ".terraform").mkdir()
    (tmp_path / ".terraform" / "environment").write_text("blue")
    assert place_of(tmp_path, {}) == f"{tmp_path}#blue"
    assert place_of(tmp_path, {"TF_WORKSPACE": "red"}) == f"{tmp_path}#red"
    assert key_of("p", {"a": 1, "b": 2}) == key_of("p", {"b": 2, "a": 1}) != key_of("q", {"a": 1, "b": 2})
