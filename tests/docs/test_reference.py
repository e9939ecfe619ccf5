"""The reference says what the code does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def check(generator: Path) -> subprocess.CompletedProcess[str]:
    environ = {key: value for key, value in os.environ.items() if not key.startswith("LOFTY_")}
    return subprocess.run(
        [sys.executable, str(generator), "--check"], capture_output=True, text=True, env=environ, check=False
    )


def test_the_page_is_what_the_code_gives() -> None:
    done = check(ROOT / "docs" / "generate.py")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_page_that_is_behind_is_found_and_left_alone(tmp_path: Path) -> None:
    generator = tmp_path / "generate.py"
    generator.write_text((ROOT / "docs" / "generate.py").read_text())
    page = tmp_path / "cli.md"
    page.write_text((ROOT / "docs" / "cli.md").read_text().replace("--idle", "--lazy"))
    before = page.read_text()
    done = check(generator)
    assert done.returncode == 1
    assert "-| `--lazy` TIME" in done.stdout
    assert "+| `--idle` TIME" in done.stdout
    assert "make docs" in done.stderr
    assert page.read_text() == before
