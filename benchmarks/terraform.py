"""What lofty costs a `terraform plan` that changes nothing."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from .measure import LOFTY, Figure, Place, Series, below, cpu_seconds, place, plain

TITLE = "A plan that changes nothing"
ABOUT = """\
Processor time (user and system) of `terraform plan` with everything that it starts, in turns: without a provider, with
one unchanged `terraform_data`, and with one unchanged `iterative_task` on this computer whose script has ended: its
state, log and outputs are read. Terraform starts the provider three times for a plan."""
ROUNDS = 15
LIMIT = 1.0
"""Seconds of a plan that lofty may cost."""
CONFIGURATIONS = {
    "no provider": 'output "x" {\n  value = 1\n}\n',
    "`terraform_data`": 'resource "terraform_data" "a" {\n  input = 1\n}\n',
    "`iterative_task`": """\
terraform {
  required_providers { iterative = { source = "iterative/iterative" } }
}
resource "iterative_task" "a" {
  cloud  = "local"
  script = <<-END
    #!/bin/sh
    seq 1000 | tee results/out.txt
  END
  storage {
    workdir = "work"
    output  = "results"
  }
}
""",
}


def run(n: int = ROUNDS) -> list[Figure]:
    """Measure `n` rounds."""
    terraform = shutil.which("terraform")
    if terraform is None:
        raise SystemExit("terraform is not on PATH")
    with place() as here:
        environ = _prepare(here)
        series = {name: Series(f"plan with {name}", [], "s") for name in CONFIGURATIONS}
        folders = {name: here.folder / f"plan{number}" for number, name in enumerate(CONFIGURATIONS)}
        for name, folder in folders.items():
            (folder / "work" / "results").mkdir(parents=True)
            (folder / "work" / "results" / "in.txt").write_text("1\n")
            (folder / "main.tf").write_text(CONFIGURATIONS[name])
            for words in (["init"], ["apply", "-auto-approve"]):
                cpu_seconds([terraform, *words], environ, folder)
        while any(task["state"] != "succeeded" for task in here.document("ls")):
            time.sleep(0.2)
        for _ in range(n):
            for name, folder in folders.items():
                series[name].values.append(cpu_seconds([terraform, "plan", "-detailed-exitcode"], environ, folder))
        cpu_seconds([terraform, "destroy", "-auto-approve"], environ, folders["`iterative_task`"])
    bare, _, ours = (series[name].values for name in CONFIGURATIONS)
    more = Series("lofty's part", [a - b for a, b in zip(ours, bare, strict=True)], "s")
    return [*map(plain, series.values()), below(more, LIMIT)]


def _prepare(here: Place) -> dict[str, str]:
    """A home where terraform finds lofty, installed as a person does it; gives the environment."""
    dropped = ("TF_", "CI", "GITHUB_", "BITBUCKET_")
    kept = {key: value for key, value in here.environ.items() if not key.startswith(dropped)}
    path = f"{Path(LOFTY).parent}:{kept['PATH']}"
    here.environ = {**kept, "HOME": str(here.folder), "PATH": path, "CHECKPOINT_DISABLE": "1"}
    here.run("tf", "install")
    return here.environ
