"""Which paths of a directory go along. Rules are git's; the strongest that says anything about a path decides:

    what is lofty's own, and `.git`     never goes along
    paths that have to go along         a job's known output
    `--exclude`
    `.loftyignore`                      may bring back, with `!`, what a weaker rule leaves out
    lofty's defaults                    secrets, environments, caches, Terraform's state
    `.gitignore`                        its `!` speaks about git alone: it cannot bring back a secret

As in git, what lies in a folder that is left out is left out, and an ignore file speaks for its own folder.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Literal, NamedTuple

from .globs import Lines, rules_of
from .tree import is_own

Why = Literal["own", "secret", "environment", "cache", "state", "rule"]

GITIGNORE, LOFTYIGNORE = ".gitignore", ".loftyignore"
RULE_BYTES = 1024 * 1024
"""No larger ignore file is read."""

_NAMES: dict[str, Why] = {
    # Names that mean a credential to the program that owns them; words that data could be called are not here.
    **dict.fromkeys((".env", ".envrc", ".netrc", "_netrc", ".pypirc", ".npmrc", ".pgpass", ".htpasswd"), "secret"),
    **dict.fromkeys((".git-credentials", "credentials.json", "application_default_credentials.json"), "secret"),
    **dict.fromkeys((".aws", ".azure", ".ssh", ".gnupg", ".kube", ".docker"), "secret"),
    **dict.fromkeys((".venv", "venv", ".virtualenv", ".conda", "conda-meta"), "environment"),
    **dict.fromkeys(("node_modules", "__pycache__", ".ipynb_checkpoints", ".tox", ".nox", ".eggs", ".cache"), "cache"),
    **dict.fromkeys((".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".ds_store", "thumbs.db"), "cache"),
    ".terraform": "state",
}
_SUFFIXES: dict[str, Why] = {
    **dict.fromkeys((".pem", ".key", ".p12", ".pfx", ".kdbx"), "secret"),
    **dict.fromkeys((".pyc", ".pyo"), "cache"),
    ".tfstate": "state",
}
_SHAPES = re.compile(
    r"""
    (?P<secret> \.env\.(?!(?:example|sample|template|dist)\Z) | id_(?:rsa|ed25519|ecdsa|dsa)(?!.*\.pub\Z)
      | client_secret.*\.json\Z | service[-_]account.*\.json\Z )
    | (?P<state> .*\.tfstate\. )
    """,
    re.VERBOSE | re.DOTALL,
)
_ONLY_FOLDERS = frozenset({"venv", "conda-meta"})
"""Of these names, those that a file of a person's may well have."""


def _default(path: str, name: str, *, folder: bool) -> Why | None:
    """What lofty itself thinks of a path."""
    if name == "gcloud" and folder and path.endswith(".config/gcloud"):
        return "secret"
    return _by_name(name, folder)


@lru_cache(maxsize=1 << 15)
def _by_name(name: str, folder: bool) -> Why | None:
    """The same by its name, of which a tree has fewer than it has paths; `.ENV` and `.env` are the same file on some
    systems."""
    if is_own(name):
        return "own"
    name = name.lower()
    found = _NAMES.get(name)
    if found is not None:
        return found if folder or name not in _ONLY_FOLDERS else None
    found = _SUFFIXES.get(name[name.rfind(".") :])
    if found is not None:
        return found
    if shape := _SHAPES.match(name):
        return "secret" if shape.lastgroup == "secret" else "state"
    return None


def _first(places: Iterable[Lines], path: bytes, name: bytes, folder: bool) -> bool | None:
    for lines in places:
        if (said := lines.decide(path, name, folder=folder)) is not None:
            return said
    return None


def only(path: str) -> list[str]:
    """Rules that leave out everything but a path and what is in it."""
    parts = [re.sub(r"([*?\[\\ ])", r"\\\1", part) for part in path.strip("/").split("/")]
    steps = ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
    rules = [rule for step in steps for rule in (f"!/{step}", f"/{step}/*")]
    return ["/*", *rules[:-1]]


class _Folder(NamedTuple):
    """A folder that was entered."""

    why: Why | None
    """Why what is in it is left out."""
    lofty: tuple[Lines, ...] = ()
    """What speaks here, strongest first."""
    git: tuple[Lines, ...] = ()
    within: bool = False
    """Whether it is, or lies in, a folder that has to go along."""


class Rules:
    """What goes along of one directory. Ignore files are read once: make another one to see them changed."""

    def __init__(
        self, root: Path, exclude: Sequence[str] = (), include: Sequence[str] = (), *, git: bool = True
    ) -> None:
        """`git`: whether `.gitignore` files count. They do for what goes out from a person's folder; what a machine
        makes under such names (results, checkpoints) is what it was lent for, and comes back."""
        self._git = git
        self.problems: list[str] = []
        """What was to be a rule and is none."""
        self._root = os.fspath(root)
        self._include = frozenset(path.strip("/") for path in include)
        self._above = frozenset(chain.from_iterable(map(_above, self._include)))
        lines = (line.encode("utf-8", "surrogateescape") for line in exclude)
        given = Lines(lines, lambda problem: self.problems.append(f"--exclude: {problem}"))
        self._given = (given,) if exclude else ()
        self._folders = {"": self._enter("", _Folder(None, self._given))}

    @staticmethod
    def is_rule_file(name: str) -> bool:
        """Whether a file of that name changes what goes along."""
        return name in (GITIGNORE, LOFTYIGNORE)

    def excluded(self, path: str, *, folder: bool) -> Why | None:
        """Why a path does not go along; None when it does. The path need not be there."""
        parent = self._folders.get(path[: max(path.rfind("/"), 0)]) or self._folder(path[: path.rfind("/")])
        if folder:
            why = self._folder(path).why
            return None if path in self._above and why != "own" else why
        return self._judge(path, parent, folder=False)

    def _folder(self, path: str) -> _Folder:
        missing = []
        while (found := self._folders.get(path)) is None:
            missing.append(path)
            path = path[: max(path.rfind("/"), 0)]
        for path in reversed(missing):
            why = self._judge(path, found, folder=True)
            within = found.within or path in self._include
            found = found._replace(why=why, within=within)
            if why is None:
                found = self._enter(path, found)
            self._folders[path] = found
        return found

    def _judge(self, path: str, parent: _Folder, *, folder: bool) -> Why | None:
        name = path[path.rfind("/") + 1 :]
        why = _default(path, name, folder=folder)
        if parent.why == "own" or why == "own":
            return "own"
        if self._include and path in self._include:
            return None
        if parent.why is not None:
            return parent.why
        if folder and why is None and os.path.lexists(f"{self._root}/{path}/pyvenv.cfg"):
            why = "environment"
        if not parent.lofty and not parent.git:
            return why
        raw, raw_name = path.encode("utf-8", "surrogateescape"), name.encode("utf-8", "surrogateescape")
        out = _first(parent.lofty, raw, raw_name, folder)
        if out is False:
            return None
        if out is None and why is None:
            out = _first(parent.git, raw, raw_name, folder)
        return why or ("rule" if out and not parent.within else None)

    def _enter(self, path: str, folder: _Folder) -> _Folder:
        own = self._read(path, LOFTYIGNORE)
        git = self._read(path, GITIGNORE) if self._git else None
        files = folder.lofty[len(self._given) :]
        return folder._replace(
            lofty=(*self._given, own, *files) if own else folder.lofty, git=(git, *folder.git) if git else folder.git
        )

    def _read(self, folder: str, name: str) -> Lines | None:
        where = f"{folder}/{name}" if folder else name
        place = f"{self._root}/{where}"

        def says(problem: str) -> None:
            self.problems.append(f"{where}: {problem}")

        try:
            seen = os.lstat(place)
            if stat.S_ISDIR(seen.st_mode):
                return None
            if not stat.S_ISREG(seen.st_mode) or seen.st_size > RULE_BYTES:
                says("not read: a link, or no file" if seen.st_size <= RULE_BYTES else "not read: too large")
                return None
            content = Path(place).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            says(f"not read: {error.strerror}")
            return None
        if b"\0" in content:
            says("not read: it is not UTF-8")  # UTF-16, as some shells of Windows write it
            return None
        return Lines(rules_of(content), says, len(folder.encode("utf-8", "surrogateescape")) + 1 if folder else 0)


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]
