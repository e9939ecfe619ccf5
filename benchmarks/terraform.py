"""What lofty costs a `terraform plan` that changes nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from .measure import ROOT, Figure, Place, Series, below, cpu_seconds, place, plain

TITLE = "A plan that changes nothing"
ABOUT = """\
Processor time (user and system) of `terraform plan` with everything that it starts, in turns: without a provider, with
one unchanged `terraform_data`, and with one unchanged resource that lofty serves, whose reading is a small file. The
resource is that of the tests, in the process that the launcher starts (`lofty tf serve`); terraform starts it three
times for a plan."""
ROUNDS = 15
LIMIT = 1.0
"""Seconds of a plan that lofty may cost."""
CONFIGURATIONS = {
    "no provider": 'output "x" {\n  value = 1\n}\n',
    "`terraform_data`": 'resource "terraform_data" "a" {\n  input = 1\n}\n',
    "a resource of lofty's": 'terraform {\n  required_providers {\n    test = { source = "lofty/test" }\n  }\n}\n'
    'resource "test_thing" "a" {\n  name = "a"\n}\n',
}
SERVE = """\
import sys
sys.path.insert(0, {tests!r})
import lofty.terraform.resources, thing
lofty.terraform.resources.provider = thing.provider
sys.argv = ["lofty", "tf", "serve"]
from lofty.cli import main
main()
"""


def run(n: int = ROUNDS) -> list[Figure]:
    """Measure `n` rounds."""
    terraform = shutil.which("terraform")
    if terraform is None:
        raise SystemExit("terraform is not on PATH")
    with place() as here:
        environ = _prepare(here, terraform)
        series = {name: Series(f"plan with {name}", [], "s") for name in CONFIGURATIONS}
        folders = {name: here.folder / f"plan{number}" for number, name in enumerate(CONFIGURATIONS)}
        for name, folder in folders.items():
            folder.mkdir()
            (folder / "main.tf").write_text(CONFIGURATIONS[name])
            for words in (["init"], ["apply", "-auto-approve"]):
                cpu_seconds([terraform, *words], environ, folder)
        for _ in range(n):
            for name, folder in folders.items():
                series[name].values.append(cpu_seconds([terraform, "plan", "-detailed-exitcode"], environ, folder))
    bare, _, ours = (series[name].values for name in CONFIGURATIONS)
    more = Series("lofty's part", [a - b for a, b in zip(ours, bare, strict=True)], "s")
    return [*map(plain, series.values()), below(more, LIMIT)]


def _prepare(here: Place, terraform: str) -> dict[str, str]:
    """A home where terraform finds the tests' provider; gives the environment."""
    (here.folder / "things").mkdir()
    kept = {key: value for key, value in here.environ.items() if not key.startswith("TF_")}
    environ = {
        **kept,
        "HOME": str(here.folder),
        "CHECKPOINT_DISABLE": "1",
        "THINGS": str(here.folder / "things"),
    }
    version = subprocess.check_output([terraform, "version", "-json"], env=environ)
    plugins = here.folder / ".terraform.d/plugins/registry.terraform.io/lofty/test/1.0.0"
    program = plugins / json.loads(version)["platform"] / "terraform-provider-test_v1.0.0"
    program.parent.mkdir(parents=True)
    script = Path(here.folder / "serve.py")
    script.write_text(SERVE.format(tests=str(ROOT / "tests/terraform")))
    program.write_text(f"#!/bin/sh\ntrap '' INT\nexec {sys.executable} {script}\n")
    program.chmod(0o755)
    return environ
