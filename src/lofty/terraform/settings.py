"""What a person's `.terraformrc` says about where providers come from: as much of its language as that takes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

_WORD = re.compile(r'"(?:[^"\\]|\\.)*"|#[^\n]*|//[^\n]*|/\*.*?\*/|[{}\[\]=,\n]|[^\s{}\[\]=,"]+|[^\S\n]+', re.DOTALL)
Words = list[str]


class Method(msgspec.Struct, frozen=True):
    """One way in the block `provider_installation`."""

    kind: str
    """`filesystem_mirror`, `network_mirror`, `direct` or `dev_overrides`."""
    words: tuple[str, ...]
    """All text in it, in its order: names, addresses, paths."""

    def argument(self, name: str) -> list[str]:
        """The texts after a name, up to the next one."""
        found: list[str] = []
        taking = False
        for word in self.words:
            if word.startswith('"'):
                if taking:
                    found.append(word[1:-1])
            else:
                taking = word == name
        return found

    def covers(self, address: str) -> bool:
        """Whether it is asked for that provider at all."""
        include, exclude = self.argument("include"), self.argument("exclude")
        return (not include or any(_fits(one, address) for one in include)) and not any(
            _fits(one, address) for one in exclude
        )


def file(environ: Mapping[str, str], home: Path) -> Path:
    """Where terraform reads its settings from."""
    said = environ.get("TF_CLI_CONFIG_FILE") or environ.get("TERRAFORM_CONFIG")
    return Path(said) if said else home / ".terraformrc"


def methods(text: str) -> list[Method] | None:
    """The ways in `provider_installation`, in their order; None where there is no such block, and terraform looks into
    its own folders."""
    words = [one for one in _WORD.findall(text) if not one.isspace() and not one.startswith(("#", "//", "/*"))]
    for name, body in _blocks(words):
        if name == "provider_installation":
            return [
                Method(kind, tuple(word for word in inner if word not in "{}[]=,")) for kind, inner in _blocks(body)
            ]
    return None


def _blocks(words: Words) -> Iterator[tuple[str, Words]]:
    """The names before braces on this level, each with what is in the braces."""
    depth = start = 0
    name = before = ""
    for at, word in enumerate(words):
        if word == "{":
            if depth == 0:
                name, start = before, at + 1
            depth += 1
        elif word == "}":
            depth -= 1
            if depth == 0:
                yield name.strip('"'), words[start:at]
        elif depth == 0 and word != "=":
            before = word


def _fits(pattern: str, address: str) -> bool:
    """`*/*`, `iterative/*`, `registry.terraform.io/iterative/iterative`."""
    wanted = pattern.split("/")
    parts = address.split("/")
    return len(wanted) <= len(parts) and all(
        one in ("*", part) for one, part in zip(wanted, parts[-len(wanted) :], strict=True)
    )
