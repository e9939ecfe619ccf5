"""Identifiers of tasks, as the predecessor made them: `tpi-NAME-SALT-CHECK`. The check is made from what is before it,
so that an identifier is told from a name, and whoever gives one means that very task."""

from __future__ import annotations

import hashlib
import re
import secrets
import string
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ...errors import SpecError

PREFIX = "tpi"
NAME_LIMIT = 28
DIGITS = string.digits + string.ascii_lowercase
_FORM = re.compile(rf"{PREFIX}-([a-z0-9-]{{1,{NAME_LIMIT}}})-([a-z0-9]{{8}})-([a-z0-9]{{8}})")
RUNS = ("GITHUB_RUN_ID", "CI_PIPELINE_ID", "BITBUCKET_STEP_TRIGGERER_UUID")
"""What names a run of a CI service, the first that is set."""

_HOW = ("brave", "calm", "clear", "eager", "early", "fair", "fond", "glad", "keen", "kind", "light", "lucid",
        "mild", "neat", "noble", "open", "plain", "proud", "quick", "quiet", "rapid", "ready", "sharp", "sound",
        "steady", "sunny", "swift", "tidy", "vivid", "warm", "wise", "young")  # fmt: skip
_WHO = ("badger", "beaver", "bison", "crane", "deer", "dingo", "eagle", "falcon", "ferret", "finch", "gecko", "heron",
        "horse", "ibex", "jackal", "koala", "lemur", "lynx", "marten", "moose", "otter", "panda", "puffin", "raven",
        "robin", "seal", "stork", "swan", "tapir", "viper", "walrus", "wombat")  # fmt: skip


class Identifier(NamedTuple):
    """One task's."""

    name: str
    """At most 28 of a-z, 0-9 and -."""
    salt: str

    @property
    def check(self) -> str:
        """Of the name and the salt."""
        return digest(self.name + self.salt)

    @property
    def text(self) -> str:
        """As terraform shows it: at most 50 characters."""
        return f"{PREFIX}-{self.name}-{self.salt}-{self.check}"

    @property
    def task(self) -> str:
        """The name of lofty's task, for `lofty ls`, `logs`, `ssh` and `down`."""
        return f"{self.name}-{self.check}"


def digest(text: str) -> str:
    """The first eight digits, to the base of 36, of the SHA-256 as one number."""
    number = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")
    found = ""
    while number:
        number, digit = divmod(number, 36)
        found = DIGITS[digit] + found
    return found[:8]


def normalised(name: str) -> str:
    """What of a free text an identifier holds. Raises `SpecError` where that is nothing."""
    word = re.sub(r"[^a-z0-9]+", "-", name.lower())[:NAME_LIMIT].strip("-")
    if not word:
        raise SpecError(f"'{name}' holds no letter or digit", hint='name it like "training"')
    return word


def parsed(text: str) -> Identifier | None:
    """The identifier that a text is; None where it is none, its check included."""
    match = _FORM.fullmatch(text)
    found = Identifier(match[1], match[2]) if match else None
    return found if found and found.text == text and normalised(found.name) == found.name else None


def named(name: str) -> Identifier:
    """The one that a name always has; a name that is an identifier is that one."""
    if (found := parsed(name)) is not None:
        return found
    word = normalised(name)
    return Identifier(word, digest(word))


def of_run(run: str, key: str, count: int = 0) -> Identifier:
    """The one that a task without a name has in a run of a CI service, so that the run done again finds it again. The
    predecessor gave one identifier to all tasks of a run; `key` tells what they are apart, and `count` those that are
    the same."""
    return Identifier(normalised(run), digest(f"{run}\0{key}\0{count}"))


def fresh(choice: Callable[[Sequence[str]], str] = secrets.choice) -> Identifier:
    """One that nobody has."""
    return Identifier(f"{choice(_HOW)}-{choice(_HOW)}-{choice(_WHO)}", "".join(choice(DIGITS) for _ in range(8)))


def run_of(environ: Mapping[str, str]) -> str:
    """What names the run of a CI service that this is; empty outside of any."""
    return next((environ[name] for name in RUNS if re.search(r"[A-Za-z0-9]", environ.get(name, ""))), "")
