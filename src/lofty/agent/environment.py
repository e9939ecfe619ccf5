"""Two environments that cannot break each other: lofty's pinned tools (Jupyter, papermill, TensorBoard), and the
user's own, which runs the user's code.

Both are caches: named after what they are made from, finished when their stamp says so, made again when not.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from ..errors import EnvironmentFailed
from .uv import run_uv

STAMP = ".lofty-ready"
SOURCE = ".lofty-source"
"""In a user's environment: the key it was made for, which is a directory's path."""
FORMAT = "2"
"""Raised when the way environments are made changes, so that old ones are made again."""
KERNEL_PACKAGES = ("ipykernel", "ipywidgets", "pip")
"""What a notebook needs of the environment that it runs in: a kernel, widgets, and %pip."""


class UserEnvironment(NamedTuple):
    """What runs the user's code."""

    python: Path
    label: str
    """Where it comes from, for a person: `requirements.txt`."""
    overlay: Path | None
    """Where ipykernel lies when the environment is the user's own and lacks it."""
    notes: tuple[str, ...]


class Source(NamedTuple):
    """Where a working directory names its environment."""

    kind: str
    """venv, lock, project, requirements, conda, active or none."""
    path: Path | None
    files: tuple[Path, ...]
    """What the environment is made from: when one changes, it is made again."""


def detect(workdir: Path, active: str) -> Source:
    """Where the environment of a directory is named: its own `.venv` first, since that is what the user works with
    already, then the most exact file. `active` is an interpreter to fall back on."""
    python = venv_python(workdir / ".venv")
    if python.exists():
        return Source("venv", python, ())
    project = workdir / "pyproject.toml"
    if project.is_file() and (workdir / "uv.lock").is_file():
        return Source("lock", workdir / "uv.lock", (workdir / "uv.lock", project))
    if project.is_file() and "[project]" in project.read_text(errors="replace"):
        return Source("project", project, (project,))
    for name, kind in (("requirements.txt", "requirements"), ("environment.yml", "conda")):
        path = workdir / name
        if path.is_file():
            return Source(kind, path, (path, *(_included(path) if kind == "requirements" else ())))
    if active and Path(active).exists():
        return Source("active", Path(active), ())
    return Source("none", None, ())


def venv_python(folder: Path) -> Path:
    """The interpreter of a virtual environment."""
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _included(requirements: Path) -> list[Path]:
    """Files that a requirements file takes in with -r or -c."""
    text = requirements.read_text(errors="replace")
    names = re.findall(r"^\s*-(?:r|c|-requirement|-constraint)[\s=]+(\S+)", text, re.MULTILINE)
    return [path for name in names if (path := requirements.parent / name).is_file()]


async def make_tools(lock: Path, cache: Path, *, name: str = "tools") -> Path:
    """The interpreter of the environment that a hash-pinned lock describes; instant when it is there already."""
    digest = _digest(lock.read_bytes(), sys.version.encode())
    folder = cache / "envs" / f"{name}-{digest[:16]}"
    python = venv_python(folder)
    async with _Lock(folder):
        if not _is_ready(folder, digest):
            await run_uv("venv", "--clear", "-q", "--python", sys.executable, str(folder), cwd=folder.parent)
            await run_uv("pip", "sync", "-q", "--require-hashes", "--python", str(python), str(lock), cwd=folder.parent)
            _set_ready(folder, digest)
    return python


async def make_user(workdir: Path, cache: Path, key: str, *, active: str, kernel: bool, lock: Path) -> UserEnvironment:
    """The user's environment for a working directory. `key` names it between starts; with `kernel` it can run
    notebooks, and `lock` pins what that takes where nobody asks for anything else. Nothing is written into the working
    directory."""
    source = detect(workdir, active)
    if source.kind in ("venv", "active"):
        assert source.path is not None
        overlay = await _overlay(source.path, cache, lock) if kernel else None
        label = ".venv" if source.kind == "venv" else "the active environment"
        return UserEnvironment(source.path, label, overlay, ())
    folder = user_folder(cache, key)
    files = (*source.files, lock) if source.kind == "none" else source.files
    digest = _digest(*(path.read_bytes() for path in files), source.kind.encode(), str(kernel).encode())
    notes: tuple[str, ...] = ()
    async with _Lock(folder):
        if _is_ready(folder, digest):
            notes = tuple(_conda(source.path).notes) if source.kind == "conda" and source.path else ()
        else:
            notes = await _build(source, workdir, folder, kernel=kernel, lock=lock)
            _add_sources(workdir, folder)
            (folder / SOURCE).write_text(key)
            _set_ready(folder, digest)
    label = source.path.name if source.path else "a fresh environment"
    return UserEnvironment(venv_python(folder), label, None, notes)


def user_folder(cache: Path, key: str) -> Path:
    """Where the environment of that key lies, if it had to be made."""
    return cache / "envs" / f"user-{_digest(key.encode())[:16]}"


async def _build(source: Source, workdir: Path, folder: Path, *, kernel: bool, lock: Path) -> tuple[str, ...]:
    """Make the environment in `folder`; gives what the person should know."""
    conda = _conda(source.path) if source.kind == "conda" and source.path else Conda("", (), ())
    own_choice = (workdir / ".python-version").exists() or source.kind in ("lock", "project")
    wanted = ["--python", conda.python] if conda.python else [] if own_choice else ["--python", sys.executable]
    await run_uv("venv", "--clear", "-q", *wanted, str(folder), cwd=workdir)
    target = ["--python", str(venv_python(folder))]
    packages: Sequence[str] = KERNEL_PACKAGES if kernel else ("pip",)
    if source.kind == "lock":
        env = {"UV_PROJECT_ENVIRONMENT": str(folder)}
        await run_uv("sync", "-q", "--frozen", "--inexact", "--no-install-project", cwd=workdir, env=env)
        arguments = list(packages)
    elif source.kind in ("project", "requirements"):
        arguments = ["-r", str(source.path), *packages]
    elif source.kind == "conda":
        arguments = [*conda.pip, *packages]
    elif kernel:  # the whole lock as it is: nothing to resolve, so nothing to ask but for the files
        await run_uv("pip", "sync", "-q", "--require-hashes", *target, str(lock), cwd=folder.parent)
        return ()
    else:
        arguments = [*packages, "-c", str(lock)]  # with the hashes in it
    await run_uv("pip", "install", "-q", *target, *arguments, cwd=workdir)
    return conda.notes


def _add_sources(workdir: Path, folder: Path) -> None:
    """Let a project in the src layout import itself, without a build that would write into the user's directory."""
    if (workdir / "src").is_dir() and (workdir / "pyproject.toml").is_file():
        for packages in folder.glob("lib/python*/site-packages"):
            (packages / "_lofty_sources.pth").write_text(f"{workdir / 'src'}\n")


async def _overlay(python: Path, cache: Path, lock: Path) -> Path | None:
    """Where ipykernel lies for an interpreter that lacks it; None when it has its own. The user's environment is
    never written to."""
    import asyncio

    probe = (
        "import sys, importlib.util as u; "
        "print(sys.version_info[0], sys.version_info[1], int(u.find_spec('ipykernel') is not None))"
    )
    process = await asyncio.create_subprocess_exec(
        str(python), "-c", probe, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    if process.returncode:
        raise EnvironmentFailed(
            f"{python} does not run: {err.decode(errors='replace').strip()[-300:]}",
            hint=f"make the environment again, or remove {python.parent.parent}",
        )
    major, minor, has_kernel = out.decode().split()
    if has_kernel == "1":
        return None
    folder = cache / "envs" / f"kernel-{major}.{minor}"
    digest = _digest(lock.read_bytes())
    async with _Lock(folder):
        if not _is_ready(folder, digest):
            shutil.rmtree(folder, ignore_errors=True)
            target = ["--python", str(python), "--target", str(folder)]
            await run_uv("pip", "install", "-q", *target, "ipykernel", cwd=folder.parent)
            _set_ready(folder, digest)
    return folder


class Conda(NamedTuple):
    """What an environment.yml asks for, as far as it can be had from the package index."""

    python: str
    pip: tuple[str, ...]
    notes: tuple[str, ...]


def _conda(path: Path) -> Conda:
    import yaml

    try:
        found = yaml.safe_load(path.read_text())
        entries = list((found or {}).get("dependencies") or [])
    except (yaml.YAMLError, AttributeError, TypeError, OSError, UnicodeDecodeError) as error:
        raise EnvironmentFailed(
            f"{path.name} cannot be read: {' '.join(str(error).split())}", hint=f"mend {path}"
        ) from error
    pip = [str(item) for entry in entries if isinstance(entry, dict) for item in entry.get("pip") or ()]
    plain = [entry for entry in entries if isinstance(entry, str)]
    names = {re.split(r"[=<>!~ ]", entry.split("::")[-1], maxsplit=1)[0].lower() for entry in plain}
    python = next((m[1] for e in plain if (m := re.fullmatch(r"python\s*=+\s*(\d+\.\d+)(\.[\d*]+)*", e))), "")
    left = sorted(names - {"python", "pip"})
    notes = (f"{path.name}: only its pip part was installed; these come from conda and are missing: {', '.join(left)}",)
    return Conda(python, tuple(pip), notes if left else ())


def stale(cache: Path) -> list[Path]:
    """User environments whose directory is gone."""
    found = []
    for folder in sorted((cache / "envs").glob("user-*")):
        note = folder / SOURCE
        if note.is_file() and note.read_text().startswith("/") and not Path(note.read_text()).exists():
            found.append(folder)
    return found


def remove(folder: Path) -> None:
    """Delete an environment."""
    shutil.rmtree(folder, ignore_errors=True)
    Path(f"{folder}.lock").unlink(missing_ok=True)


async def installed(python: Path, cwd: Path) -> str:
    """What an environment really holds, a `name==version` a line."""
    return await run_uv("pip", "freeze", "-q", "--python", str(python), cwd=cwd)


def write_kernelspec(folder: Path, user: UserEnvironment, launcher: Path, name: str) -> None:
    """A kernel named `python3` in `folder`, a Jupyter data directory, that runs the user's environment."""
    run = [str(launcher), str(user.overlay or "-"), "-f", "{connection_file}"]
    spec = {
        "argv": [str(user.python), "-Xfrozen_modules=off", *run],
        "display_name": f"Python 3 ({name})",
        "language": "python",
        "metadata": _kernel_metadata(user),
        "env": {"PATH": f"{user.python.parent}:${{PATH}}", "VIRTUAL_ENV": str(user.python.parent.parent)},
    }
    home = folder / "kernels" / "python3"
    home.mkdir(parents=True, exist_ok=True)
    (home / "kernel.json").write_bytes(msgspec.json.encode(spec))


def _kernel_metadata(user: UserEnvironment) -> object:
    """What the installed ipykernel says of itself: whether it can be debugged, and encrypt its connections."""
    prefix = user.overlay or user.python.parent.parent
    try:
        spec = msgspec.json.decode((prefix / "share/jupyter/kernels/python3/kernel.json").read_bytes())
        return spec.get("metadata", {})
    except (OSError, msgspec.MsgspecError, AttributeError):
        return {}


def _digest(*parts: bytes) -> str:
    total = hashlib.sha256(FORMAT.encode())
    for part in parts:
        total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()


def _is_ready(folder: Path, digest: str) -> bool:
    try:
        return (folder / STAMP).read_text() == digest
    except FileNotFoundError:
        return False


def _set_ready(folder: Path, digest: str) -> None:
    (folder / STAMP).write_text(digest)


class _Lock:
    """One maker at a time for an environment, over all processes, without blocking the event loop."""

    def __init__(self, folder: Path) -> None:
        from filelock import FileLock

        folder.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(f"{folder}.lock", thread_local=False)

    async def __aenter__(self) -> None:
        import asyncio

        from filelock import Timeout

        while True:
            try:
                self._lock.acquire(blocking=False)
            except Timeout:
                await asyncio.sleep(0.1)
            else:
                return

    async def __aexit__(self, *error: object) -> None:
        self._lock.release()
