"""Writes `docs/cli.md` from the code: verbs, options, variables, exit codes.

python docs/generate.py            write the page
python docs/generate.py --check    fail when the page no longer says what the code does
"""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

import lofty
from lofty import config, errors
from lofty.cli.main import VERBS, cli

PAGE = Path(__file__).parent / "cli.md"
SOURCES = Path(lofty.__file__).parent

SETTINGS = {
    "LOFTY_HOME": "where lofty keeps tasks, logs and tokens (default: the system's place for state)",
    "LOFTY_CACHE": "where lofty keeps environments, which can be made again (default: the system's cache)",
    "LOFTY_OWNER": "whose tasks are meant (default: your user name)",
    "LOFTY_UV": "the `uv` to use (default: the one installed with lofty, else the one on PATH)",
    "LOFTY_GITHUB_URL": "where `--ssh-keys github:USER` looks (default: https://github.com)",
    "_LOFTY_COMPLETE": "`bash_source`, `zsh_source` or `fish_source`: prints completion for that shell",
}
GIVEN = {
    "LOFTY_TASK": "the identifier of the task",
    "LOFTY_STORE": "the URL of the task's store; also marks what belongs to the task",
    "LOFTY_MACHINE_ID": "which machine of the task this is, such as `0001.0`",
    "LOFTY_RANK": "its number among the machines of the job, from 0",
    "LOFTY_SIZE": "how many machines the job has",
    "LOFTY_HOSTS": "their addresses within the cloud's network, by rank, joined by commas; the start of a job waits "
    "up to two minutes for all of them; one that is not known by then is empty",
    "LOFTY_RESTART": "set where a job is started again, from the top and with its files, since its machine was lost: "
    "how often it was begun before",
    "LOFTY_NOTICE": "path of a file that appears, with the reason in it, when the cloud is about to take the machine "
    "away; kernels are interrupted then too",
}

OPENING = """\
# The command line

<!-- Made by docs/generate.py from the code. Do not edit: change the code, then `make docs`. -->

Data goes to stdout and talk to stderr, so that `$(lofty url)` and `lofty ls --json | ...` work. With `--json`,
stdout is exactly one JSON document (one per line with `logs -f`); what is not known is `null`, never 0.

`NAME` is the name of a workspace or job, or its beginning where no other begins so. It may be left out where
there is only one.
"""

OPTIONS_INTRO = """\
## Options of a workspace or job

`lab`, `notebook` and `run` take these. Each may stand on the command line, in a variable, in `lofty.toml` beside
your files, or in the table `[tool.lofty]` of `pyproject.toml`; of several, the first in that order counts.
In the files, an option that may be repeated is a list; in a variable, its values are joined by commas. A key that
does not exist is refused, with the nearest that does.

```toml
# lofty.toml
timeout = "8h"
exclude = ["data/raw", "*.ckpt"]
```

So far there is one place to run: this machine (`--on local`). Options that only a cloud can honour are taken and
passed over there with a note, so that the same command will run everywhere.
"""

JOB_CODES = """\
`lofty run` is different: its exit code is the job's own (128 + n when signal n ended it), and 125 when lofty
itself failed or the job has no exit code; `lofty ssh` has that of its command, likewise. With `--json` the reason is
in `error.kind`, one of these:
"""


def page() -> str:
    """The whole page."""
    return "\n".join([OPENING, *_overview(), *_verbs(), *_options(), *_variables(), *_exit_codes()]).rstrip() + "\n"


def _table(*rows: tuple[str, ...]) -> Iterator[str]:
    yield f"| {' | '.join(rows[0])} |"
    yield f"|{'|'.join(' --- ' for _ in rows[0])}|"
    for row in rows[1:]:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def _overview() -> Iterator[str]:
    rows = [(f"[`lofty {verb}`](#lofty-{verb})", text) for verb, text in VERBS.items()]
    yield from _table(("command", "what it does"), *rows)
    yield from _own_options(cli, set())
    yield "`-h` or `--help` after any of them shows what it takes.\n"


def _verbs() -> Iterator[str]:
    context = click.Context(cli, info_name="lofty")
    for verb in VERBS:
        command = cli.get_command(context, verb)
        if command is None:
            raise LookupError(verb)
        usage = " ".join(command.collect_usage_pieces(click.Context(command, parent=context, info_name=verb)))
        yield f"## lofty {verb}\n"
        yield f"```\nlofty {verb} {usage}\n```\n"
        yield f"{command.help}\n"
        if isinstance(command, click.Group):
            yield from _parts(verb, command)
        making = {option.name for option in config.OPTIONS} if _makes(command) else set()
        yield from _own_options(command, making)
        if making:
            yield "And [the options of a workspace or job](#options-of-a-workspace-or-job).\n"


def _parts(verb: str, group: click.Group) -> Iterator[str]:
    shown = [(name, one) for name, one in group.commands.items() if not one.hidden]
    yield from _table(("command", "meaning"), *((f"`lofty {verb} {name}`", one.help or "") for name, one in shown))
    for name, one in shown:
        if any(isinstance(parameter, click.Option) for parameter in one.params):
            yield f"`lofty {verb} {name}` takes:\n"
            yield from _own_options(one, set())


def _makes(command: click.Command) -> bool:
    """Whether a command takes the options of the table."""
    return any(parameter.name == "machine" for parameter in command.params)


def _own_options(command: click.Command, shared: set[str]) -> Iterator[str]:
    options = [one for one in command.params if isinstance(one, click.Option) and one.name not in shared]
    rows = [(_names(option), option.help or "") for option in options]
    if rows:
        yield from _table(("option", "meaning"), *rows)


def _names(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    return f"{names} {option.metavar}" if option.metavar else names


def _options() -> Iterator[str]:
    yield OPTIONS_INTRO
    context = click.Context(cli)
    commands = [command for verb in sorted(config.MAKING) if (command := cli.get_command(context, verb))]
    typed = {one.name: one for command in commands for one in command.params if isinstance(one, click.Option)}
    rows = []
    for option in config.OPTIONS:
        dashed = option.name.replace("_", "-")
        default = "" if option.default is None else f" (default: `{option.default}`)"
        only = "" if option.verbs == config.MAKING else f"; only `{'`, `'.join(sorted(option.verbs))}`"
        variable, meaning = f"LOFTY_{option.name.upper()}", f"{option.help}{default}{only}"
        rows.append((_names(typed[option.name]), f"`{variable}`", f"`{dashed}`", meaning))
    yield from _table(("option", "variable", "key in files", "meaning"), *rows)


def _variables() -> Iterator[str]:
    yield "## Other variables\n"
    yield from _table(("variable", "meaning"), *((f"`{name}`", text) for name, text in SETTINGS.items()))
    yield "What runs for a task finds in its environment:\n"
    yield from _table(("variable", "meaning"), *((f"`{name}`", text) for name, text in GIVEN.items()))
    known = {*SETTINGS, *GIVEN, *(f"LOFTY_{option.name.upper()}" for option in config.OPTIONS)}
    text = "".join(path.read_text() for path in SOURCES.rglob("*.py"))
    unknown = set(re.findall(r"_?LOFTY_[A-Z]+(?:_[A-Z]+)*", text)) - known
    if unknown:
        raise LookupError(f"docs/generate.py does not explain {', '.join(sorted(unknown))}")


def _exit_codes() -> Iterator[str]:
    meanings: dict[int, list[str]] = {}
    for kind in _tree(errors.LoftyError):
        parent = kind.__bases__[0]
        if kind is errors.LoftyError or kind.exit_code != getattr(parent, "exit_code", None):
            meanings.setdefault(kind.exit_code, []).append((kind.__doc__ or "").split("\n")[0])
    meanings[1] = ["It failed; the reason and the command to run next are on stderr."]
    yield "## Exit codes\n"
    rows = [("0", "It worked."), *((str(code), " ".join(text)) for code, text in sorted(meanings.items()))]
    yield from _table(("code", "meaning"), *rows)
    yield JOB_CODES
    names = sorted(kind.__name__ for kind in _tree(errors.LoftyError))
    yield ", ".join(f"`{name}`" for name in names) + ".\n"


def _tree(kind: type[errors.LoftyError]) -> Iterator[type[errors.LoftyError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


def main(arguments: list[str]) -> int:
    """Write the page, or compare it."""
    wanted = page()
    if arguments != ["--check"]:
        PAGE.write_text(wanted)
        return 0
    present = PAGE.read_text() if PAGE.exists() else ""
    lines = (present.splitlines(), wanted.splitlines())
    sys.stdout.writelines(f"{line}\n" for line in difflib.unified_diff(*lines, "docs/cli.md", "the code", lineterm=""))
    if present != wanted:
        sys.stderr.write("docs/cli.md is behind the code\n  try: make docs\n")
    return int(present != wanted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
