"""The few settings of a repository that go along, cleaned of secrets."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from .description import Settings
from .git import Git, Repository

_KEYS = r"^(remote\..*\.url|branch\..*\.(remote|merge)|user\.(name|email)|core\.(filemode|autocrlf|eol|excludesfile))$"
_WORDS = {
    "filemode": ("true", "false"),
    "autocrlf": ("true", "false", "input"),
    "eol": ("lf", "crlf", "native"),
}
_REMOTE = re.compile(r"\A\w[\w.+/-]*\Z")
_MOST_RULES = 1 << 20
"""Bytes of rules for ignored files."""


def settings(git: Git) -> Settings:
    """The settings in force, wherever the person has written them."""
    values = _values(git)
    core = {key: values.get(f"core.{key}", "").lower() for key in _WORDS}
    remotes, upstreams = {}, {}
    for key, value in values.items():
        name = key.partition(".")[2].rpartition(".")[0]
        if key.startswith("remote.") and _REMOTE.match(name) and (url := without_secrets(value)):
            remotes[name] = url
        if key.startswith("branch.") and key.endswith(".merge"):
            remote = values.get(f"branch.{name}.remote", "")
            if remote == "." or _REMOTE.match(remote):  # it may be an address too, with a password in it
                upstreams[name] = (remote, value)
    return Settings(
        {key: values[f"user.{key}"] for key in ("name", "email") if f"user.{key}" in values},
        {key: value for key, value in core.items() if value in _WORDS[key]},
        remotes,
        upstreams,
    )


def _values(git: Git) -> dict[str, str]:
    """The last value of each key: the one that git itself goes by."""
    entries = git("config", "-z", "--get-regexp", _KEYS, fine=(0, 1)).decode(errors="replace").split("\0")
    return {key: value for key, _, value in (entry.partition("\n") for entry in entries if entry)}


def without_secrets(url: str) -> str | None:
    """A remote's address without password, token or query; None when it cannot be told what is what in it."""
    if "::" in url.split("/", 1)[0] or url.startswith("-") or not url.isprintable():
        return None  # `helper::anything` is a command line
    if "://" not in url:
        # host:path or user@host:path, or a path. An @ behind the first colon smells of a password.
        head, colon, rest = url.partition(":")
        return None if colon and "/" not in head and "@" in rest.split("/", 1)[0] else url
    try:
        parts = urlsplit(url)
        _ = parts.port  # a ValueError when it is not a number: then a piece of a password may stand there
    except ValueError:
        return None
    user, _, host = parts.netloc.rpartition("@")
    if parts.scheme in ("ssh", "git+ssh", "ssh+git") and user:
        host = f"{user.partition(':')[0]}@{host}"  # the name to log in with is part of the address
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def as_text(found: Settings) -> str:
    """The settings as lines for `.git/config`."""
    lines = []
    for section, values in (("user", found.user), ("core", found.core)):
        lines += [f"[{section}]", *(f"\t{key} = {_quoted(value)}" for key, value in values.items())] if values else []
    for name, url in found.remotes.items():
        fetch = f"+refs/heads/*:refs/remotes/{name}/*"
        lines += [f"[remote {_quoted(name)}]", f"\turl = {_quoted(url)}", f"\tfetch = {_quoted(fetch)}"]
    for name, (remote, merge) in found.upstreams.items():
        lines += [f"[branch {_quoted(name)}]", f"\tremote = {_quoted(remote)}", f"\tmerge = {_quoted(merge)}"]
    return "".join(f"{line}\n" for line in lines)


def _quoted(value: str) -> str:
    """A string in git's configuration; no line break in it can end it."""
    inner = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ").replace("\r", " ").replace("\0", "")
    return f'"{inner}"'


def rules(repository: Repository) -> str:
    """The person's rules for ignored files, then the repository's, as one: the later ones win as they do at home."""
    given = _values(repository.git).get("core.excludesfile")
    base = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config")
    mine = Path(given) if given else base / "git" / "ignore"
    texts = []
    for path in (mine, repository.exclude):
        with suppress(OSError, RuntimeError):
            texts.append((repository.git.folder / path.expanduser()).read_text(errors="replace"))
    text = "\n".join(texts)
    return text if len(text) <= _MOST_RULES else ""
