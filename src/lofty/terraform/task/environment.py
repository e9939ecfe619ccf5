"""The variables of a script: literal ones, those of this computer, and those that the predecessor always added."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ..diagnostics import Diagnostic, Key
from ..schema import UNKNOWN

AUTOMATIC = ("CI", "CI_*", "GITHUB_*", "BITBUCKET_*", "CML_*", "REPO_TOKEN")
"""What goes along from this computer without being asked for, so that a script in a CI run knows where it is."""


def resolved(asked: Mapping[str, str | None], environ: Mapping[str, str], region: str, machine: str) -> dict[str, str]:
    """The variables with their values. A blank value takes that of this computer, under every name that fits where
    there is a `*`; what is not set here is left out. What is asked for goes before what is automatic."""
    found = {"TPI_TASK": "true", "TPI_REGION": region, "TPI_MACHINE": machine}
    found |= _blank(AUTOMATIC, environ)
    found |= _blank([name for name, value in asked.items() if not value], environ)
    return found | {name: value for name, value in asked.items() if value}


def _blank(names: tuple[str, ...] | list[str], environ: Mapping[str, str]) -> dict[str, str]:
    patterns = [re.compile(".*".join(map(re.escape, name.split("*"))), re.DOTALL) for name in names]
    return {name: value for name, value in environ.items() if any(one.fullmatch(name) for one in patterns)}


def problems(asked: Mapping[str, object]) -> Iterator[Diagnostic]:
    """What cannot be a variable."""
    for name, value in asked.items():
        path = (Key(name),)
        if not name or "=" in name or "\0" in name:
            yield Diagnostic(f"'{name}' cannot be the name of a variable", 'Write it like TOKEN = "".', path)
        elif "*" in name and value is not UNKNOWN and value:
            yield Diagnostic(
                f"'{name}' stands for several variables, and has a value",
                f'Write "{name}" = "" for those of this computer, or name one variable.',
                path,
            )
        elif isinstance(value, str) and "\0" in value:
            yield Diagnostic(f"the value of {name} holds a zero byte", "A variable cannot.", path)
