"""A workspace on EC2: the same page at the same address, whatever happens to the machine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import expect

from lofty.store.states import Lease
from tests.browser.conftest import run_cell
from tests.cloudbox.cloud import Cloudbox
from tests.cloudbox.network import GATEWAY
from tests.conftest import Lofty, browser, eventually
from tests.e2e.support import Workspace, write_notebook

pytestmark = [pytest.mark.cloudbox, pytest.mark.timeout(400)]


JOB = """
import os
print(os.environ["LOFTY_RANK"])
open("out.txt", "w").write("made")
raise SystemExit(3)
"""
MOST_REQUESTS = 45
"""Of the machine until it serves; each is a way there and back that a person waits for."""


def before_it_served(cloud: Cloudbox, task: str) -> list[tuple[str, str]]:
    """The machine's own requests, by name and key, until it recorded what it runs, which comes after the first answer
    of Jupyter. Its files' watcher, which has begun by then, is left out: it asks beside."""
    person = next(call.key for call in cloud.calls if call.name == "s3:CreateBucket")
    found = []
    for call in cloud.calls:
        key = str(call.params.get("Key") or "")
        if key.endswith("/environment.txt"):
            break
        if call.key != person and "/files/HEAD" not in key:
            found.append((call.name, key.removeprefix(f"tasks/{task}/")))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    (made / "data.csv").write_text("a,b\n1,2\n")
    return made


def test_a_machine_is_lost_and_the_page_is_not(cloud: Cloudbox, person: Lofty, folder: Path) -> None:
    done = person("lab", folder, "-d", "--json", "--spot", "--machine", "m", "--timings", timeout=200)
    assert done.code == 0, done.err
    facts = done.json()
    spent = facts["timings"]
    stages = ["create", "machine", "agent", "files", "environment", "jupyter", "reach"]
    assert list(spent) == [*stages, "other", "total", "own"]
    assert min(spent.values()) > 0
    assert spent["own"] == pytest.approx(spent["total"] - spent["machine"], abs=0.01)
    asked = before_it_served(cloud, facts["id"])
    assert sum(name == "s3:GetObject" and "bundle" in key for name, key in asked) == 1
    assert len(asked) <= MOST_REQUESTS, asked
    assert (facts["on"], facts["region"], facts["state"]) == ("aws", "us-east-1", "running")
    workspace = Workspace(facts)
    kernel = workspace.kernel()
    assert kernel.run("print(open('data.csv').read())") == "a,b\n1,2\n\n"
    kernel.run("open('made.txt', 'w').write('on the machine')")
    (first,) = cloud.machines()
    assert (first.market, first.type in facts["machine"]) == ("spot", True)
    assert person.ok("ssh", "work", "--", "cat work/data.csv").out == "a,b\n1,2\n"
    eventually(lambda: person.ok("pull", "work") and (folder / "made.txt").exists(), 20)

    # The cloud takes the machine, with a notice. Another one takes its place; nobody here does anything.
    kernel.start("import time\ntry:\n    time.sleep(600)\nfinally:\n    open('saved.txt', 'w').write('in time')")
    cloud.machine(first.id).notice(20)  # 120 on the real service, 30 on the shortest
    eventually(lambda: [one.id for one in cloud.machines() if one.state == "running"] not in ([], [first.id]), 60)
    eventually(lambda: workspace.answers(), 120)
    again = json.loads(person.ok("url", "work", "--json").out)
    assert again["url"] == workspace.url
    kernel = workspace.kernel()
    assert kernel.run("print(open('made.txt').read())") == "on the machine\n"
    assert kernel.run("print(open('saved.txt').read())") == "in time\n", "a cell that ran was told"

    person.ok("stop", "work", timeout=120)
    assert [one for one in cloud.machines() if one.state == "running"] == []
    (listed,) = person.ok("ls", "--json").json()
    assert (listed["state"], listed["url"]) == ("stopped", None)
    began = time.monotonic()
    assert Workspace(person.ok("start", "work", "--json", timeout=200).json()).url == workspace.url
    print(f"started again in {time.monotonic() - began:.1f} s")
    assert workspace.answers()
    person.ok("down", "work", "-y", timeout=120)
    assert person.ok("ls", "--json").json() == []


def test_a_job_brings_its_outputs_and_ends_its_machine(cloud: Cloudbox, person: Lofty, folder: Path) -> None:
    (folder / "job.py").write_text(JOB)
    done = person("run", folder / "job.py", cwd=folder, timeout=200)
    assert (done.code, done.out) == (3, "0\n"), done.err
    assert (folder / "out.txt").read_text() == "made"
    eventually(lambda: not [one for one in cloud.machines() if one.state == "running"], 60)
    person.ok("down", "job-1", "-y", timeout=120)


def test_the_machine_of_a_failed_job_can_be_looked_at(
    cloud: Cloudbox, person: Lofty, folder: Path, tmp_path: Path
) -> None:
    (folder / "job.py").write_text(JOB)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    colleague = tmp_path / "key.pub"
    asked = ("--keep-on-error", "--ssh-keys", colleague, "--json")
    done = person("run", folder / "job.py", *asked, cwd=folder, timeout=200)
    assert done.code == 3, done.err
    facts = done.json()
    assert (facts["state"], facts["machines"][0]["kept"]) == ("failed", True)
    assert "lofty ssh job-1" in facts["reason"]
    assert facts["time_left"] > 3600
    assert person.ok("ssh", "job-1", "--", "cat job-1/out.txt").out == "made"
    assert [one.state for one in cloud.machines()] == ["running"]
    # A colleague whose key was named gets in from the same network, without lofty.
    (machine,) = cloud.machines()
    user = person.ok("ssh", "job-1", "--", "whoami").out.strip()
    options = [f"-oIdentityFile={tmp_path}/key", "-oStrictHostKeyChecking=no", "-oUserKnownHostsFile=/dev/null"]
    line = ["ssh", "-Fnone", *options, f"{user}@{machine.public}", "cat job-1/out.txt"]
    there = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert there.stdout == "made", there.stderr
    began = time.monotonic()
    person.ok("down", "job-1", "-y", timeout=120)
    print(f"down after {time.monotonic() - began:.1f} s")
    assert [one.state for one in cloud.machines()] == ["terminated"]


RANKS = """
import os
rank = os.environ["LOFTY_RANK"]
print(f"{rank} of {os.environ['LOFTY_SIZE']}")
open(f"hosts{rank}.txt", "w").write(os.environ["LOFTY_HOSTS"])
open(f"out{rank}.txt", "w").write(rank)
raise SystemExit(4 * int(rank))
"""


def test_two_machines_do_a_job_together(cloud: Cloudbox, person: Lofty, folder: Path) -> None:
    (folder / "ranks.py").write_text(RANKS)
    done = person("run", folder / "ranks.py", "-n", "2", "--json", cwd=folder, timeout=200)
    assert done.code == 4, done.err
    facts = done.json()
    assert [(one["rank"], one["exit_code"]) for one in facts["machines"]] == [(0, 0), (1, 4)]
    assert sorted(person.ok("logs", "ranks-1").out.splitlines()) == ["0 of 2", "1 of 2"]
    assert {path.name: path.read_text() for path in folder.glob("out*")} == {"out0.txt": "0", "out1.txt": "1"}
    places = [one.private for one in cloud.machines()]
    told = {path.read_text() for path in folder.glob("hosts*.txt")}
    assert [sorted(one.split(",")) for one in told] == [sorted(places)], "and both see the same order"
    person.ok("down", "ranks-1", "-y", timeout=120)


AGAIN = """
import os, time
if "LOFTY_RESTART" in os.environ:
    print("again", os.environ["LOFTY_RESTART"], open("progress.txt").read())
    raise SystemExit(7)
open("progress.txt", "w").write("half way")
print("first", flush=True)
time.sleep(600)
"""


def test_a_job_whose_machine_is_taken_begins_again_with_its_files(cloud: Cloudbox, person: Lofty, folder: Path) -> None:
    (folder / "again.py").write_text(AGAIN)
    person.ok("run", folder / "again.py", "-d", "--spot", "--machine", "m", cwd=folder, timeout=200)
    eventually(lambda: "first" in person.ok("logs", "again-1").out, 60)
    (first,) = cloud.machines()
    cloud.machine(first.id).notice(8)
    eventually(lambda: len(cloud.machines()) > 1, 60)
    assert "again 1 half way" in person.ok("logs", "-f", "again-1", timeout=200).out
    (listed,) = person.ok("ls", "--json").json()
    assert listed["state"] == "failed"
    assert [(one["id"], one["exit_code"]) for one in listed["machines"]] == [("0002.0", 7)]
    said = [line for line in person.ok("logs", "again-1").out.splitlines() if "takes the machine away" in line]
    assert len(said) == 1
    person.ok("down", "again-1", "-y", timeout=120)


WHOLE = os.environ.get("LOFTY_CAMPAIGN") == "1"
LEFT = 20.0
"""Seconds of a lease that are waited for in `make test`: more than another machine takes until it asks for it."""


def later(cloud: Cloudbox, task: str) -> float:
    """Let a machine that is gone have renewed its lease long ago, but for what is left of it; when it ends."""
    s3, key = cloud.client("s3"), f"states/{task}/0/lease"
    (bucket,) = (one["Name"] for one in s3.list_buckets()["Buckets"])
    held = msgspec.json.decode(s3.get_object(Bucket=bucket, Key=key)["Body"].read(), type=Lease)
    assert held.until > time.time() + LEFT, "it was held"
    if WHOLE:
        return held.until
    older = msgspec.structs.replace(held, until=time.time() + LEFT)
    s3.put_object(Bucket=bucket, Key=key, Body=msgspec.json.encode(older))
    return older.until


def test_a_browser_finds_the_page_again_after_the_power_failed(cloud: Cloudbox, person: Lofty, folder: Path) -> None:
    write_notebook(folder / "book.ipynb", "'a cell'")
    facts = person.ok("lab", folder, "-d", "--json", timeout=200).json()
    workspace = Workspace(facts)
    url = workspace.page("lab/tree/book.ipynb")
    with browser() as chromium:
        context = chromium.new_context(viewport={"width": 1280, "height": 800})
        page = context.new_page()
        page.goto(url)
        run_cell(page, "print(6*7)", "42")
        page.keyboard.press("Escape")
        page.keyboard.press("Control+s")
        eventually(lambda: person.ok("pull", "work") and "6*7" in (folder / "book.ipynb").read_text(), 20)

        (first,) = cloud.machines()
        began = time.monotonic()
        cloud.machine(first.id).cut()
        eventually(lambda: not workspace.answers(), 30)
        until = later(cloud, facts["id"])
        shown = page.goto(url)  # as somebody does whose page has stopped to answer
        assert shown is not None
        assert shown.status == 503
        expect(page.locator("h1")).to_contain_text("work")
        page.screenshot(path=folder.parent / "waiting.png")
        eventually(workspace.answers, 240)
        assert time.time() > until, "a lease runs out first"
        print(f"back after {time.monotonic() - began:.0f} s")
        assert [one.id for one in cloud.machines() if one.state == "running"] != [first.id]

        # The page that says so becomes the notebook by itself.
        run_cell(page, "print(6*7)", "42")
        page.screenshot(path=folder.parent / "again.png")
    assert person.ok("url", "work").out.strip().splitlines()[0].endswith(workspace.url)
    person.ok("down", "work", "-y", timeout=120)
    assert "6*7" in (folder / "book.ipynb").read_text()


def test_a_notebook_is_run_and_its_outputs_come_back(cloud: Cloudbox, person: Lofty, folder: Path) -> None:
    write_notebook(folder / "train.ipynb", "print(rate * 21)\nopen('model.bin', 'w').write('x')", parameters="rate = 1")
    done = person("run", folder / "train.ipynb", "-p", "rate=2", "--json", cwd=folder, timeout=200)
    assert done.code == 0, done.err
    executed = Path(done.json()["output"])
    outputs = json.loads(executed.read_text())["cells"][-1]["outputs"]
    assert (outputs[0]["text"], (folder / "model.bin").read_text()) == (["42\n"], "x")
    eventually(lambda: not [one for one in cloud.machines() if one.state == "running"], 60)
    person.ok("down", "train-1", "-y", timeout=120)


SEED = """#!/bin/bash
set -euo pipefail
pip3 install ${QUIET:+-q} jupyterlab notebook tensorboard setuptools
export JUPYTER_TOKEN="$(cat /proc/sys/kernel/random/uuid)"
mkdir -p "$HOME/tunnel"
pushd "$HOME/tunnel"
# A tunnel says where it leads; this one leads to the machine itself, since nobody may reach it here.
(python3 - <<TUNNEL
br = "\\n*=*=*=*=*=*=*=*=*=*=*=*=*\\n"
jupyter, board = "http://127.0.0.1:8888", "http://127.0.0.1:6006"
urls = [f"Jupyter Lab: {jupyter}/lab?token=$JUPYTER_TOKEN", f"Jupyter Notebook: {jupyter}/tree?token=$JUPYTER_TOKEN"]
text = br + br.join("URL: " + url for url in [*urls, f"TensorBoard: {board}"]) + br
open("new.md", "w").write(text)
__import__("os").rename("new.md", "log.md")
TUNNEL
) &
while test ! -f log.md; do sleep 1; done
cat log.md
popd

# start tensorboard in background
env -u JUPYTER_TOKEN -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY -u REPO_TOKEN \\
  tensorboard --logdir . --host 0.0.0.0 --port 6006 &

# start Jupyter server in foreground
env -u AWS_ACCESS_KEY_ID -u AWS_SECRET_ACCESS_KEY -u REPO_TOKEN \\
  jupyter lab --allow-root --ip=0.0.0.0 --no-browser --port=8888 --port-retries=0
"""
"""As people ran Jupyter with the predecessor: what the machine installs and starts is all in the script, and the log
is where its addresses are found."""


def test_a_script_that_installs_and_starts_jupyter_by_itself(cloud: Cloudbox, person: Lofty, folder: Path) -> None:
    (folder / "serve.sh").write_text(SEED)
    index = ("--env", f"PIP_INDEX_URL={cloud.index_url}", "--env", f"PIP_TRUSTED_HOST={GATEWAY}", "--env", "QUIET=1")
    made = person.ok("run", folder / "serve.sh", "-d", "--json", *index, cwd=folder, timeout=200).json()
    name = made["name"]

    def urls() -> list[str]:
        return re.findall("URL: .*: (http.+)", person.ok("logs", name).out)

    eventually(lambda: len(urls()) == 3, 180)
    for url in urls():
        asked = f"curl -sf -o /dev/null --retry 60 --retry-delay 1 --retry-connrefused -w '%{{http_code}}' '{url}'"
        assert person.ok("ssh", name, "--", asked, timeout=120).out == "200", url
    person.ok("down", name, "-y", timeout=200)
    assert [one for one in cloud.machines() if one.state == "running"] == []
