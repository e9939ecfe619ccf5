"""A provider of the tests' own, by itself and under the real terraform."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ..conftest import Result, clean_environ, required
from .client import Plugin

THING = Path(__file__).parent / "thing.py"


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A person's environment, with a folder for things and one for temporary files, where nothing may be left."""
    (tmp_path / "things").mkdir()
    short = Path(tempfile.mkdtemp(prefix="lt-", dir="/tmp"))  # sockets lie in it
    kept = {key: value for key, value in clean_environ(tmp_path / "home").items() if not key.startswith("TF_")}
    yield {**kept, "THINGS": str(tmp_path / "things"), "TMPDIR": str(short), "CHECKPOINT_DISABLE": "1"}
    left = list(short.iterdir())
    shutil.rmtree(short)
    assert not left, left


@pytest.fixture
def start(environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Plugin]]:
    """Start the provider of the tests, or another command; what still runs at the end is ended."""
    started: list[Plugin] = []

    def start(*command: str | Path, tls: bool = True, **more: str) -> Plugin:
        plugin = Plugin(list(command) or [sys.executable, THING], {**environ, **more}, tmp_path, tls=tls)
        started.append(plugin)
        return plugin

    yield start
    for plugin in started:
        plugin.close()


@pytest.fixture
def plugin(start: Callable[..., Plugin]) -> Iterator[Plugin]:
    """The provider of the tests, ended as terraform does it."""
    started = start()
    yield started
    started.end()


class Terraform:
    """The real one, in a directory of its own, with the provider of the tests installed for it."""

    def __init__(self, program: str, directory: Path, environ: dict[str, str]) -> None:
        self.program, self.directory, self.environ = program, directory, environ
        self.things = Path(environ["THINGS"])

    def write(self, *parts: str) -> None:
        """The configuration."""
        head = 'terraform {\n  required_providers {\n    test = { source = "lofty/test" }\n  }\n}\n'
        (self.directory / "main.tf").write_text(head + "\n".join(parts) + "\n")

    def thing(self, name: str, *lines: str, label: str = "") -> str:
        """One resource of the tests."""
        body = "\n".join((f'  name = "{name}"', *(f"  {line}" for line in lines)))
        return f'resource "test_thing" "{label or name}" {{\n{body}\n}}'

    def __call__(self, *words: str, timeout: float = 100, **more: str) -> Result:
        """Run to the end."""
        done = subprocess.run(
            [self.program, *words],
            cwd=self.directory,
            env={**self.environ, **more},
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        return Result(done.returncode, done.stdout, done.stderr)

    def ok(self, *words: str, **options: Any) -> Result:
        """Run, and it must succeed."""
        result = self(*words, **options)
        assert result.code == 0, f"{words}: exit {result.code}\n{result.out}\n{result.err}"
        return result

    def apply(self, *words: str) -> Result:
        """Without a question."""
        return self.ok("apply", "-auto-approve", "-no-color", *words)

    def popen(self, *words: str) -> subprocess.Popen[str]:
        """Start, in a process group of its own like a job of a shell."""
        return subprocess.Popen(
            [self.program, *words],
            cwd=self.directory,
            env=self.environ,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def changes(self, *words: str) -> dict[str, Any]:
        """What a plan would do, by address."""
        self.ok("plan", "-out=plan", *words)
        plan = json.loads(self.ok("show", "-json", "plan").out)
        return {one["address"]: one["change"] for one in plan.get("resource_changes", [])}

    def state(self) -> dict[str, Any]:
        """What the state file says of each resource, by address: its values, and whether it is tainted."""
        file = self.directory / "terraform.tfstate"
        found = json.loads(file.read_text())["resources"] if file.exists() else []
        return {
            f"{one['type']}.{one['name']}": {**instance["attributes"], "tainted": instance.get("status") == "tainted"}
            for one in found
            if one["mode"] == "managed"
            for instance in one["instances"]
        }


def program() -> str:
    """The real terraform, or a test that is skipped; failed where it is required."""
    found = shutil.which("terraform")
    if found is None:
        (pytest.fail if required("terraform") else pytest.skip)("no terraform on PATH")
    return found


@pytest.fixture
def terraform(environ: dict[str, str], tmp_path: Path) -> Terraform:
    """Initialised, with the provider of the tests."""
    found = program()
    directory = tmp_path / "configuration"
    directory.mkdir()
    platform = json.loads(subprocess.check_output([found, "version", "-json"], env=environ))["platform"]
    folder = Path(environ["HOME"]) / ".terraform.d/plugins/registry.terraform.io/lofty/test/1.0.0" / platform
    folder.mkdir(parents=True)
    launcher = folder / "terraform-provider-test_v1.0.0"
    launcher.write_text(f"#!/bin/sh\ntrap '' INT\nexec {sys.executable} {THING}\n")
    launcher.chmod(0o755)
    made = Terraform(found, directory, environ)
    made.write()
    made.ok("init")
    return made


@pytest.fixture(autouse=True)
def _nothing_left(tmp_path: Path) -> Iterator[None]:
    """No provider runs on."""
    yield
    import psutil

    mine = str(tmp_path / "things")
    left = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("THINGS") == mine and process.status() != psutil.STATUS_ZOMBIE:
                left.append(process)
                process.kill()
        except (psutil.Error, OSError):
            continue
    assert not left, left
