"""Every option, declared once: the command line, the `LOFTY_` variables, `lofty.toml` and `[tool.lofty]` of
`pyproject.toml` are all read from this table. The nearer to the person wins: argument, variable, lofty.toml,
pyproject.toml."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal, NamedTuple

from .errors import SpecError, UsageError, unknown_choice
from .model import units

Kind = Literal["text", "flag", "number", "whole", "duration", "amount", "gpu", "list"]
Verbs = frozenset[str]

MAKING: Verbs = frozenset({"lab", "notebook", "run"})
SERVING: Verbs = frozenset({"lab", "notebook"})
RUNNING: Verbs = frozenset({"run"})


class Option(NamedTuple):
    """One option of the verbs that make a task."""

    name: str
    kind: Kind
    metavar: str
    help: str
    verbs: Verbs = MAKING
    default: object = None


OPTIONS = (
    Option("on", "text", "CLOUD", "where to run: local or aws", default="local"),
    Option("name", "text", "NAME", "name of the task; otherwise made from the folder or the file"),
    Option("machine", "text", "TYPE", "size: s, m, l, xl, m+t4, ..., or a cloud's own type"),
    Option("gpu", "gpu", "MODEL[:N]", "GPU, such as T4 or A100:8"),
    Option("cpus", "amount", "N[+]", "processors; 8+ for at least 8"),
    Option("memory", "amount", "GB[+]", "memory; 16+ for at least 16"),
    Option("disk", "number", "GB", "size of the disk"),
    Option("image", "text", "IMAGE", "system image"),
    Option("region", "text", "REGION", "region of the cloud"),
    Option("subnet", "list", "ID", "subnet of your own for the machines; may be repeated, for several zones"),
    Option("spot", "flag", "", "a cheap machine that may be taken away and comes back"),
    Option("fallback", "flag", "", "with --spot: a machine on demand where no spot machine is to be had"),
    Option("max_price", "number", "USD", "pay at most this by the hour, for a machine of either kind"),
    Option("timeout", "duration", "TIME", "end after this, whatever happens: 24h"),
    Option("idle", "duration", "TIME", "stop after so long without work: 30m"),
    Option("budget", "number", "USD", "end when this is spent"),
    Option("env", "list", "K[=V]", "variable for the task; without =V your own value; may be repeated"),
    Option("secret", "list", "K", "as --env K, kept out of every record; may be repeated"),
    Option("exclude", "list", "GLOB", "files that do not go along; may be repeated"),
    Option("copy", "flag", "", "work on a copy, as a cloud would; files come back at the end"),
    Option(
        "container", "text", "URL", "files lie there, one object each, and stay when the task goes: s3://BUCKET/DIR"
    ),
    Option("role", "text", "NAME", "instance profile of your own for the machines; lofty then makes no role"),
    Option("ssh_keys", "list", "KEY", "who else may log in: github:USER, a file, a public key; may be repeated"),
    Option("tunnel", "text", "KIND", "a public address through a third party, who sees the traffic: ngrok", SERVING),
    Option("python", "text", "PATH", "interpreter for your code where the folder names no environment"),
    Option("index_url", "text", "URL", "package index that the machine installs from"),
    Option("port", "whole", "PORT", "port of the workspace on this computer", SERVING),
    Option("logdir", "text", "DIR", "folder that TensorBoard watches", SERVING, "."),
    Option("workdir", "text", "DIR", "folder the job runs in", RUNNING),
    Option("output", "text", "FILE", "where the executed notebook goes", RUNNING),
    Option(
        "keep_on_error",
        "flag",
        "",
        "a failed job's machine stays for lofty ssh until the deadline",
        RUNNING,
    ),
    Option("parallelism", "whole", "N", "machines that run the job together", RUNNING, 1),
)
BY_NAME: dict[str, Option] = {option.name: option for option in OPTIONS}


class Options(NamedTuple):
    """The outcome: every option's value, and which of them somebody asked for."""

    values: dict[str, Any]
    given: dict[str, str]
    """What was asked for in so many words, for comparison with another request."""

    def __getattr__(self, name: str) -> Any:
        """An option by its name."""
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None


def resolve(verb: str, folder: Path | None, arguments: Mapping[str, Any], environ: Mapping[str, str]) -> Options:
    """Merge the four places; without a folder, the two that are left. Raises `SpecError` that names the place and the
    nearest right word."""
    found: dict[str, tuple[object, str]] = {}
    files = _files(folder) if folder is not None else []
    for place, values in (*files, ("environment", _variables(environ))):
        for key, value in values.items():
            option = BY_NAME.get(key.replace("-", "_"))
            if option is None:
                known = [name.replace("_", "-") for name in BY_NAME]
                raise SpecError(f"{place}: {unknown_choice('key', key, known)}", hint=f"lofty {verb} --help")
            if verb in option.verbs:
                found[option.name] = (value, f"{place}: {key}")
    for key, value in arguments.items():
        option = BY_NAME.get(key)
        if option is None or verb not in option.verbs:
            known = [option.name for option in OPTIONS if verb in option.verbs]
            raise SpecError(unknown_choice("option", key, known), hint=f"lofty {verb} --help")
        if value is not None:
            found[key] = (value, f"--{key.replace('_', '-')}")
    values = {option.name: option.default for option in OPTIONS if verb in option.verbs}
    given = {}
    for name, (raw, place) in found.items():
        values[name] = parse(BY_NAME[name], raw, place)
        given[name] = _text(raw)
    return Options(values, given)


def _files(folder: Path) -> list[tuple[str, Mapping[str, Any]]]:
    places: list[tuple[str, Mapping[str, Any]]] = []
    project, own = folder / "pyproject.toml", folder / "lofty.toml"
    if project.is_file():
        tools = _toml(project).get("tool", {})
        table = tools.get("lofty", {}) if isinstance(tools, dict) else {}
        if not isinstance(table, dict):
            raise SpecError(f"{project}: tool.lofty is not a table", hint="write it as [tool.lofty]")
        places.append((f"{project} [tool.lofty]", table))
    if own.is_file():
        places.append((str(own), _toml(own)))
    return places


def _toml(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path} cannot be read: {error}", hint=f"mend {path}") from error


def _variables(environ: Mapping[str, str]) -> dict[str, Any]:
    """`LOFTY_TIMEOUT` and its like; variables that are no option are left to others."""
    return {
        option.name: environ[variable].split(",") if option.kind == "list" else environ[variable]
        for option in OPTIONS
        if (variable := f"LOFTY_{option.name.upper()}") in environ and environ[variable]
    }


def parse(option: Option, raw: object, place: str) -> object:
    """The value that somebody means by what was written at a place. Raises `SpecError`, which names it."""
    try:
        return _PARSERS[option.kind](raw)
    except (ValueError, TypeError):
        raise SpecError(f"{place}: '{raw}' is not {_MEANT[option.kind]}", hint=f"write {option.metavar}") from None
    except UsageError as error:
        raise SpecError(f"{place}: {error}", hint=error.hint) from None


def _word(raw: object) -> str:
    if isinstance(raw, bool) or not isinstance(raw, str | int | float | os.PathLike):
        raise TypeError
    return str(raw)


def _flag(raw: object) -> bool:
    if isinstance(raw, bool):
        return raw
    words = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    return words[_word(raw).lower()] if _word(raw).lower() in words else _fail()


def _fail() -> bool:
    raise ValueError


def _positive(raw: object) -> float:
    number = float(_word(raw))
    if not 0 < number < 1e9:
        raise ValueError
    return number


def _whole(raw: object) -> int:
    number = int(_word(raw))
    if not 0 < number < 1 << 16:
        raise ValueError
    return number


def _checked(check: Callable[[str], object]) -> Callable[[object], str]:
    def parse(raw: object) -> str:
        check(_word(raw))
        return _word(raw)

    return parse


def _several(raw: object) -> tuple[str, ...]:
    if isinstance(raw, Mapping):
        return tuple(f"{key}={value}" for key, value in raw.items())
    return (raw,) if isinstance(raw, str) else tuple(_word(item) for item in raw)  # type: ignore[attr-defined]


def _duration(raw: object) -> float | None:
    return None if str(raw).lower() in ("none", "never", "0") else units.duration(_word(raw))


_PARSERS: dict[Kind, Callable[[object], object]] = {
    "text": _word,
    "flag": _flag,
    "number": _positive,
    "whole": _whole,
    "duration": _duration,
    "amount": _checked(units.amount),
    "gpu": _checked(units.gpu),
    "list": _several,
}
_MEANT: dict[Kind, str] = {
    "text": "a text",
    "flag": "true or false",
    "number": "a number above zero",
    "whole": "a whole number from 1 to 65535",
    "duration": "a length of time",
    "amount": "an amount",
    "gpu": "a GPU",
    "list": "a list",
}


def _text(raw: object) -> str:
    return ",".join(_several(raw)) if isinstance(raw, list | tuple | Mapping) else str(raw)


def variables(words: tuple[str, ...], environ: Mapping[str, str]) -> dict[str, str]:
    """`K=V` as it is, `K` with the value of this computer, `K*` every variable that fits; what is not set here is
    left out."""
    chosen: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if equals:
            chosen[key] = value
        else:
            chosen.update({name: environ[name] for name in environ if fnmatchcase(name, key)})
    return chosen
