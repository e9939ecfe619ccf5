"""From a `Process` of the spec to a command line on this machine."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..model.spec import Process, TaskSpec
from ..model.state import Machine
from . import environment, paths, warning

PACKAGE = Path(__file__).parent.parent
"""Where lofty lies on this machine; recipes name their files from here."""


class Places(NamedTuple):
    """What only the machine knows."""

    tools: Path
    user: environment.UserEnvironment
    workdir: Path
    run: Path
    state: Path
    tunnel: Path = Path()


def lay_out(places: Places, spec: TaskSpec, token: str, tunnel: str = "") -> None:
    """Fill the private directory of this start: the token, and the one for a tunnel, the kernel, Jupyter's folders."""
    paths.write_private(places.run / "token", token.encode())
    if tunnel:
        paths.write_private(places.run / "tunnel.token", tunnel.encode())
    for name in ("jupyter", "config"):
        (places.run / name).mkdir(mode=0o700, exist_ok=True)
    places.state.mkdir(parents=True, mode=0o700, exist_ok=True)
    for process in spec.processes:
        for name, text in process.files.items():
            mode = 0o700 if text.startswith("#!") else 0o600
            paths.write_private(places.run / Path(name).name, text.encode(), mode)
    if spec.kernel:
        launcher = PACKAGE / "jupyter" / "inside" / "kernel.py"
        environment.write_kernelspec(places.run / "share", places.user, launcher, places.user.label)


def command(
    process: Process,
    spec: TaskSpec,
    machine: Machine,
    places: Places,
    secrets: Mapping[str, str],
    hosts: Sequence[str] = (),
) -> tuple[list[str], dict[str, str]]:
    """The command line and environment of a process. `hosts`: addresses of the machines by rank."""
    values: dict[str, Callable[[], object]] = {
        "lofty": lambda: PACKAGE,
        "tools": lambda: places.tools,
        "tunnel": lambda: places.tunnel,
        "python": lambda: places.user.python,
        "workdir": lambda: places.workdir,
        "run": lambda: places.run,
        "state": lambda: places.state,
        "token": lambda: places.run / "token",
        "port": lambda: spec.port,
        "name": lambda: spec.name,
    }
    argv = [_filled(word, values) for word in process.argv] + list(process.args)
    env = dict(os.environ)
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # without .pyc every start of Jupyter costs seconds
    env.update(spec.env)
    env.update(secrets)
    env.update({key: _filled(value, values) for key, value in process.env.items()})
    env["LOFTY_TASK"] = spec.id
    env["LOFTY_RANK"], env["LOFTY_SIZE"] = str(machine.rank), str(spec.parallelism)
    env["LOFTY_HOSTS"] = ",".join(hosts)
    env[warning.VARIABLE] = str(warning.file(places.run))
    env.pop("LOFTY_RESTART", None)
    begun_before = machine.number - 1
    if spec.kind == "job" and begun_before:  # a job is begun again only where its machine was lost
        env["LOFTY_RESTART"] = str(begun_before)
    programs = places.user.python.parent
    env["PATH"] = f"{programs}{os.pathsep}{env.get('PATH', os.defpath)}"
    if (programs.parent / "pyvenv.cfg").is_file():
        env["VIRTUAL_ENV"] = str(programs.parent)
    return argv, env


def _filled(text: str, values: dict[str, Callable[[], object]]) -> str:
    return re.sub(r"\{([a-z]+)\}", lambda m: str(values[m[1]]()) if m[1] in values else m[0], text)


async def compile_tools(places: Places) -> None:
    """Compile the tools' bytecode once, at the lowest priority: uv leaves that to the first start, which is slow."""
    folder = places.tools.parent.parent
    done = folder / ".lofty-compiled"
    if done.exists() or not (folder / environment.STAMP).exists():
        return
    nice = ["nice", "-n", "19"] if sys.platform != "win32" else []
    process = await asyncio.create_subprocess_exec(
        *nice,
        str(places.tools),
        "-m",
        "compileall",
        "-q",
        str(folder / "lib"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        if await process.wait() >= 0:  # not killed on the way
            done.touch()
    finally:
        if process.returncode is None:
            process.kill()
