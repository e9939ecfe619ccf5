"""Jobs and their ends as a shell sees them: exit codes, signals, pipes, names, one JSON document."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..conftest import Lofty, eventually
from ..e2e.support import nothing_left, snapshot
from .conftest import Person


def script(person: Person, text: str, name: str = "job.sh") -> Path:
    path = person.folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "code"),
    [("exit 0", 0), ("exit 1", 1), ("exit 7", 7), ("exit 125", 125), ("kill -9 $$", 137), ("kill -TERM $$", 143),
     ("no-such-program-at-all", 127)],
)  # fmt: skip
def test_the_exit_code_is_the_jobs_own(person: Person, text: str, code: int) -> None:
    file = script(person, f"echo out; echo err >&2; {text}\n")
    result = person.lofty("run", file.name, cwd=person.folder)
    assert (result.code, result.out) == (code, "out\n"), result
    assert "err\n" in result.err
    assert "Traceback" not in result.err
    found = person.lofty("run", "--json", file.name, cwd=person.folder)
    assert found.code == code
    assert (found.json()["exit_code"], found.json()["state"]) == (code, "failed" if code else "succeeded")
    assert found.json()["error"] is None


def test_a_program_that_cannot_start(person: Person) -> None:
    file = script(person, "#!/no/such/interpreter\n", "tool")
    file.chmod(0o755)
    result = person.lofty("run", "tool", cwd=person.folder)
    assert result.code in (126, 127), result
    assert "tool" in result.err


def test_output_comes_through_byte_for_byte(person: Person) -> None:
    file = script(person, r"printf '10%%\r20%%\r\nbad \377 \303\251 no end \342\202'" + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "lofty", "run", file.name], cwd=person.folder, env=person.lofty.environ,
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done
    assert done.stdout.decode() == "10%\r20%\r\nbad \ufffd é no end \ufffd"


def test_ctrl_c_detaches_and_the_job_goes_on(person: Person) -> None:
    file = script(person, "echo started; sleep 2; echo finished\n")
    process = person.lofty.popen("run", file.name, cwd=person.folder, start_new_session=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "The job goes on" in err
    assert "lofty logs -f job-1" in err
    assert "Traceback" not in err
    assert person.lofty.ok("logs", "-f", "job-1").out == "started\nfinished\n"
    (job,) = person.lofty.ok("ls", "--json").json()
    assert (job["state"], job["machines"][0]["exit_code"]) == ("succeeded", 0)


def test_names_that_fit_none_or_several(person: Person) -> None:
    file = script(person, "exit 0\n")
    person.lofty.ok("run", file.name, cwd=person.folder)
    assert person.lofty.ok("logs", cwd=person.folder).code == 0
    person.lofty.ok("run", file.name, cwd=person.folder)
    for words, says in (
        (["logs"], "there are several: job-1, job-2"),
        (["logs", "job"], "'job' fits several: job-1, job-2"),
        (["stop", "jbo-1"], "unknown task 'jbo-1': did you mean 'job-1'?"),
        (["url", "job-1"], "there is no workspace 'job-1'"),
    ):
        result = person.lofty(*words)
        assert (result.code, result.out) == (2, "")
        assert says in result.err
        assert "  try: " in result.err
    refused = person.lofty("run", "--name", "job-1", file.name, cwd=person.folder)
    assert refused.code == 125
    assert "there is a task 'job-1' already" in refused.err
    assert "lofty down job-1" in refused.err
    everything = person.lofty("down", "--all")
    assert everything.code == 2
    assert "-y" in everything.err
    person.lofty.ok("down", "--all", "-y")
    nothing_left(person.lofty)


def test_json_is_one_document(person: Person) -> None:
    file = script(person, "echo talk; echo more >&2; sleep 0.3; exit 3\n")
    before = snapshot(person.folder)
    attached = person.lofty("run", "--json", file.name, cwd=person.folder)
    found = attached.json()
    assert attached.code == 3
    assert {"id", "state", "exit_code", "output", "error"} <= set(found)
    assert found["output"] is None
    detached = person.lofty.ok("run", "-d", "--json", file.name, cwd=person.folder).json()
    assert detached["exit_code"] is None
    eventually(lambda: person.lofty.ok("ls", "--json").json()[-1]["state"] == "failed")
    tasks = person.lofty.ok("ls", "--json").json()
    fields = {
        "id", "name", "kind", "state", "on", "region", "machine", "machines", "price_per_hour", "cost", "time_left",
    }  # fmt: skip
    assert all(fields <= set(task) for task in tasks)
    assert [task["time_left"] for task in tasks] == [None, None], "what is not known is null, never 0"
    lines = person.lofty.ok("logs", "-f", "--json", "job-1").out.splitlines()
    assert sorted(json.loads(line)["text"] for line in lines) == ["more", "talk"]
    assert isinstance(person.lofty.ok("logs", "--json", "job-1").json(), list)
    assert isinstance(person.lofty("check", "--json").json(), list)
    assert isinstance(person.lofty.ok("price", "--json").json(), list)
    assert person.lofty.ok("lab", "--dry-run", "--json", cwd=person.folder).json()["resources"]
    assert person.lofty.ok("run", "--dry-run", "--json", file.name, cwd=person.folder).json()["kind"] == "job"
    assert snapshot(person.folder) == before


def test_a_reader_that_has_seen_enough_is_no_error(person: Person) -> None:
    file = script(person, "for i in $(seq 5000); do echo a long line of output number $i; done\n")
    person.lofty.ok("run", "-d", file.name, cwd=person.folder)
    eventually(lambda: person.lofty.ok("ls", "--json").json()[0]["state"] == "succeeded")
    for words in ("ls", "logs", "logs --json", "logs -f", "--help", "lab --help", "price --json"):
        command = f"{sys.executable} -m lofty {words} | head -c 0; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(
            ["bash", "-c", command], env=person.lofty.environ, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), words


def test_a_deadline_is_an_end_with_its_own_reason(person: Person) -> None:
    file = script(person, "echo begun; exec sleep 100\n")
    began = time.monotonic()
    result = person.lofty("run", "--timeout", "2s", "--json", file.name, cwd=person.folder)
    assert time.monotonic() - began < 30
    found = result.json()
    assert found["state"] == "failed"
    assert found["error"]["kind"] == "LimitReached"
    assert "deadline" in found["error"]["message"]
    assert result.code != 0


@pytest.mark.parametrize("end", ["stop", "deadline", "kill"])
def test_what_did_not_end_by_itself_is_no_success(person: Person, end: str) -> None:
    """Even where the job, asked to end, says that all is well; the code is the one of lofty's own failures."""
    file = script(person, "trap 'exit 0' TERM; echo begun; while true; do sleep 0.05; done\n")
    words = ("--timeout", "2s") if end == "deadline" else ()
    with person.lofty.popen("run", *words, file.name, cwd=person.folder) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        (job,) = person.lofty.ok("ls", "--json").json()
        if end == "stop":
            person.lofty.ok("stop", "job-1")
        elif end == "kill":
            os.kill(job["machines"][0]["pid"], signal.SIGKILL)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 125, err
    assert "lofty: job-1 " in err
    assert "Traceback" not in err


def test_what_only_a_cloud_can_give_is_one_note(person: Person) -> None:
    file = script(person, "exit 0\n")
    words = ["--spot", "--region", "eu", "--gpu", "T4", "--disk", "20", "--image", "ubuntu", "--max-price", "1"]
    result = person.lofty.ok("run", *words, file.name, cwd=person.folder)
    (note,) = [line for line in result.err.splitlines() if line.startswith("note:")]
    assert all(word in note for word in words if word.startswith("--"))


def test_secrets_and_variables_reach_the_job_and_no_record(person: Person, lofty: Lofty) -> None:
    file = script(person, 'test "$KEY" = s3cr3t-value && echo "$MODE $OTHER"\n')
    result = lofty.ok(
        "run", "--secret", "KEY", "--env", "MODE=fast", "--env", "OTHER", file.name, cwd=person.folder,
        KEY="s3cr3t-value", OTHER="mine",
    )  # fmt: skip
    assert result.out == "fast mine\n"
    holding = [path for path in lofty.home.rglob("*") if path.is_file() and b"s3cr3t-value" in path.read_bytes()]
    assert [path.parent.name for path in holding] == ["private"]
    assert all(path.stat().st_mode & 0o077 == 0 or path.parents[1].stat().st_mode & 0o077 == 0 for path in holding)


def test_what_cannot_be_read_does_not_hide_the_rest(lofty: Lofty, tmp_path: Path) -> None:
    """A bill must not be invisible: the others are listed, the damaged one is named, and the exit code tells."""
    (tmp_path / "a.sh").write_text("exit 0\n")
    lofty.ok("run", "a.sh")
    broken = lofty.ok("run", "a.sh", "--json").json()
    status = lofty.home / "store" / broken["id"] / "machines" / "0001.0" / "status.json"
    status.write_text("{")
    listed = lofty("ls", "--json")
    assert listed.code == 3
    assert [one["name"] for one in listed.json()] == ["a-1"]
    assert "a-2" in listed.err
    (status.parent.parent.parent / "task.json").write_text("{")
    listed = lofty("ls", "--json")
    assert {(one["name"], one["kind"], one["on"]) for one in listed.json()} >= {("a-1", "job", "local")}
    refused = lofty("down", broken["id"])
    assert refused.code == 1
    assert "--discard" in refused.err
    lofty.ok("down", broken["id"], "--discard")
