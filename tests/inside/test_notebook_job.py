"""A notebook as a job: its output as it comes, its exit code, and what is left when it is cut short."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from .conftest import Starter, is_running, until

PYTHON = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
SLOW = "import time\nfor i in range(600):\n    print('tick', i, flush=True)\n    time.sleep(0.1)"


def notebook(path: Path, *cells: str | tuple[str, str], metadata: dict[str, Any] | None = None) -> Path:
    """Write a notebook; a cell is its source, or its source and a tag."""
    written = []
    for number, cell in enumerate(cells):
        source, *tags = (cell,) if isinstance(cell, str) else cell
        fixed: dict[str, Any] = {"cell_type": "code", "id": f"c{number}", "outputs": [], "execution_count": None}
        written.append({**fixed, "metadata": {"tags": tags}, "source": source})
    metadata = PYTHON if metadata is None else metadata
    document = {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": written}
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


class Job:
    """One run of notebook_job.py in a directory of its own."""

    def __init__(self, starter: Starter) -> None:
        self.starter = starter
        self.directory = starter.root
        self.input = starter.root / "in.ipynb"
        self.output = starter.root / "out.ipynb"
        self.progress_file = starter.root / "progress.json"

    def start(self, *options: str | Path, output: Path | None = None, **popen: Any) -> subprocess.Popen[bytes]:
        """Start the job; what it prints is in `out` and `err`."""
        arguments = [self.input, output or self.output, "--progress", self.progress_file, *options]
        with (self.directory / "err").open("wb") as err:
            options_ = {"stderr": err, "cwd": self.directory, **popen}
            return self.starter.start("notebook_job.py", *arguments, log=self.directory / "out", **options_)

    def run(self, *options: str | Path, **popen: Any) -> int:
        """Run the job to its end and return the exit code."""
        return self.start(*options, **popen).wait(60)

    @property
    def out(self) -> str:
        return (self.directory / "out").read_text()

    @property
    def err(self) -> str:
        return (self.directory / "err").read_text()

    @property
    def progress(self) -> Any:
        return json.loads(self.progress_file.read_text())

    def cells(self) -> list[Any]:
        """Return the code cells of the output notebook."""
        document = json.loads(self.output.read_text())
        return [cell for cell in document["cells"] if cell["cell_type"] == "code"]

    def printed(self, index: int) -> str:
        """Return what a cell of the output notebook printed."""
        outputs = self.cells()[index]["outputs"]
        return "".join("".join(each["text"]) for each in outputs if each["output_type"] == "stream")

    def statuses(self) -> list[str]:
        return [cell["metadata"]["papermill"]["status"] for cell in self.cells()]


@pytest.fixture
def job(starter: Starter) -> Job:
    return Job(starter)


def test_parameters_in_and_output_out(job: Job) -> None:
    show = "import sys; print(repr(rate), repr(name)); print('aside', file=sys.stderr); rate * 2"
    notebook(job.input, ("rate = 1\nname = ''", "parameters"), show, "import os; print(os.getcwd())")
    before = job.input.read_bytes()
    (job.directory / "p.json").write_text(json.dumps({"rate": 0.5, "name": "x"}))
    assert job.run("--parameters", job.directory / "p.json") == 0, job.err
    assert job.out.splitlines() == ["0.5 'x'", "1.0", str(job.directory.resolve())]
    assert "\naside\n" in job.err
    assert "[3/4] cell 3: import sys; print(" in job.err
    assert "it/s]" not in job.err, "no progress bar"
    assert job.progress == {"cell": 4, "cells": 4, "state": "ok"}
    assert job.statuses() == ["completed"] * 4
    assert "aside" in job.printed(2)
    metadata = json.loads(job.output.read_text())["metadata"]
    assert metadata["papermill"]["parameters"] == {"rate": 0.5, "name": "x"}
    assert (metadata["papermill"]["input_path"], metadata["papermill"]["output_path"]) == ("in.ipynb", "out.ipynb")
    assert job.input.read_bytes() == before
    assert not list(job.directory.glob(".*.part"))


def test_output_comes_while_the_cell_runs(job: Job) -> None:
    notebook(job.input, "print('now', flush=True)\nimport time; time.sleep(60)")
    process = job.start()
    until(lambda: job.out == "now\n", 20, "the first line is there long before the cell is done")
    assert process.poll() is None
    assert job.progress == {"cell": 1, "cells": 1, "state": "running"}


def test_a_failing_cell_is_the_end_and_is_kept(job: Job) -> None:
    notebook(job.input, "print('one')", "{}['key']", "print('never')")
    assert job.run() == 1
    assert job.out == "one\n"
    assert job.err.count("Traceback (most recent call last)") == 1
    assert "\x1b[" not in job.err
    assert "[2/3] cell 2 took" in job.err
    assert "failed with KeyError: 'key'" in job.err
    assert job.progress == {"cell": 2, "cells": 3, "state": "failed"}
    assert job.printed(0) == "one\n"
    assert job.statuses() == ["completed", "failed", "pending"]
    assert job.cells()[1]["outputs"][-1]["ename"] == "KeyError"
    first, _, anchor, *_ = json.loads(job.output.read_text())["cells"]
    assert first["metadata"]["tags"] == anchor["metadata"]["tags"] == ["papermill-error-cell-tag"]


def test_marks_of_an_earlier_failure_do_not_pile_up(job: Job) -> None:
    notebook(job.input, "1/0")
    assert job.run() == 1
    once = job.output.read_text()
    job.input.write_text(once)
    assert job.run() == 1
    count = [text.count("papermill-error-cell-tag") for text in (once, job.output.read_text())]
    assert count == [2, 2]


@pytest.mark.parametrize(
    ("source", "code", "state"),
    [("import sys; sys.exit(3)", 3, "failed"), ("import sys; sys.exit()", 0, "ok"), ("exit(0)", 0, "ok")],
)
def test_a_cell_may_end_the_job_with_its_own_code(job: Job, source: str, code: int, state: str) -> None:
    notebook(job.input, source.replace("exit(0)", "raise SystemExit(0)"), "print('never')")
    assert job.run() == code
    assert job.out == ""
    assert job.progress["state"] == state


def test_a_cell_tagged_as_raising_may_raise(job: Job) -> None:
    notebook(job.input, ("1/0", "raises-exception"), "print('after')")
    assert job.run() == 0
    assert job.out == "after\n"


def test_the_death_of_the_kernel_is_said_and_what_was_done_is_kept(job: Job) -> None:
    notebook(job.input, "print('one')", "print('two', flush=True)\nimport os, time; time.sleep(0.5); os._exit(9)")
    assert job.run() == 1
    assert "[2/2] cell 2 took" in job.err
    assert "the kernel died" in job.err
    assert "Traceback" not in job.err
    assert (job.printed(0), job.printed(1)) == ("one\n", "two\n")
    assert job.statuses() == ["completed", "failed"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        ("{not json", "is not a notebook"),
        ('{"a": 1}', "is not a notebook"),
        ("[]", "is not a notebook"),
        ('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"x": 1}]}', "is not a valid notebook"),
        ("\x00\x01", "is not a notebook"),
    ],
)
def test_what_is_no_notebook_is_refused_in_one_line(job: Job, content: str | None, said: str) -> None:
    if content is not None:
        job.input.write_text(content)
    assert job.run() == 2
    assert said in job.err
    assert job.err.count("\n") == 1
    assert not job.output.exists()


def test_the_input_is_never_the_output(job: Job) -> None:
    notebook(job.input, "print(1)")
    before = job.input.read_bytes()
    (job.directory / "link.ipynb").symlink_to(job.input)
    for output in (job.input, job.directory / "link.ipynb"):
        assert job.start(output=output).wait(30) == 2
        assert "never written" in job.err
    assert job.input.read_bytes() == before


def test_an_output_that_cannot_be_written_is_one_line(job: Job) -> None:
    notebook(job.input, "print(1)")
    assert job.start(output=job.directory / "nowhere" / "out.ipynb").wait(30) == 1
    assert "No such file" in job.err
    assert "Traceback" not in job.err


def kernelspec(name: str) -> dict[str, Any]:
    return {"kernelspec": {"name": name, "language": "python", "display_name": name}}


def test_a_kernel_of_another_computer_is_replaced(job: Job) -> None:
    notebook(job.input, "print('ran')", metadata=kernelspec("conda-env-work-py"))
    assert job.run() == 0
    assert job.out == "ran\n"
    assert "kernel 'conda-env-work-py' is not here: running with 'python3'" in job.err


def test_a_notebook_in_another_language_is_refused(job: Job) -> None:
    metadata = {"kernelspec": {"name": "ir", "language": "R", "display_name": "R"}, "language_info": {"name": "R"}}
    notebook(job.input, "print(1)", metadata=metadata)
    assert job.run() == 2
    assert "written in R" in job.err
    assert job.run("--kernel", "python3") == 2
    assert not job.output.exists()


def test_a_kernel_asked_for_must_be_there(job: Job) -> None:
    notebook(job.input, "print(1)")
    assert job.run("--kernel", "nonesuch") == 2
    assert "no kernel called 'nonesuch'" in job.err


def test_a_notebook_that_names_no_kernel_runs(job: Job) -> None:
    notebook(job.input, "print('ran')", metadata={})
    (job.directory / "p.json").write_text('{"x": 1}')
    assert job.run("--parameters", job.directory / "p.json") == 0, job.err
    assert job.out == "ran\n"


def kernel_of(process: subprocess.Popen[bytes]) -> int:
    return int(psutil.Process(process.pid).children()[0].pid)


def test_told_to_end_it_saves_marks_and_takes_its_kernel_along(job: Job) -> None:
    notebook(job.input, "print('one')", SLOW)
    process = job.start()
    until(lambda: "tick 3" in job.out, 30, "the slow cell prints")
    kernel = kernel_of(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 143
    until(lambda: not is_running(kernel), 2, "the kernel is gone")
    assert (job.printed(0), "tick 3" in job.printed(1)) == ("one\n", True)
    assert job.statuses() == ["completed", "failed"]
    assert job.cells()[1]["outputs"][-1]["evalue"] == "told to end by signal 15"
    assert job.progress["state"] == "failed"
    assert "Traceback" not in job.err


def test_killed_it_leaves_a_valid_notebook_and_no_kernel(job: Job) -> None:
    notebook(job.input, "print('one')", "print('last words', flush=True)\nimport time; time.sleep(600)")
    process = job.start("--autosave", "0.5")
    until(lambda: "last words" in job.out, 30, "the silent cell runs")
    kernel = kernel_of(process)
    until(lambda: job.printed(1), 5, "saved, though the cell is silent ever since")
    process.kill()
    process.wait()
    assert (job.printed(0), job.printed(1)) == ("one\n", "last words\n")
    assert job.statuses() == ["completed", "running"]
    until(lambda: not is_running(kernel), 5, "the kernel ended by itself")


def test_whoever_reads_while_it_writes_sees_a_whole_notebook(job: Job) -> None:
    notebook(job.input, *["print('x' * 200_000)"] * 15)
    seen, done = [], threading.Event()

    def read() -> None:
        while not done.is_set():
            if job.output.exists():
                seen.append(job.output.read_text())

    reader = threading.Thread(target=read)
    reader.start()
    code = job.run()
    done.set()
    reader.join()
    assert code == 0
    assert len({len(json.loads(text)["cells"]) for text in set(seen)}) == 1
    assert len(set(seen)) > 5, "it was read often enough to see it grow"


def test_the_slow_import_is_kept_out(job: Job) -> None:
    notebook(job.input, "print(1)")
    environ = job.starter.environ(PYTHONPROFILEIMPORTTIME="1")
    assert job.run(env=environ) == 0
    imported = {line.rpartition("|")[2].strip() for line in job.err.splitlines()}
    assert "nbformat" in imported
    assert "lark" not in imported


def test_a_flood_of_output_is_joined_and_complete(job: Job) -> None:
    notebook(job.input, "for i in range(2000): print(i, flush=True)")
    started = time.monotonic()
    assert job.run() == 0
    assert time.monotonic() - started < 30
    expected = "".join(f"{i}\n" for i in range(2000))
    assert job.out == job.printed(0) == expected
    assert len(job.cells()[0]["outputs"]) < 20
