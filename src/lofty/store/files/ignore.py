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
import string
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from itertools import chain, product
from pathlib import Path
from posixpath import normpath
from typing import Literal, NamedTuple

from ...errors import SpecError
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
    """What lofty itself thinks of a path, by its name; `.ENV` and `.env` are the same file on some systems."""
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
    if name == "gcloud" and folder and path.endswith(".config/gcloud"):
        return "secret"
    return None


class _Pattern(NamedTuple):
    """One line of an ignore file."""

    regex: bytes
    leaves_out: bool
    only_folders: bool
    by_name: bool
    """Matched against the last part of a path alone."""


class _Choice:
    """Patterns as one regular expression, the last first: whichever fits first decides."""

    def __init__(self, patterns: Iterable[tuple[int, _Pattern]]) -> None:
        last_first = list(patterns)[::-1]
        regex = b"|".join(b"(%b)" % pattern.regex for _, pattern in last_first)
        self._fits = re.compile(regex, re.DOTALL).fullmatch if last_first else None
        self._numbers = [number for number, _ in last_first]

    def last(self, text: bytes) -> int:
        """The number of the last pattern that fits; -1 when none does."""
        found = self._fits(text) if self._fits else None
        return self._numbers[(found.lastindex or 1) - 1] if found else -1


class _Lines:
    """The rules of one place. Matching is of bytes, as git's is: `?` is one byte of a name."""

    def __init__(self, lines: Iterable[bytes], says: Callable[[str], None], skip: int = 0) -> None:
        self.skip = skip
        """How many bytes of a path come before what these rules are matched against."""
        self._out: list[bool] = []
        found: list[tuple[int, _Pattern]] = []
        for line in lines:
            pattern = _pattern(line)
            if pattern is None:
                says(f"'{line.decode('utf-8', 'backslashreplace')}' is no rule")
            else:
                found.append((len(found), pattern))
                self._out.append(pattern.leaves_out)
        self._choices = [
            tuple(
                _Choice((n, one) for n, one in found if one.by_name == by_name and (folder or not one.only_folders))
                for by_name in (True, False)
            )
            for folder in (False, True)
        ]

    def decide(self, path: bytes, name: bytes, *, folder: bool) -> bool | None:
        """Whether the last rule that fits leaves this very path out; None when none fits."""
        by_name, by_path = self._choices[folder]
        last = max(by_name.last(name), by_path.last(path[self.skip :]))
        return None if last < 0 else self._out[last]


def _first(places: Iterable[_Lines], path: bytes, name: bytes, folder: bool) -> bool | None:
    for lines in places:
        if (said := lines.decide(path, name, folder=folder)) is not None:
            return said
    return None


class _Folder(NamedTuple):
    """A folder that was entered."""

    why: Why | None
    """Why what is in it is left out."""
    lofty: tuple[_Lines, ...] = ()
    """What speaks here, strongest first."""
    git: tuple[_Lines, ...] = ()
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
        self._read_so_far = {"": repr((_NAMES, _SUFFIXES, _SHAPES.pattern, *exclude, None, *include)).encode()}
        lines = (line.encode("utf-8", "surrogateescape") for line in exclude)
        given = _Lines(lines, lambda problem: self.problems.append(f"--exclude: {problem}"))
        self._given = (given,) if exclude else ()
        self._folders = {"": self._enter("", _Folder(None, self._given))}

    @staticmethod
    def is_rule_file(name: str) -> bool:
        """Whether a file of that name changes what goes along."""
        return name in (GITIGNORE, LOFTYIGNORE)

    @property
    def fingerprint(self) -> str:
        """Other when any rule is other that was read so far."""
        return blake2b(repr(sorted(self._read_so_far.items())).encode(), digest_size=16).hexdigest()

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

    def _read(self, folder: str, name: str) -> _Lines | None:
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
        self._read_so_far[where] = content
        return _Lines(_lines(content), says, len(folder.encode("utf-8", "surrogateescape")) + 1 if folder else 0)


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


# --- git's patterns ---
#
# `pathspec` knows them too, but takes a whole path to match what is in a folder as well, text where git takes bytes,
# and none of git's corners ([[:digit:]], a bracket that matches a slash); git itself is what the tests compare with.

_SPECIAL = re.compile(rb"[*?\[\\]")


def _lines(content: bytes) -> list[bytes]:
    """The lines of an ignore file that are rules; a space at the end counts when a backslash precedes it."""
    result = []
    for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
        bare = line.removesuffix(b"\r")
        cut = bare.rstrip(b" ")
        if len(cut) < len(bare) and (len(cut) - len(cut.rstrip(b"\\"))) % 2:
            cut += b" "
        if cut and not cut.startswith(b"#"):
            result.append(cut)
    return result


def _pattern(line: bytes) -> _Pattern | None:
    """None for what git takes and never matches."""
    leaves_out = not line.startswith(b"!")
    glob = line if leaves_out else line[1:]
    only_folders = glob.endswith(b"/")
    glob = glob[:-1] if only_folders else glob
    by_name = b"/" not in glob
    regex = _regex(glob.removeprefix(b"/")) if glob and b"\0" not in glob else None
    return None if regex is None else _Pattern(regex, leaves_out, only_folders, by_name)


def _regex(glob: bytes) -> bytes | None:
    """A glob as a regular expression. What comes between two wildcards is taken where it first fits and not looked
    for again, which is enough, and keeps a hostile pattern from taking for ever."""
    first = _SPECIAL.search(glob)
    plain = first.start() if first else len(glob)  # git matches this by itself, and then the rest as if from the start
    done, deep, parts = b"", b"", [b""]
    at = 0
    while at < len(glob):
        char = glob[at : at + 1]
        end = at + 1
        if char == b"*":
            while glob[end : end + 1] == b"*":
                end += 1
            begins = at == plain or glob[at - 1 : at] == b"/"
            ends = glob[end : end + 1] in (b"", b"/") or glob[end : end + 2] == b"\\/"
            if end - at > 1 and begins and ends:
                done += b"(?>%b)" % (deep + _stretch(parts))
                slash = glob[end : end + 1] == b"/"
                deep, parts = (b"(?:.*?/)??" if slash else b".*?"), [b""]
                end += slash
            else:
                parts.append(b"")
        elif char == b"?":
            parts[-1] += b"[^/]"
        elif char == b"[":
            found = _bracket(glob, end)
            if found is None:
                return None
            text, end = found
            parts[-1] += text
        else:
            if char == b"\\":
                char, end = glob[end : end + 1], end + 1
            if not char:
                return None
            parts[-1] += re.escape(char)
        at = end
    return done + deep + _stretch(parts)


def _stretch(parts: list[bytes]) -> bytes:
    """What stands between two `**`, parted at its `*`."""
    head, *rest = parts
    if not rest:
        return head
    return head + b"".join(b"(?>[^/]*?%b)" % part for part in rest[:-1]) + b"[^/]*" + rest[-1]


_CLASSES: dict[bytes, str] = {
    b"alnum": string.ascii_letters + string.digits,
    b"alpha": string.ascii_letters,
    b"blank": " \t",
    b"cntrl": "".join(map(chr, (*range(32), 127))),
    b"digit": string.digits,
    b"graph": "".join(map(chr, range(33, 127))),
    b"lower": string.ascii_lowercase,
    b"print": "".join(map(chr, range(32, 127))),
    b"punct": string.punctuation,
    b"space": " \t\n\r",
    b"upper": string.ascii_uppercase,
    b"xdigit": string.hexdigits,
}


def _bracket(glob: bytes, at: int) -> tuple[bytes, int] | None:
    """The bytes that `[...]` stands for, and where it ends; None when nothing ends it."""
    negated = glob[at : at + 1] in (b"!", b"^")
    at += negated
    chosen: set[int] = set()
    start, before = at, -1
    while at < len(glob):
        char = glob[at]
        if char == ord("]") and at > start:
            chosen = (set(range(256)) - chosen if negated else chosen) - {ord("/")}
            return (b"[%b]" % b"".join(b"\\x%02x" % byte for byte in sorted(chosen)) if chosen else b"(?!)"), at + 1
        if char == ord("\\"):
            at += 1
            if at == len(glob):
                return None
            char = glob[at]
            chosen.add(char)
        elif char == ord("-") and before >= 0 and glob[at + 1 : at + 2] not in (b"", b"]"):
            at += 1 + (glob[at + 1 : at + 2] == b"\\")
            if at == len(glob):
                return None
            chosen.update(range(before, glob[at] + 1))
            char = -1
        elif glob[at : at + 2] == b"[:" and (close := glob.find(b"]", at + 2)) != at + 2:
            if close < 0:
                return None
            if glob[close - 1 : close] == b":":
                if (named := _CLASSES.get(glob[at + 2 : close - 1])) is None:
                    return None
                chosen.update(named.encode())
                at, char = close, -1
            else:
                chosen.add(char)
        else:
            chosen.add(char)
        at, before = at + 1, char
    return None


# --- rules of terraform-provider-iterative ---

_RCLONE = re.compile(r"\\.|\*+|\[\^?\]?[^\]]*\]|.", re.DOTALL)
_MOST_ALTERNATIVES = 1000
_DEEP = "**"


def from_predecessor(items: Sequence[str]) -> list[str]:
    """The `exclude` items of terraform-provider-iterative as rules for `exclude`. A plain item is anchored at the
    root; one that begins with `+ ` or `- ` is a filter rule of rclone, of which the first that fits decides. Rclone
    leaves out files alone; here a folder of that name goes too, which is what `.dvc/cache` was meant to say. Raises
    `SpecError` for what has no counterpart."""
    keeps = any(item.startswith("+ ") for item in items)
    rules: list[str] = []
    for item in reversed(items):
        body = item[2:] if item[:2] in ("+ ", "- ") else normpath("/" + item.lstrip("/"))
        if not body.strip("/") or "\n" in body:
            raise SpecError(f"exclude: '{item}' names nothing", hint="leave it out")
        folder = body.endswith("/")
        for tokens in _alternatives(body.removesuffix("/"), item):
            keep = item.startswith("+ ")
            for glob in _globs(tokens, keep=keep):
                rules += _kept(glob, folder) if keep else _left_out(glob, folder, keeps)
    return list(dict.fromkeys(rules[::-1]))[::-1]  # of equal rules the last counts


def _kept(glob: str, folder: bool) -> list[str]:
    return [] if folder else [f"!{_short(glob)}"]  # rclone: such a rule looks into a folder, and takes no file


def _left_out(glob: str, folder: bool, keeps: bool) -> list[str]:
    """Where other rules keep something, a folder is not left out: all that is in it is, so that they can bring back
    some of it."""
    if folder and f"/{glob}".endswith("/**"):  # the folders in there, not what else is
        glob = "**/*" if glob == _DEEP else f"{glob[:-2]}*"
    inner = glob.removesuffix("/**")
    folder = folder or inner != glob
    if glob == _DEEP or (glob == "**/*" and not folder):
        return ["*", "!*/"] if keeps else ["*"]
    if not keeps:
        return [_short(inner) + "/" * folder]
    own = [] if folder else [_short(inner), f"!{_short(inner)}/"]
    return [*own, f"{inner}/**", f"!{inner}/**/"]


def _short(glob: str) -> str:
    """Without a `**/` that git adds by itself, and safe as a line of a file."""
    bare = glob.removeprefix("**/")
    if bare in (glob, _DEEP) or "/" in bare:
        return glob
    return f"\\{bare}" if bare[0] in "#!" else bare


def _alternatives(body: str, item: str) -> list[list[str]]:
    """The item's tokens, once for each way through its braces."""
    stack: list[tuple[list[list[str]], list[list[str]]]] = []
    ways: list[list[str]] = [[]]
    done: list[list[str]] = []
    for word in _RCLONE.findall(body):
        if word == "{":
            stack.append((ways, done))
            ways, done = [[]], []
        elif word in ",}" and stack:
            done += ways
            ways = [[]]
            if word == "}":
                before, outer = stack.pop()
                ways, done = [[*a, *b] for a, b in product(before, done)], outer
        else:
            ways = [[*way, _token(word, item)] for way in ways]
        if len(ways) > _MOST_ALTERNATIVES:
            raise SpecError(f"exclude: '{item}' stands for too many names", hint="write fewer alternatives")
    if stack or "{{" in body:
        raise SpecError(f"exclude: '{item}' has braces that do not pair, or a regular expression", hint="use * and ?")
    return ways


def _token(token: str, item: str) -> str:
    if (
        token in ("[", "]", "}", "\\")
        or token.startswith("***")
        or (token[0] == "[" and re.search(r"[\[\\]", token[1:]))
    ):
        raise SpecError(f"exclude: '{item}' cannot be read at '{token}'", hint="write one item for each name")
    if token.startswith("[!"):
        return f"[\\{token[1:]}"  # no negation to rclone
    if token[0] == "\\":
        return token if token[1] in "*?[\\" else token[1]
    return token


def _folded(tokens: list[str]) -> list[str]:
    """Stars that only met when braces were taken away are one."""
    result: list[str] = []
    for one in tokens:
        if result and {one, result[-1]} <= {"*", _DEEP}:
            result[-1] = max(one, result[-1])
        else:
            result.append(one)
    return result


def _globs(tokens: list[str], *, keep: bool) -> list[str]:
    """Tokens of rclone as globs of git, where `**` has to be a whole part of a path. What is left out takes with it
    what is in it; what is kept has to be named."""
    anchored = tokens[:1] == ["/"]
    tokens = _folded(tokens[anchored:])
    anchored = anchored or tokens[:1] == [_DEEP]
    ways: list[list[str]] = [[]]
    for index, token in enumerate(tokens):
        choices = [token]
        if token == _DEEP:
            begins, ends = index == 0 or tokens[index - 1] == "/", index == len(tokens) - 1
            whole = ends or tokens[index + 1] == "/"
            if begins:
                choices = ["**"] if ends else ["*/**"] if whole else ["**/*"]
            else:
                choices = ["*", "*/**"][: 1 + keep] if ends else ["*/**"] if whole else ["*", "*/**/*"]
        ways = [[*way, choice] for way in ways for choice in choices]
    texts = [re.sub(r"(?<![^/])(\*\*/)+(?=\*\*(/|$))", "", "".join(way)) for way in ways]
    texts = [f"{text[:-1]}\\ " if text.endswith(" ") else text for text in texts]
    return [text if text.startswith("**") else f"/{text}" if anchored else f"**/{text}" for text in texts]
