"""What the tutorial and the README tell people to type works, and prints what they say."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest

from ..conftest import Lofty
from .blocks import blocks, fits, steps, type_in

ROOT = Path(__file__).parents[2]


@pytest.fixture
def quickstart(tmp_path: Path) -> Path:
    """A copy of the example as a clone has it."""
    folder = tmp_path / "quickstart"
    left_out = shutil.ignore_patterns("runs", "*.executed.ipynb", ".ipynb_checkpoints")
    return Path(shutil.copytree(ROOT / "examples" / "quickstart", folder, ignore=left_out))


@pytest.mark.timeout(240)
def test_the_tutorial_works_as_written(lofty: Lofty, quickstart: Path) -> None:
    ran = 0
    for block in blocks(ROOT / "docs" / "tutorial.md"):
        if block.language == "console":
            for step in steps(block.text):
                code, output = type_in(step.command, quickstart, lofty.environ)
                assert fits(step.expected, output), f"$ {step.command}\n{output}\n--- the page has:\n{step.expected}"
                assert code == 0, f"$ {step.command}\nexit code {code}\n{output}"
                ran += 1
        elif block.language == "pycon":
            session = quickstart.parent / "session.txt"
            session.write_text(block.text)
            code, output = type_in(f"{sys.executable} -m doctest -o ELLIPSIS {session}", quickstart, lofty.environ)
            assert code == 0, output
            ran += 1
    assert ran > 15


@pytest.mark.timeout(240)
def test_the_six_lines_of_the_readme_work(lofty: Lofty, quickstart: Path) -> None:
    lines = next(block.text for block in blocks(ROOT / "README.md") if "lofty lab" in block.text).splitlines()
    assert len(lines) == 6
    for line in lines:
        code, output = type_in(line, quickstart, lofty.environ)
        assert code == 0, f"{line}\n{output}"


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", *(
    str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md"))
)])  # fmt: skip
def test_links_between_pages_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        found = (ROOT / page).parent / path if path else ROOT / page
        assert found.exists(), f"{page}: {target}"
        if anchor:
            heads = re.findall(r"^#+ (.+)$", found.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^a-z0-9 -]", "", head.lower()).replace(" ", "-") for head in heads}, target


@pytest.mark.parametrize(
    ("expected", "given", "same"),
    [
        ("a\n", "a\n", True),
        ("a\n", "b\n", False),
        ("a ... c\n", "a b c\n", True),
        ("...\nz\n", "z\n", True),
        ("...\nz\n", "x\ny\nz\n", True),
        ("a\n...\n", "b\na\n", False),
        ("a\n", "a\nb\n", False),
        ("", "", True),
        ("", "a\n", False),
        ("a  b\n", "a      b\n", True),
    ],
)
def test_outputs_are_compared(expected: str, given: str, same: bool) -> None:
    assert fits(expected, given) is same
