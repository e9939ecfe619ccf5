"""The command line with an owner of its own, and a folder of a person's that nothing may change."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ..conftest import Lofty, Result
from ..e2e.conftest import lofty  # noqa: F401 (the fixture)
from ..e2e.support import nothing_left, snapshot, write_notebook


class Person:
    """Somebody who mistypes things in a folder."""

    def __init__(self, command: Lofty, folder: Path) -> None:
        self.lofty, self.folder = command, folder
        (folder / "sub").mkdir(parents=True)
        (folder / "train.py").write_text("print('hello')\n")
        (folder / "data.csv").write_text("1,2\n")
        (folder / "broken.ipynb").write_text("{")
        write_notebook(folder / "train.ipynb", "print(6 * 7)")

    def refused(
        self, *words: str | Path, code: int, says: str, tries: str = "", lines: int = 4, **environ: str
    ) -> Result:
        """Run what cannot be done: the exit code, what is said, a command to try, and nothing changed anywhere."""
        before = snapshot(self.folder)
        result = Lofty(self.lofty.home, {**self.lofty.environ, **environ})(*words, cwd=self.folder)
        said = result.err.splitlines()
        assert result.code == code, result
        assert "Traceback" not in result.err
        assert re.search(says, result.err), result.err
        assert [line for line in said if line.startswith("  try: ") and tries in line], result.err
        assert len([line for line in said if not line.endswith(" ...")]) <= lines, result.err
        assert all(len(line) < 500 for line in said)
        assert result.out == "" or "--json" in words
        assert snapshot(self.folder) == before
        nothing_left(self.lofty)
        return result


@pytest.fixture
def person(lofty: Lofty, tmp_path: Path) -> Person:  # noqa: F811
    """In a folder with a script, a notebook and a broken one."""
    return Person(lofty, tmp_path / "project")
