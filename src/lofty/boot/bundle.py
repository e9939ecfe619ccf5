"""The agent as one file: uv for the machine, lofty's own wheel in the very version that asks for the machine, and the
lock of what else the agent needs. Nothing of lofty has to be published anywhere, and nothing unpinned is fetched."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import re
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Literal

from .._version import __version__
from ..agent.uv import find_uv
from ..errors import EnvironmentFailed

PACKAGE = Path(__file__).parent.parent
LOCK = PACKAGE / "agent" / "requirements.lock"
Arch = Literal["x86_64", "arm64"]
PLATFORMS: dict[Arch, str] = {"x86_64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}
"""What uv calls machines with a glibc of 2018 or later."""
EPOCH = (1980, 1, 1, 0, 0, 0)


def bundle(cache: Path, arch: Arch) -> Path:
    """The bundle for such machines, made once for each version: a `.tgz` named after its content."""
    parts = {
        "requirements.lock": (_lock(uv=False), 0o644),
        "boot.py": ((PACKAGE / "boot" / "boot.py").read_bytes(), 0o644),
    }
    name, content = wheel()
    parts[name] = (content, 0o644)
    key = hashlib.sha256(repr([arch, _lock(uv=True), sorted(parts.items())]).encode()).hexdigest()[:16]
    made = cache / "bundles" / f"{arch}-{key}.tgz"
    if not made.exists():
        parts["uv"] = (_uv(arch, cache), 0o755)
        with tempfile.NamedTemporaryFile(dir=made.parent, delete=False) as partial:
            partial.write(_tar(parts))
        Path(partial.name).replace(made)
    return made


def wheel() -> tuple[str, bytes]:
    """lofty as it is installed here, as a wheel: its name and bytes, the same for the same files."""
    name = f"lofty-{__version__}"
    files = {
        f"lofty/{path.relative_to(PACKAGE).as_posix()}": path.read_bytes()
        for path in sorted(PACKAGE.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }
    files[f"{name}.dist-info/METADATA"] = f"Metadata-Version: 2.1\nName: lofty\nVersion: {__version__}\n".encode()
    files[f"{name}.dist-info/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: lofty\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = "".join(f"{path},sha256={_digest(content)},{len(content)}\n" for path, content in files.items())
    files[f"{name}.dist-info/RECORD"] = f"{record}{name}.dist-info/RECORD,,\n".encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path, EPOCH), content, zipfile.ZIP_DEFLATED)
    return f"{name}-py3-none-any.whl", buffer.getvalue()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _lock(*, uv: bool) -> bytes:
    """The lines of the lock that pin uv, or those that pin everything else."""
    entries = re.split(r"^(?=\S)", LOCK.read_text(), flags=re.MULTILINE)
    return "".join(entry for entry in entries if entry.startswith("uv==") is uv).encode()


def _uv(arch: Arch, cache: Path) -> bytes:
    """uv's own program for the machine, by hash, whatever this computer is; fetched once for each version of uv."""
    pinned = _lock(uv=True)
    kept = cache / "bundles" / f"uv-{arch}-{hashlib.sha256(pinned).hexdigest()[:16]}"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
            lock, target = Path(scratch) / "lock.txt", Path(scratch) / "uv"
            lock.write_bytes(pinned)
            words = ["pip", "install", "-q", "--require-hashes", "--no-deps", "--only-binary", ":all:"]
            words += ["--python-platform", PLATFORMS[arch], "--target", str(target), "-r", str(lock)]
            done = subprocess.run([find_uv(), *words], capture_output=True, text=True)
            if done.returncode:
                raise EnvironmentFailed(
                    f"uv for the machine could not be fetched: {' '.join(done.stderr.split())[-300:]}",
                    hint="connect to the network, or name a package index with UV_DEFAULT_INDEX, and run it again",
                )
            (target / "bin" / "uv").replace(kept)
    return kept.read_bytes()


def _tar(parts: dict[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, (content, mode) in sorted(parts.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), 6, mtime=0)
