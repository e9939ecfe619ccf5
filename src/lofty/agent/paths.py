"""Where an agent keeps what lives no longer than one start."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from pathlib import Path


def make_run_folder(machine: str) -> Path:
    """A fresh private directory with a short path: sockets lie in it, whose paths may have about 100 bytes."""
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    if not base or len(base) > 40 or not os.access(base, os.W_OK):
        base = "/tmp" if sys.platform != "win32" and os.access("/tmp", os.W_OK) else tempfile.gettempdir()  # noqa: S108 (mkdtemp makes it private)
    return Path(tempfile.mkdtemp(prefix=f"lofty-{machine}-", dir=base))


def write_private(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace a file in one step; nobody else can read it at any moment. Of several at once the last wins."""
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
