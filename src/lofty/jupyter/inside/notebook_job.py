"""Run a notebook from top to bottom as a job: parameters in, live output out, and never a lost result.

papermill gives the parameters and the notes that the output notebook carries; nbclient talks to the kernel.
What is added here: every save is a whole file or none; what a cell prints appears at once; and a job that
is ended, by whatever, leaves a notebook that holds what it had done.

Exit codes: 0 done, 1 a cell failed or the kernel died, 2 the notebook cannot be run, 130 and 143 interrupted
and told to end; a cell that calls `sys.exit(n)` ends the job with n.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

# Importing this package builds a parser and takes longer than everything else together; see launch.py.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

import nbformat  # noqa: E402
from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel  # noqa: E402
from jupyter_core.paths import jupyter_runtime_dir  # noqa: E402
from nbclient import NotebookClient  # noqa: E402
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError  # noqa: E402
from papermill.engines import NotebookExecutionManager  # noqa: E402
from papermill.exceptions import strip_color  # noqa: E402
from papermill.execute import (  # noqa: E402
    ERROR_ANCHOR_MSG,
    ERROR_MARKER_TAG,
    ERROR_MESSAGE_TEMPLATE,
    prepare_notebook_metadata,
    remove_error_markers,
)
from papermill.iorw import load_notebook_node  # noqa: E402
from papermill.parameterize import parameterize_notebook  # noqa: E402
from traitlets.config import Config  # noqa: E402

DEFAULT_KERNEL = "python3"
KERNEL_START_SECONDS = 120  # a cold disk and a heavy environment
OUTPUT_SECONDS = 60  # for output still under way when a cell is done; four, as is usual, lose a flood
JOINED_CHARACTERS = 10_000
KERNELS = Config()
# Kernels listen on TCP, where everybody with an account here could listen in. "auto": encrypted for kernels
# that say they can.
KERNELS.KernelManager.transport_encryption = "auto"
# What a notebook leaves to do at its end, say the last upload of a report, is killed after half of this.
KERNELS.KernelManager.shutdown_wait_time = 20.0
# Left to itself it lies in the system's scratch folder, and stays there when the job is killed.
KERNELS.KernelManager.connection_file = str(Path(jupyter_runtime_dir(), f"kernel-{uuid4()}.json"))


class RefusedError(Exception):
    """The notebook cannot be run at all; nothing was written."""


class StoppedError(Exception):
    """The job was over before the notebook was; `code` is its exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def say(line: str) -> None:
    """Tell the reader how it is going, beside the notebook's own output."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def write_whole(path: Path, text: str) -> None:
    """Write a file such that it is either the old one or the new one, whenever the process dies."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


# --- what to run ----------------------------------------------------------------------------------------


def load(path: Path) -> Any:
    """Return the notebook at `path`, as papermill wants it, or refuse."""
    try:
        text = path.read_text(encoding="utf-8")
        document = json.loads(text)
    except (OSError, UnicodeDecodeError) as error:
        raise RefusedError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except ValueError as error:
        raise RefusedError(f"{path} is not a notebook: {error}") from error
    if not isinstance(document, dict) or "nbformat" not in document:
        raise RefusedError(f"{path} is not a notebook: it says nothing of its format")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # cells without an id are given one, silently
        try:
            notebook = nbformat.reads(text, as_version=4)
            nbformat.validate(notebook)
            return load_notebook_node(notebook)
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise RefusedError(f"{path} is not a valid notebook: {reason}") from error


def load_parameters(path: Path | None) -> dict[str, Any]:
    """Return the parameters in the JSON file at `path`."""
    if path is None:
        return {}
    try:
        parameters = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RefusedError(f"cannot read the parameters in {path}: {error}") from error
    if not isinstance(parameters, dict):
        raise RefusedError(f"the parameters in {path} are not a JSON object")
    return parameters


def choose_kernel(notebook: Any, wanted: str | None) -> tuple[str, str]:
    """Return the kernel to run the notebook with and its language."""
    kernels = KernelSpecManager()
    metadata = notebook.metadata
    own = metadata.get("kernelspec", {}).get("name")
    language = metadata.get("language_info", {}).get("name") or metadata.get("kernelspec", {}).get("language")
    name = wanted or own or DEFAULT_KERNEL
    try:
        spec = kernels.get_kernel_spec(name)
    except NoSuchKernel:
        if wanted:
            raise RefusedError(f"there is no kernel called {wanted!r} here") from None
        spec = kernels.get_kernel_spec(DEFAULT_KERNEL)
        if same_language(language, spec.language):
            say(f"kernel {name!r} is not here: running with {DEFAULT_KERNEL!r}")
        name = DEFAULT_KERNEL
    if not same_language(language, spec.language):
        raise RefusedError(f"the notebook is written in {language}, and kernel {name!r} runs {spec.language}")
    return name, spec.language


def same_language(one: str | None, other: str) -> bool:
    """Return whether two names mean one language; a notebook that names none fits any."""
    return one is None or one.lower() in (other.lower(), f"i{other.lower()}")


def with_parameters(notebook: Any, parameters: dict[str, Any], kernel: str, language: str) -> Any:
    """Return the notebook with a cell that sets the parameters, after the one that is tagged for them."""
    if not parameters:
        return notebook
    return parameterize_notebook(notebook, parameters, kernel_name=kernel, language=language)


def plain_path(path: Path) -> str:
    """Return how the output notebook names a file: without the directories above the one the job runs in."""
    with suppress(ValueError):
        return str(path.resolve().relative_to(Path.cwd()))
    return path.name


# --- running it -----------------------------------------------------------------------------------------


@dataclass
class Progress:
    """How far the job is, for people on stderr and for the agent in a file."""

    file: Path | None
    cells: int
    cell: int = 0
    started: float = 0.0

    def note(self, state: str) -> None:
        """Write `state` down."""
        if self.file:
            document = {"cell": self.cell, "cells": self.cells, "state": state}
            write_whole(self.file, json.dumps(document) + "\n")

    def start(self, source: str) -> None:
        """Begin the next cell."""
        self.cell += 1
        self.started = time.monotonic()
        first = next(line.strip() for line in source.splitlines() if line.strip())
        say(f"[{self.cell}/{self.cells}] cell {self.cell}: {first[:60]}")
        self.note("running")

    def end(self, how: str) -> None:
        """End the cell."""
        seconds = time.monotonic() - self.started
        say(f"[{self.cell}/{self.cells}] cell {self.cell} took {seconds:.1f} s, {how}")


class Record(NotebookExecutionManager):
    """The output notebook and papermill's notes in it; saved as a whole or not at all."""

    failed: int | None = None  # the cell that ended the job

    def save(self, **_: Any) -> None:
        """Write the notebook."""
        write_whole(Path(self.output_path), nbformat.writes(self.nb) + "\n")
        self.last_save_time = self.now()

    def cell_exception(self, cell: Any, cell_index: int | None = None, **kwargs: Any) -> None:
        """Note that the job ended in this cell."""
        super().cell_exception(cell, cell_index, **kwargs)
        self.failed = cell_index

    def close(self) -> None:
        """Note the end of the job, and mark the cell that failed as papermill does: link and anchor."""
        if self.failed is None:
            self.notebook_complete()
            return
        # Below this cell nothing ran; papermill's own end stops its notes there.
        count = self.nb.cells[self.failed].get("execution_count")
        self.notebook_complete()
        for position, text in ((self.failed, ERROR_ANCHOR_MSG), (0, ERROR_MESSAGE_TEMPLATE % count)):
            cell = nbformat.v4.new_markdown_cell(text)
            cell.metadata["tags"] = [ERROR_MARKER_TAG]
            self.nb.cells.insert(position, cell)
        self.save()


class Runner(NotebookClient):
    """Runs the cells, passing on what they print while they print it."""

    def __init__(self, record: Record, progress: Progress, kernel: str, autosave: float) -> None:
        super().__init__(
            record.nb,
            kernel_name=kernel,
            timeout=None,
            startup_timeout=KERNEL_START_SECONDS,
            iopub_timeout=OUTPUT_SECONDS,
            raise_on_iopub_timeout=True,
            config=KERNELS,
        )
        self.log.setLevel(logging.CRITICAL)  # what it would say is said here, once
        self.record = record
        self.progress = progress
        self.autosave = autosave
        self.unsaved = False
        self.signal: int | None = None  # the one that ended the job

    def process_message(self, msg: dict[str, Any], cell: Any, cell_index: int) -> Any:
        """Take one message of the kernel, and show it if it is output."""
        output = super().process_message(msg, cell, cell_index)
        self.unsaved = True
        if output is not None:
            show(output)
            join_streams(cell.outputs)
        return output

    async def run(self) -> None:
        """Start the kernel, run every cell, stop the kernel."""
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number, task)
        self.reset_execution_trackers()
        self.create_kernel_manager()
        try:
            await self._start_kernel()
            for index, cell in enumerate(self.nb.cells):
                if cell.cell_type == "code" and cell.source.strip():
                    await self._run_cell(cell, index)
            info = await self.async_wait_for_reply(self.kc.kernel_info())
            self.nb.metadata["language_info"] = info["content"]["language_info"]
            self.set_widgets_metadata()
        except asyncio.CancelledError:
            raise self._stopped() from None
        finally:
            await self._async_cleanup_kernel()

    def _end(self, number: int, task: asyncio.Task[None] | None) -> None:
        if self.signal is None and task:
            self.signal = number
            self.shutdown_kernel = "immediate"  # whoever sends SIGTERM will not wait for a busy cell
            task.cancel()

    def _stopped(self) -> StoppedError:
        return StoppedError(f"told to end by signal {self.signal}", 128 + (self.signal or signal.SIGTERM))

    async def _start_kernel(self) -> None:
        try:
            Path(jupyter_runtime_dir()).mkdir(parents=True, exist_ok=True, mode=0o700)
            await self.async_start_new_kernel(cwd=str(Path.cwd()))
            await self.async_start_new_kernel_client()
        except (RuntimeError, OSError, TimeoutError) as error:
            raise StoppedError(f"the kernel did not start: {error}", 1) from error

    async def _run_cell(self, cell: Any, index: int) -> None:
        """Run one cell; whatever becomes of it, the notebook on disk tells."""
        self.progress.start(cell.source)
        self.record.cell_start(cell, index)
        saving = asyncio.create_task(self._save_now_and_then())
        try:
            await self.async_execute_cell(cell, index)
            self.progress.end("done")
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            stopped = self._why(error)
            if not isinstance(error, CellExecutionError):
                cell.outputs.append(error_output(stopped))
            if stopped.code:
                self.record.cell_exception(cell, index)
            self.progress.end(str(stopped))
            raise stopped from error
        finally:
            saving.cancel()
            self.record.cell_complete(cell, index)

    def _why(self, error: Exception) -> StoppedError:
        """Return what an interrupted cell means for the job."""
        if self.signal is not None:  # nbclient takes the cancelling of a cell for the death of the kernel
            return self._stopped()
        if isinstance(error, DeadKernelError):
            return StoppedError("the kernel died", 1)
        if not isinstance(error, CellExecutionError):
            return StoppedError(str(error), 1)
        if error.ename == "SystemExit":
            code = int(error.evalue) & 0xFF if error.evalue.isdigit() else int(bool(error.evalue))
            return StoppedError(f"the cell ended the notebook with exit code {code}", code)
        return StoppedError(f"failed with {error.ename}: {error.evalue}", 1)

    async def _save_now_and_then(self) -> None:
        """Save what the running cell has shown; on a clock, since a silent cell sends nothing to save upon."""
        while True:
            await asyncio.sleep(self.autosave)
            if self.unsaved:
                self.unsaved = False
                self.record.save()


def error_output(stopped: StoppedError) -> Any:
    """Return what the cell shows where no traceback of its own says why it ended."""
    text = str(stopped)
    return nbformat.v4.new_output("error", ename="Stopped", evalue=text, traceback=[f"Stopped: {text}"])


def join_streams(outputs: list[Any]) -> None:
    """Join the last output to the one before if both are one stream, as Jupyter's own pages do.

    Up to a size: adding to an ever longer text would take ever longer.
    """
    if len(outputs) < 2:
        return
    before, last = outputs[-2:]
    streams = before.output_type == last.output_type == "stream" and before.name == last.name
    if streams and len(before.text) < JOINED_CHARACTERS:
        before.text += last.text
        outputs.pop()


def show(output: Any) -> None:
    """Print one output as it comes."""
    if output.output_type == "stream":
        stream = sys.stderr if output.name == "stderr" else sys.stdout
        stream.write(output.text)
    elif output.output_type == "error":
        stream = sys.stderr
        stream.write(strip_color("\n".join(output.traceback)) + "\n")
    elif "text/plain" in output.data:
        stream = sys.stdout
        stream.write(output.data["text/plain"] + "\n")
    else:
        return
    stream.flush()


def run(options: argparse.Namespace) -> int:
    """Run the notebook and return the exit code."""
    if options.output.exists() and options.output.samefile(options.input):
        raise RefusedError("input and output are one file: the input is never written")
    notebook = load(options.input)
    parameters = load_parameters(options.parameters)
    kernel, language = choose_kernel(notebook, options.kernel)
    notebook = remove_error_markers(with_parameters(notebook, parameters, kernel, language))
    prepare_notebook_metadata(notebook, plain_path(options.input), plain_path(options.output))
    record = Record(notebook, options.output, progress_bar=False, autosave_cell_every=0)
    count = sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in notebook.cells)
    progress = Progress(options.progress, count)
    progress.note("running")
    record.notebook_start()
    try:
        asyncio.run(Runner(record, progress, kernel, options.autosave).run())
    except StoppedError as stopped:
        record.close()
        progress.note("failed" if stopped.code else "ok")
        if not progress.cell:
            say(str(stopped))
        return stopped.code
    record.close()
    progress.note("ok")
    return 0


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="notebook_job.py", description=__doc__)
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--parameters", type=Path, help="a JSON object of values that already have their types")
    parser.add_argument("--kernel", help="run with this kernel, whatever the notebook names")
    parser.add_argument("--autosave", type=float, default=5.0, help="seconds of output that may be lost")
    parser.add_argument("--progress", type=Path, help="keep this JSON file up to date")
    options = parser.parse_args()
    try:
        return run(options)
    except RefusedError as refused:
        say(str(refused))
        return 2
    except OSError as error:  # a full disk, a directory that is not there: the files are all that is left
        say(f"cannot write {error.filename}: {error.strerror}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
