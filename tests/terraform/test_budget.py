"""Terraform starts the provider four times for an apply: it has to be there at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from lofty.terraform.plugin import COOKIE

from .client import Certificate

HEAVY = ("boto3", "botocore", "rich", "obstore", "uv", "yaml", "zstandard", "watchfiles", "blake3", "jupyter", "psutil")
"""What no question about a schema waits for."""
COUNT = """
import os, sys
import lofty.terraform.server as server
def counted(*arguments):
    print(len(sys.modules), *sorted(sys.modules), file=sys.stderr)
    return counted_after()
async def counted_after():
    return True
server._ended = counted
from lofty.cli.main import run
run(["tf", "serve"])
"""
"""Counted when the handshake line has been written."""


def test_few_modules_are_imported_before_the_handshake(tmp_path: Path) -> None:
    """Counted rather than timed, so that it holds on a busy machine; the bound is the measured count and a tenth."""
    (tmp_path / "tmp").mkdir()
    given = {"PLUGIN_CLIENT_CERT": Certificate().pem, "TMPDIR": str(tmp_path / "tmp")}
    environ = {**os.environ, COOKIE[0]: COOKIE[1], **given}
    done = subprocess.run(
        [sys.executable, "-I", "-c", COUNT], env=environ, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("1|6|unix|")
    count, *names = done.stderr.split()
    assert "cryptography.x509" in names
    assert [name for name in names if name.partition(".")[0] in HEAVY] == []
    assert int(count) <= 376, names
