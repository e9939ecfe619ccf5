"""Command lines for OpenSSH, in which everything is said and nothing is left to the person's own configuration.

The system's `ssh` rather than a library: every Linux and macOS has it and mends it, and a library would cost every
installation megabytes and half a second of import. Which machine is the right one is decided by the host key that it
published through the task's store: an address alone proves nothing, and nothing is trusted on first use.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..agent.paths import write_private
from ..errors import AccessError, LoftyError, MissingExtra, Unavailable
from ..model.state import Endpoint

RECORD = "ssh"
"""The private half of a task's client key in `Records.secret`; the public half is under the same name with `.pub`."""
_ALIAS = "lofty"
"""What the machine is called in its file of known hosts, whatever its address is today."""
_CONNECT_SECONDS, _ALIVE_SECONDS, _ALIVE_COUNT = 10, 5, 3
"""A machine that is gone without a word is noticed within 20 seconds (measured: 19.8 until another one answered)."""

_HOST_KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/]{60,120}={0,3}")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9]+)?")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class Key(NamedTuple):
    """A client key: the private half as OpenSSH keeps it in a file, the public one as a line."""

    private: str
    public: str


def new_key() -> Key:
    """A key of a task's own, made by `ssh-keygen`."""
    with tempfile.TemporaryDirectory(prefix="lofty-key-") as folder:
        path = Path(folder) / "key"
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lofty", "-f", str(path)]
        try:
            subprocess.run(words, check=True, capture_output=True, stdin=subprocess.DEVNULL)
        except FileNotFoundError:
            raise _missing("ssh-keygen") from None
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip()
            raise LoftyError(f"ssh-keygen made no key: {said}", hint="ssh-keygen -t ed25519 -f /tmp/key") from error
        return Key(path.read_text(), path.with_suffix(".pub").read_text().strip())


def folder_of(home: str | Path, task_id: str) -> Path:
    """Where this computer keeps the keys for a task's machines."""
    return Path(home).absolute() / "ssh" / task_id


def prepare(folder: Path, end: Endpoint, private: str | None = None) -> None:
    """Write what `command` refers to: the machine's pinned key, and the task's own where it is given."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(_known(folder, end), f"{_ALIAS} {_pinned(end)}\n".encode())
    if private is not None:
        write_private(folder / "key", private.encode())


def command(folder: Path, end: Endpoint, *options: str, words: Sequence[str] = ()) -> list[str]:
    """The command line to that machine, with keys in a `folder` that `prepare` filled. Pure. Raises `AccessError` for
    an endpoint without a host key."""
    if not _HOST.fullmatch(end.host) or not _USER.fullmatch(end.user):
        raise LoftyError(f"'{end.user}@{end.host}' is no address of a machine", hint="lofty check")
    _pinned(end)
    settings = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "HostKeyAlias": _ALIAS,
        "HostKeyAlgorithms": "ssh-ed25519",
        "UserKnownHostsFile": _quoted(_known(folder, end)),
        "GlobalKnownHostsFile": "/dev/null",
        "UpdateHostKeys": "no",
        "IdentitiesOnly": "yes",
        "IdentityFile": _quoted(folder / "key"),
        "IdentityAgent": "none",
        "PreferredAuthentications": "publickey",
        "ForwardAgent": "no",
        "ControlPath": "none",
        "ConnectTimeout": str(_CONNECT_SECONDS),
        "ServerAliveInterval": str(_ALIVE_SECONDS),
        "ServerAliveCountMax": str(_ALIVE_COUNT),
        "LogLevel": "ERROR",
    }
    given = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    where = ("-l", end.user, "-p", str(end.ssh_port))
    return ["ssh", "-F", "none", *given, *where, *options, "--", end.host, *words]


def forwarding(folder: Path, end: Endpoint, near: str | Path) -> list[str]:
    """A command line that only forwards: `near`, a socket's path or `127.0.0.1:PORT`, leads to the endpoint's port on
    the machine's loopback."""
    return command(
        *(folder, end, "-N", "-T", "-o", "ExitOnForwardFailure=yes", "-o", "StreamLocalBindUnlink=yes"),
        *("-L", f"{near}:127.0.0.1:{end.port}"),
    )


def run(folder: Path, end: Endpoint, key: str, words: Sequence[str], *, name: str, terminal: bool) -> int:
    """Run a command on the machine, or a shell where there are no words, on this process's own terminal and pipes.
    Gives its exit code. One word is a line for the machine's shell; several arrive as they are. Raises where `ssh`
    itself failed."""
    prepare(folder, end, key)
    line = words[0] if len(words) == 1 else shlex.join(words)
    with tempfile.TemporaryDirectory(prefix="lofty-ssh-") as place:
        # Its own words go to a file, so that they are told apart from those of the command, which may say 255 too.
        log = Path(place) / "log"
        options = ("-E", str(log), *(("-t",) if terminal else ("-T",)))
        try:
            code = subprocess.call(command(folder, end, *options, words=[line] if line else []))
        except FileNotFoundError:
            raise _missing("ssh") from None
        said = log.read_text(errors="replace").strip() if log.exists() else ""
    if code == 255 and said:
        raise failure(said, end, name)
    return code


def failure(said: str, end: Endpoint, name: str) -> LoftyError:
    """What `ssh` said before it ended, as an error. `AccessError` where trying again cannot help."""
    there = f"{end.host}, port {end.ssh_port},"
    again = f"lofty stop {name}, then lofty start {name}"
    if re.search(r"host key verification failed|no matching host key type|host identification has changed", said, re.I):
        text = f"the machine at {there} has not the host key that '{name}' published: nothing was sent to it"
        return AccessError(text, hint=again)
    if re.search(r"permission denied|too many authentication failures", said, re.I):
        return AccessError(f"the machine at {there} refused the key of '{name}'", hint=again)
    last = said.strip().splitlines()[-1].strip() if said.strip() else "the connection ended without a word"
    return Unavailable(f"the machine at {there} cannot be reached: {last}", hint=f"lofty ls, or {again}", retry_after=2)


def missing_program() -> LoftyError | None:
    """What to tell where there is no `ssh`."""
    from shutil import which

    return None if which("ssh") else _missing("ssh")


def _missing(program: str) -> LoftyError:
    return MissingExtra(f"the program {program} is not installed", hint="apt-get install openssh-client")


def _pinned(end: Endpoint) -> str:
    """The host key without its comment. One line and nothing else, for it comes from a machine."""
    key = " ".join(end.host_key.split(" ")[:2])
    if not _HOST_KEY.fullmatch(key):
        what = "a host key that cannot be read" if end.host_key else "no host key"
        text = f"the machine at {end.host} has published {what}: it cannot be told from another one"
        raise AccessError(text, hint="lofty ls, and try again when the machine is running")
    return key


def _known(folder: Path, end: Endpoint) -> Path:
    """A file for each key: several machines of a task may be talked to at once."""
    return folder / f"known_hosts-{hashlib.sha256(_pinned(end).encode()).hexdigest()[:12]}"


def _quoted(path: Path) -> str:
    """A path as a value of ssh's configuration: without quotes, blanks would separate files, and % begins a token."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text}"'
