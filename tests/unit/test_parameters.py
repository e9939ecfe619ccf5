"""`-p NAME=VALUE` is typed as papermill itself types it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from lofty.jupyter.job import typed

WORDS = [
    "", " ", "0", "1", "-1", "+1", "007", "1_000", "1e3", "1E-3", ".5", "5.", "-.5e+2", "0x10", "0b1", "1j",
    "٣", "１２", " 7 ", "7\n", "\t1.5", "True", "False", "None", "true", "false", "none", "null", "TRUE",
    "nan", "NaN", "inf", "-inf", "Infinity", "infinity", "1e999", "1__0", "_1", "1_", "--1", "1,5", "1.2.3",
    "[1]", "{}", "'1'", '"a"', "a=b", "héllo", "日本", "9" * 40, "1" + "0" * 400, "0.1", "1.0", "-0", "-0.0",
    "None ", " True", "1e", "e1", "0o7", "1 2", "½", "²", "\x00", "1\x00",
]  # fmt: skip

PAPERMILL = """
import json, sys
from papermill.cli import _resolve_type
print(json.dumps([[type(v).__name__, repr(v)] for v in map(_resolve_type, json.load(sys.stdin))]))
"""


def test_as_papermill_does(jupyter_python: Path) -> None:
    words = [word for word in WORDS if "=" not in word] + [
        f"{a}{b}" for a in WORDS[2:20] for b in ("e5", ".0", "_0", " ")
    ]
    done = subprocess.run(
        [jupyter_python, "-W", "ignore", "-c", PAPERMILL], input=json.dumps(words), capture_output=True, text=True,
        check=True, timeout=100,
    )  # fmt: skip
    theirs = {word: tuple(answer) for word, answer in zip(words, json.loads(done.stdout), strict=True)}
    ours = {word: (type(typed(word)).__name__, repr(typed(word))) for word in words}
    assert ours == theirs
