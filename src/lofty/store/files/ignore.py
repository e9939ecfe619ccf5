"""Which paths of a directory go along. Rules are git's, read by `pathspec`; the strongest that says anything decides:

    what is lofty's own, and `.git`     never goes along
    paths that have to go along         a job's known output
    `--exclude`
    `.loftyignore`                      may bring back, with `!`, what a weaker rule leaves out
    `.gitignore`
    lofty's defaults                    secrets, environments, caches, Terraform's state

As in git, what lies in a folder that is left out is left out, and an ignore file speaks for its own folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

from pathspec.patterns.gitignore import GitIgnorePatternError
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from ...errors import SpecError
from .tree import is_own

Why = Literal["own", "secret", "environment", "cache", "state", "rule"]

GITIGNORE, LOFTYIGNORE = ".gitignore", ".loftyignore"
RULE_BYTES = 1024 * 1024
"""No larger ignore file is read."""

_KEYS = r"""
    \.env | \.env\.(?!example$|sample$|template$|dist$).* | \.envrc | .*\.pem | .*\.key | .*\.p12 | .*\.pfx
    | .*\.kdbx | id_(rsa|ed25519|ecdsa|dsa)(?!.*\.pub$).* | [._]netrc | \.pypirc | \.npmrc | \.pgpass | \.htpasswd
    | \.git-credentials | credentials\.json | client_secret.*\.json | service[-_]account.*\.json
    | application_default_credentials\.json | \.aws | \.azure | \.ssh | \.gnupg | \.kube | gcloud | \.docker
"""
_ENVIRONMENT = r"\.venv | venv | \.conda | conda-meta | \.virtualenv"
_CACHE = r"""
    node_modules | __pycache__ | .*\.py[co] | \.ipynb_checkpoints
    | \.(mypy|ruff|pytest|hypothesis)(_cache)? | \.tox | \.nox
    | \.DS_Store | Thumbs\.db | \.cache | \.eggs
"""
_STATE = r"\.terraform | .*\.tfstate | .*\.tfstate\..*"
DEFAULTS = re.compile(
    rf"(?P<secret>{_KEYS})|(?P<environment>{_ENVIRONMENT})|(?P<cache>{_CACHE})|(?P<state>{_STATE})",
    re.VERBOSE,
)
"""What is left out unless a person says otherwise, by name alone."""
_KINDS: tuple[Why, ...] = ("secret", "environment", "cache", "state")
ONLY_FOLDERS = frozenset({"gcloud", "venv", "conda-meta"})


class _Pattern(NamedTuple):
    """One line of an ignore file."""

    regex: re.Pattern[str]
    leaves_out: bool
    marks_folders: bool


class _Patterns:
    """The lines of one ignore file, for the folder that it lies in."""

    def __init__(self, lines: Sequence[str], problems: list[str], where: str) -> None:
        self._patterns: list[_Pattern] = []
        for line in lines:
            try:
                # For git `a/**/` is each folder in a; pathspec takes a itself for one.
                one = GitIgnoreSpecPattern(line + "*/" if line.endswith("/**/") else line)
            except (GitIgnorePatternError, ValueError, re.error):
                problems.append(f"{where}: '{line}' is no rule")
                continue
            if one.include is not None and one.regex is not None:
                regex = one.regex
                self._patterns.append(_Pattern(regex, bool(one.include), "ps_d" in regex.groupindex))
        self._patterns.reverse()

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def says(self, path: str, *, folder: bool) -> bool | None:
        """Whether the last line that fits leaves this very path out, its folders aside; None when none fits."""
        marked = f"{path}/" if folder else path
        for regex, leaves_out, marks in self._patterns:
            found = regex.search(marked if marks else path)
            if found and (not marks or found.end("ps_d") in (-1, len(marked))):
                return leaves_out
        return None


class _Folder(NamedTuple):
    """A folder that was entered."""

    why: Why | None
    """Why it is left out."""
    lofty: tuple[tuple[int, _Patterns], ...] = ()
    """What speaks here, deepest first, each with the length of its folder's path."""
    git: tuple[tuple[int, _Patterns], ...] = ()


class Rules:
    """What goes along of one directory. Ignore files are read once: make another one to see them changed."""

    def __init__(
        self, root: Path, exclude: Sequence[str] = (), include: Sequence[str] = (), *, git: bool = True
    ) -> None:
        """`git`: whether `.gitignore` files count. They do for what goes out from a person's folder; what a machine
        makes under such names (results, checkpoints) is what it was lent for, and comes back."""
        self._root, self._git = os.fspath(root), git
        self.problems: list[str] = []
        """Lines that are no rules."""
        self._exclude = _Patterns(exclude, self.problems, "--exclude")
        self._include = frozenset(include)
        self._include_above = frozenset(chain.from_iterable(_above(path) for path in include))
        self._names: dict[str, Why | None] = {}
        self._folders: dict[str, _Folder] = {"": self._enter("", _Folder(None), None)}

    @staticmethod
    def is_rule_file(name: str) -> bool:
        """Whether a file of that name changes what goes along."""
        return name in (GITIGNORE, LOFTYIGNORE)

    def excluded(self, path: str, *, folder: bool) -> Why | None:
        """Why a path does not go along; None when it does. The path need not be there."""
        parent = self._folder(path.rpartition("/")[0])
        why = parent.why or (self._folder(path).why if folder else self._why(path, parent, folder=False))
        if why not in (None, "own") and (path in self._include or (folder and path in self._include_above)):
            return None
        return why

    def _folder(self, path: str) -> _Folder:
        found = self._folders.get(path)
        if found is None:
            parent = self._folder(path.rpartition("/")[0])
            why = parent.why or self._why(path, parent, folder=True)
            found = self._folders[path] = self._enter(path, parent, why)
        return found

    def _why(self, path: str, parent: _Folder, *, folder: bool) -> Why | None:
        name = path.rpartition("/")[2]
        default = self._default(name)
        if default == "own":
            return "own"
        if self._exclude and (said := self._exclude.says(path, folder=folder)) is not None:
            return "rule" if said else None
        for skip, patterns in parent.lofty:
            if (said := patterns.says(path[skip:], folder=folder)) is not None:
                return "rule" if said else None
        if default is not None and (folder or name not in ONLY_FOLDERS):
            return default
        for skip, patterns in parent.git:
            if (said := patterns.says(path[skip:], folder=folder)) is not None:
                return "rule" if said else None
        if folder and os.path.exists(f"{self._root}/{path}/pyvenv.cfg"):
            return "environment"
        return None

    def _default(self, name: str) -> Why | None:
        try:
            return self._names[name]
        except KeyError:
            found = DEFAULTS.fullmatch(name)
            why: Why | None = "own" if is_own(name) else None
            if found and why is None:
                why = next(kind for kind in _KINDS if found[kind] is not None)
            self._names[name] = why
            return why

    def _enter(self, path: str, parent: _Folder, why: Why | None) -> _Folder:
        if why is not None:
            return _Folder(why)
        skip = len(path) + 1 if path else 0
        lofty = self._read(path, LOFTYIGNORE)
        git = self._read(path, GITIGNORE) if self._git else None
        return _Folder(
            None,
            ((skip, lofty), *parent.lofty) if lofty else parent.lofty,
            ((skip, git), *parent.git) if git else parent.git,
        )

    def _read(self, folder: str, name: str) -> _Patterns | None:
        where = f"{folder}/{name}" if folder else name
        try:
            fd = os.open(f"{self._root}/{where}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            text = os.read(fd, RULE_BYTES).decode("utf-8", "surrogateescape")
        except OSError:  # a folder of that name, for one
            return None
        finally:
            os.close(fd)
        return _Patterns(text.replace("\r\n", "\n").split("\n"), self.problems, where)


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def from_predecessor(items: Sequence[str]) -> list[str]:
    """The `exclude` items of terraform-provider-iterative as rules for `exclude`. A plain item is anchored at the
    root; one that begins with `+ ` or `- ` is a filter rule of rclone, of which the first that fits decides. Raises
    `SpecError` for what has no counterpart."""
    rules: list[str] = []
    for item in reversed(items):
        raw = item[:2] in ("+ ", "- ")
        body = item[2:].strip() if raw else "/" + item.strip().removeprefix("/")
        if not body.strip("/"):
            raise SpecError(f"exclude: '{item}' names nothing", hint="leave it out")
        for one in _alternatives(body, item):
            rules += _rule(one, item, keep=item.startswith("+ "))
    return rules


def _alternatives(body: str, item: str) -> list[str]:
    found = re.search(r"\{([^{}]*)\}", body)
    if not found:
        if "{" in body or "}" in body:
            raise SpecError(f"exclude: '{item}' has braces that do not pair", hint="write one item for each")
        return [body]
    return list(
        chain.from_iterable(
            _alternatives(body[: found.start()] + word + body[found.end() :], item) for word in found[1].split(",")
        )
    )


def _rule(body: str, item: str, *, keep: bool) -> list[str]:
    anchored, parts = body.startswith("/"), body.strip("/").split("/")
    result: list[str] = []
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**" or "**" not in part:
            result.append(part)
        elif part.startswith("**") and "**" not in part[2:]:
            result += ["**", "*" + part[2:]]
        elif part.endswith("**") and last and "**" not in part[:-2]:
            result.append(part[:-1])
        else:
            raise SpecError(f"exclude: '{item}' has ** inside a name", hint="write * or a folder")
    text = ("/" if anchored else "**/") + "/".join(result) + "/" * body.endswith("/")
    if not keep:
        return [text]
    above = ["/" + "/".join(result[:end]) + "/" for end in range(1, len(result)) if "*" not in "".join(result[:end])]
    return [f"!{line}" for line in ((*above, text) if anchored else (text,))]
