"""What would keep terraform from finding or starting lofty, found out before it does."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from ..model.state import Finding
from . import install, settings
from .plugin import COOKIE

OLDEST = (1, 0)
"""Protocol 6 came with 0.15.4, the last version before it."""
PATIENCE = 20.0
"""Seconds for the provider to say hello."""


def findings(environ: Mapping[str, str], home: Path, directory: Path) -> Iterator[Finding]:
    """Everything, in the order in which terraform comes to it. `directory` is where terraform would be run."""
    plugins = install.plugins(home)
    yield from _terraform(environ)
    yield from _settings(environ, home, plugins)
    yield from _installed(plugins)
    yield from _hello(environ, plugins)
    yield from _lock(directory)
    for source in install.SOURCES:
        near = directory / "terraform.d/plugins" / install.HOST / source.namespace / source.name
        if near.is_dir():
            yield _wrong(f"{near} comes before lofty's own place", f"move {near} elsewhere")


def _wrong(what: str, hint: str) -> Finding:
    return Finding(ok=False, what=what, hint=hint, exit_code=1)


def _terraform(environ: Mapping[str, str]) -> Iterator[Finding]:
    program = shutil.which("terraform", path=environ.get("PATH"))
    if program is None:
        yield _wrong("terraform is not on PATH", "install terraform 1.0 or newer")
        return
    try:
        done = subprocess.run(
            [program, "version", "-json"],
            env={**environ, "CHECKPOINT_DISABLE": "1"},
            capture_output=True,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
        )
        version = str(msgspec.json.decode(done.stdout, type=dict[str, object])["terraform_version"])
        number = tuple(map(int, re.findall(r"\d+", version)[:2]))
    except (OSError, subprocess.SubprocessError, msgspec.MsgspecError, KeyError) as error:
        yield _wrong(f"{program} does not tell its version: {error}", "install terraform 1.0 or newer")
        return
    if number < OLDEST:
        yield _wrong(f"terraform {version} is too old", "install terraform 1.0 or newer")
    else:
        yield Finding(ok=True, what=f"terraform {version}, {program}")


def _settings(environ: Mapping[str, str], home: Path, plugins: Path) -> Iterator[Finding]:
    """Terraform's own folders are looked into only where its settings do not say where providers come from."""
    file = settings.file(environ, home)
    try:
        methods = settings.methods(file.read_text())
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        yield _wrong(f"{file} cannot be read: {error}", f"look at {file}")
        return
    for source in install.SOURCES if methods is not None else ():
        for method in methods or ():
            if method.kind == "dev_overrides" and {source.short, source.address} & {
                word.strip('"') for word in method.words
            }:
                yield _wrong(f"{file} overrides {source.short} (dev_overrides)", f"take it out of {file}")
        asked = [one for one in methods or () if one.kind != "dev_overrides" and one.covers(source.address)]
        if not any(one.kind == "filesystem_mirror" and _same(one.argument("path"), plugins, home) for one in asked):
            mirror = f'filesystem_mirror {{ path = "{plugins}" include = ["{source.short}"] }}'
            yield _wrong(
                f"{file} keeps terraform from finding {source.short}", f"add to its provider_installation: {mirror}"
            )


def _same(paths: list[str], plugins: Path, home: Path) -> bool:
    return any(Path(one.replace("~", str(home), 1)).resolve() == plugins.resolve() for one in paths)


def _installed(plugins: Path) -> Iterator[Finding]:
    there = set(install.installed(plugins))
    for source in install.SOURCES:
        wanted = source.programs(plugins)
        folder = wanted[0].parent.parent
        if not set(wanted) <= there:
            others = [one for one in folder.glob("*/*") if one.is_file() and one not in there]
            what = f"another program lies there: {others[0]}" if others else "not installed"
            yield _wrong(
                f"{source.short}: {what}", f"rm -r {folder}; lofty tf install" if others else "lofty tf install"
            )
            continue
        newer = [
            one.name
            for one in folder.parent.iterdir()
            if one.is_dir() and one != folder and _newer(one.name, folder.name)
        ]
        if newer:
            yield _wrong(
                f"{source.short} {newer[0]} lies beside lofty's {source.version}",
                f"mv {folder.parent / newer[0]} elsewhere",
            )
        else:
            yield Finding(ok=True, what=f"{source.short} {source.version}, {folder}")


def _newer(one: str, other: str) -> bool:
    left, right = (tuple(map(int, re.findall(r"\d+", text)[:3])) for text in (one, other))
    return left > right


def _hello(environ: Mapping[str, str], plugins: Path) -> Iterator[Finding]:
    """Start it as terraform does, and hear its first line."""
    there = install.installed(plugins)
    if not there:
        return
    plain = {key: value for key, value in environ.items() if not key.startswith("PLUGIN_")}
    with subprocess.Popen(
        [there[0]],
        env={**plain, COOKIE[0]: COOKIE[1], "PLUGIN_PROTOCOL_VERSIONS": "5,6"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        line = _first_line(process)
    lofty = shutil.which("lofty", path=environ.get("PATH"))
    if line.startswith("1|6|unix|"):
        yield Finding(ok=True, what=f"the provider starts, {lofty}")
    else:
        words = line.strip().removeprefix("lofty: ") or f"{lofty} does not serve terraform"
        what, _, hint = words.partition("; try: ")
        yield _wrong(what, hint or "install the same lofty where terraform finds it")


def _first_line(process: subprocess.Popen[bytes]) -> str:
    import select

    if process.stdout is None:
        return ""
    ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
    line = process.stdout.readline().decode(errors="replace") if ready else ""
    # It goes by itself when nobody asks anything of it: this asks.
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    return line


def _lock(directory: Path) -> Iterator[Finding]:
    """A lock of another provider, or of another version, is refused."""
    file = directory / ".terraform.lock.hcl"
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError):
        return
    for source in install.SOURCES:
        entry = re.search(rf'provider\s+"{re.escape(source.address)}"\s*{{(.*?)\n}}', text, re.DOTALL)
        if entry is None:
            continue
        version = re.search(r'^\s*version\s*=\s*"([^"]*)"', entry[1], re.MULTILINE)
        hashes = re.findall(r'"(h1:[^"]*)"', entry[1])
        if version is None or version[1] != source.version:
            locked = version[1] if version else "no version"
            yield _wrong(f"{file} locks {source.short} {locked}, lofty is {source.version}", "terraform init -upgrade")
        elif hashes and source.hash not in hashes:
            yield _wrong(f"{file} locks another {source.short} {source.version}", f"rm {file}; terraform init")
        else:
            yield Finding(ok=True, what=f"{file} fits {source.short}")
