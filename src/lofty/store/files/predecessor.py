"""The rules of terraform-provider-iterative (`storage.exclude`, which it gave to rclone) as rules of ours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import product
from posixpath import normpath

from ...errors import SpecError

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
