"""Where `terraform init` finds a provider without a registry, and the launcher that is put there.

Terraform locks a provider's version and the hash of its files, and refuses every other from then on, also with
`init -upgrade`. So neither changes from one lofty to the next: the launcher is a few lines of shell that start
whichever lofty is on PATH. The hash does not depend on the platform either; a lock made on Linux holds on macOS.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from ..errors import Conflict

LAUNCHER = b"""\
#!/bin/sh
# Terraform starts this, and this starts the lofty on your PATH. Terraform locks these bytes: leave them as they are.
trap '' INT
if ! command -v lofty >/dev/null; then
  echo "lofty is not on the PATH that terraform was started with; try: open the environment where lofty is installed"
  exit 1
fi
exec lofty tf serve
"""
"""Never to be changed. From here on Ctrl-C is left to terraform; a line on stdout is what terraform shows a person."""
PLATFORMS = ("darwin_amd64", "darwin_arm64", "linux_amd64", "linux_arm64")
"""All of them everywhere: the launcher is the same, a home may be shared, and terraform may run translated."""
HOST = "registry.terraform.io"


class Source(msgspec.Struct, frozen=True):
    """A provider under one of the names by which a configuration asks for it."""

    namespace: str
    name: str
    version: str

    @property
    def address(self) -> str:
        """As in a lock file."""
        return f"{HOST}/{self.namespace}/{self.name}"

    @property
    def short(self) -> str:
        """As in a configuration."""
        return f"{self.namespace}/{self.name}"

    @property
    def program(self) -> str:
        """The launcher's file name, which terraform prescribes."""
        return f"terraform-provider-{self.name}_v{self.version}"

    @property
    def hash(self) -> str:
        """What terraform locks: `h1`, over names and hashes of the files (as golang.org/x/mod/sumdb/dirhash has it)."""
        listing = f"{hashlib.sha256(LAUNCHER).hexdigest()}  {self.program}\n"
        return "h1:" + base64.b64encode(hashlib.sha256(listing.encode()).digest()).decode()

    def programs(self, plugins: Path) -> list[Path]:
        """Where the launcher belongs, for every platform."""
        version = plugins / HOST / self.namespace / self.name / self.version
        return [version / platform / self.program for platform in PLATFORMS]


SOURCES = (Source("iterative", "iterative", "0.11.100"), Source("lofty", "lofty", "1.0.0"))
"""The first is the name in configurations written for the provider that lofty succeeds, whose last version is 0.11.20:
higher than every one of its versions, and within `~> 0.11` and `~> 0.11.0`."""


def plugins(home: Path) -> Path:
    """The folder that terraform looks into without being told, on Linux and macOS."""
    return home / ".terraform.d/plugins"


def install(folder: Path) -> list[Path]:
    """Put the launchers there; gives those that are new. What is there already stays untouched. Raises `Conflict`
    where something else lies in their place, before anything is written."""
    wanted = [program for source in SOURCES for program in source.programs(folder)]
    for program in wanted:
        if others := _others(program):
            raise Conflict(
                f"another provider is installed there: {others[0]}",
                hint=f"move {program.parent.parent} elsewhere, then: lofty tf install",
            )
    new = [program for program in wanted if not program.exists()]
    for program in new:
        program.parent.mkdir(parents=True, exist_ok=True)
        # Written beside the folder and then moved: terraform hashes whatever lies in it.
        part = program.parent.with_name(f".{program.parent.name}.{os.getpid()}")
        part.write_bytes(LAUNCHER)
        part.chmod(0o755)
        part.replace(program)
    return new


def uninstall(folder: Path) -> list[Path]:
    """Take the launchers away, and the folders that are empty then; gives what was there. Nothing else is touched."""
    gone = [program for program in installed(folder) if program.exists()]
    for program in gone:
        program.unlink()
        for parent in _up(program, folder):
            with contextlib.suppress(OSError):
                parent.rmdir()
    return gone


def installed(folder: Path) -> list[Path]:
    """The launchers that are there as they should be."""
    wanted = (program for source in SOURCES for program in source.programs(folder))
    return [program for program in wanted if program.is_file() and not _others(program)]


def _others(program: Path) -> list[Path]:
    """What lies in a launcher's folder and is not the launcher: terraform's hash would be another."""
    if not program.parent.is_dir():
        return []
    return [one for one in program.parent.iterdir() if one.name != program.name or one.read_bytes() != LAUNCHER]


def _up(program: Path, folder: Path) -> Iterable[Path]:
    """From a launcher's folder up to that of all plugins, without it."""
    for parent in program.parents:
        if parent == folder:
            return
        yield parent
