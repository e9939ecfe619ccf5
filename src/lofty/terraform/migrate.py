"""From the provider that lofty succeeds to lofty: what a directory's lock and state hold of it, and what to do.

Nothing in a cloud is touched, and the state need not be changed. What the old provider's machines are doing goes on:
lofty finds it by the identifier in the state, shows it and removes it (`task.inheritance`), where it knows the cloud;
elsewhere the old provider has to end it first. What nothing is left of is planned anew.
"""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..api import Client
from ..errors import AccessError, Conflict, LoftyError, NotFound
from ..model.state import Handle
from .install import SOURCES
from .task import identity, inheritance, results
from .task.declaration import STORAGE

LOCK = ".terraform.lock.hcl"
BACKUP = f"{LOCK}.before-lofty"
SOURCE = SOURCES[0]
_BLOCK = re.compile(rf'^provider "{re.escape(SOURCE.address)}" \{{\n.*?^\}}\n?', re.MULTILINE | re.DOTALL)


class Old(msgspec.Struct, frozen=True, kw_only=True):
    """A resource that the old provider made."""

    address: str
    """As terraform calls it."""
    type: str
    id: str
    cloud: str
    region: str
    storage: list[dict[str, Any]] = []
    """The block, with all of its arguments."""

    @property
    def values(self) -> dict[str, Any]:
        """As a state of lofty's has them."""
        return {"id": self.id, "cloud": self.cloud, "region": self.region, "storage": self.storage}


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What has become of one."""

    old: Old
    gone: bool
    """Nothing is left of it, or lofty has it."""
    text: str


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done in a directory."""

    lock: str
    """The old provider's version in the lock; empty where lofty is locked already, or nothing is."""
    verdicts: tuple[Verdict, ...]

    @property
    def blocked(self) -> bool:
        """Whether something of the old provider's is still there."""
        return not all(verdict.gone for verdict in self.verdicts)


def look(directory: Path, client: Client) -> Found:
    """Reads the directory, and asks the clouds."""
    if not any(directory.glob("*.tf")) and not any(directory.glob("*.tf.json")):
        raise NotFound(f"there is no configuration in {directory}", hint="lofty tf migrate DIR")
    return Found(lock=_locked(directory), verdicts=tuple(_judge(old, client) for old in olds(_state(directory))))


def carry_out(directory: Path, found: Found) -> list[str]:
    """Takes the old provider out of the lock; gives what was done. Raises `Conflict` where something of its is still
    there."""
    if found.blocked:
        there = ", ".join(verdict.old.address for verdict in found.verdicts if not verdict.gone)
        raise Conflict(
            f"the old provider has to end what is still there: {there}",
            hint=f"terraform -chdir={directory} destroy, then lofty tf migrate again",
        )
    done = []
    if found.lock:
        lock = directory / LOCK
        text = lock.read_text()
        (directory / BACKUP).write_text(text)
        lock.write_text(_BLOCK.sub("", text))
        done.append(f"taken out of {LOCK}: version {found.lock} (the file as it was: {BACKUP})")
    return done


def _locked(directory: Path) -> str:
    try:
        text = (directory / LOCK).read_text()
    except FileNotFoundError:
        return ""
    block = _BLOCK.search(text)
    if block is None or SOURCE.hash in block[0]:
        return ""
    version = re.search(r'version\s*=\s*"([^"]*)"', block[0])
    return version[1] if version else "unknown"


def _state(directory: Path) -> Mapping[str, Any]:
    file = directory / "terraform.tfstate"
    if file.is_file():
        text = file.read_text()
    elif (directory / ".terraform" / "terraform.tfstate").is_file():  # kept elsewhere: terraform knows where
        text = _terraform(directory, "state", "pull")
    else:
        return {}
    try:
        state = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise LoftyError(f"the state of {directory} cannot be read: {error}", hint="terraform state pull") from error
    return state if isinstance(state, dict) else {}


def olds(state: Mapping[str, Any]) -> Iterator[Old]:
    """What in a state the old provider has made. lofty leaves a mark beside what is its own."""
    for resource in state.get("resources", []):
        if resource.get("mode") != "managed" or SOURCE.address not in resource.get("provider", ""):
            continue
        for instance in resource.get("instances", []):
            if _is_ours(instance.get("private") or ""):
                continue
            values = instance.get("attributes") or {}
            prefix = f"{resource['module']}." if resource.get("module") else ""
            index = instance.get("index_key")
            address = f"{prefix}{resource['type']}.{resource['name']}"
            yield Old(
                address=address if index is None else f"{address}[{json.dumps(index)}]",
                type=resource["type"],
                id=str(values.get("id") or ""),
                cloud=str(values.get("cloud") or ""),
                region=str(values.get("region") or "us-west"),
                storage=[
                    dict.fromkeys(one.name for one in STORAGE.attributes) | block
                    for block in values.get("storage") or []
                ],
            )


def _is_ours(private: str) -> bool:
    try:
        msgspec.json.decode(base64.b64decode(private), type=Handle)
    except (ValueError, msgspec.MsgspecError):
        return False
    return True


def _judge(old: Old, client: Client) -> Verdict:
    if old.type != "iterative_task":
        return Verdict(old=old, gone=False, text=f"lofty has no {old.type}; {inheritance.END} {old.address}")
    found = identity.parsed(old.id)
    if found and any(task.name == found.task for task in client.tasks()):
        return Verdict(old=old, gone=True, text="is lofty's own already")
    try:
        left = inheritance.of(client, old.values)
    except AccessError:
        raise
    except LoftyError as error:
        return Verdict(old=old, gone=False, text=f"{error}; {error.hint} {old.address}")
    if left is None:
        text = f"nothing is left of it in {old.region}; lofty makes it anew when applied"
        return Verdict(old=old, gone=True, text=text)
    there = ", ".join(one.kind for one in left.resources)
    running = results.status(left.observe().machines).get("running", 0)
    text = f"goes on ({there}; {running} running): lofty shows it from now on, and removes it with terraform destroy"
    return Verdict(old=old, gone=True, text=text)


def _terraform(directory: Path, *arguments: str) -> str:
    program = shutil.which("terraform")
    if program is None:
        raise NotFound("terraform is not on PATH", hint="install terraform 1.0 or newer")
    command: Sequence[str] = [program, f"-chdir={directory}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise LoftyError(f"terraform {arguments[0]} failed: {done.stderr.strip()[-500:]}", hint=" ".join(command))
    return done.stdout
