"""The tree of verbs, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from .._version import __version__
from ..errors import LoftyError, Unsupported, unknown_choice

VERBS = {
    "lab": "A workspace: JupyterLab, Notebook and TensorBoard on a folder",
    "notebook": "As lab, with the classic page in front",
    "run": "Run a notebook or a script as a job",
    "ls": "List workspaces and jobs",
    "url": "Print the address of a workspace",
    "open": "Open a workspace in the browser",
    "ssh": "A shell on the machine, or a command there",
    "logs": "Show the output of a workspace or job",
    "pull": "Bring the files of a workspace or job",
    "push": "Send changed files to a workspace or job",
    "history": "Show the versions of files",
    "restore": "Bring back files as they were",
    "sync": "Keep a folder and an object store alike",
    "stop": "End the machine; files, address and token stay",
    "start": "Start a stopped workspace again: same address, same token",
    "extend": "Move the deadline",
    "down": "Bring files back and remove everything",
    "price": "Show machines and prices",
    "check": "Show what works here, and what to do about the rest",
    "sweep": "Remove what was left behind",
    "tf": "Use lofty from terraform",
}
"""In the order of `lofty --help`; each lies in the module of its name."""
LATER = ("init",)
"""Verbs that are promised and not there yet: said so, instead of 'unknown'."""


class Verbs(click.Group):
    """Finds a verb without importing the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All of them, in their order."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """One of them, imported now."""
        if cmd_name not in VERBS:
            return None
        module = import_module(f"lofty.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest verb for a mistyped one."""
        word = args[0] if args else ""
        if word in LATER:
            raise _usage(f"'{word}' is not there yet in this version", "lofty --help")
        if word and not word.startswith("-") and word not in VERBS:
            raise _usage(unknown_choice("command", word, list(VERBS)), "lofty --help")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of verbs without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


def _usage(message: str, hint: str) -> LoftyError:
    return Unsupported(message, hint=hint)


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(__version__, "-V", "--version", message="lofty %(version)s")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Jupyter on a machine of any cloud, or on your own, with one command.

    Try `lofty lab` in a folder with notebooks.
    """


def run(arguments: Sequence[str]) -> int:
    """Run a command line; gives the exit code."""
    arguments = list(arguments)
    debug = "--debug" in arguments[: arguments.index("--") if "--" in arguments else None]
    arguments = [word for word in arguments if word != "--debug"] if debug else arguments
    failed = 125 if arguments[:1] in (["run"], ["ssh"]) else None
    words = arguments[: arguments.index("--")] if "--" in arguments else arguments
    try:
        outcome: Any = cli.main(arguments, prog_name="lofty", standalone_mode=False, obj=arguments)
        sys.stdout.flush()  # here, where a reader that has gone is no error, and not at exit
        return outcome if isinstance(outcome, int) else 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        if debug:
            raise
        verb = next(iter(arguments), "")
        return _mistyped(error, verb, verb == "run" and "--json" in words, failed or 2)
    except (click.Abort, KeyboardInterrupt):
        sys.stderr.write("\n")
        return 130
    except (BrokenPipeError, SystemExit):
        # click turns the first into the second; otherwise it exits by itself only when a shell completes words.
        if "_LOFTY_COMPLETE" in os.environ:
            raise
        # The reader of a pipe has seen enough; nothing is wrong, and nothing more can be said there.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except LoftyError as error:
        if debug:
            raise
        return _tell(str(error), error.hint, getattr(error, "__notes__", None), failed or error.exit_code)
    except OSError as error:
        if debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        return _tell(f"{where}{error.strerror or error}", _os_hint(error), None, failed or 1)


def _mistyped(error: click.ClickException, verb: str, as_json: bool, code: int) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        sys.stderr.write(f"{error.format_message()}\n")
        return code
    message, hint = _click_message(error), f"{_path(error, verb)} --help"
    if as_json:
        from .output import failure

        failure(None, "UsageError", message, hint)
    return _tell(message, hint, None, code)


def _tell(message: str, hint: str | None, notes: list[str] | None, code: int) -> int:
    for note in notes or ():
        sys.stderr.write(f"{note}\n")
    sys.stderr.write(f"lofty: {message}\n")
    if hint:
        sys.stderr.write(f"  try: {hint}\n")
    return code


def _click_message(error: click.ClickException) -> str:
    if isinstance(error, click.NoSuchOption) and error.ctx:
        known = [name for one in error.ctx.command.get_params(error.ctx) for name in one.opts if name.startswith("--")]
        near = unknown_choice("option", error.option_name, known)
        return near if near.endswith("?") else f"unknown option '{error.option_name}'"
    return error.format_message()


def _path(error: click.ClickException, verb: str) -> str:
    """The command whose help is meant. Of an option without its value click does not tell."""
    context = getattr(error, "ctx", None)
    return context.command_path if context else f"lofty {verb}" if verb in VERBS else "lofty"


def _os_hint(error: OSError) -> str:
    import errno

    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space and run the command again"
    return "lofty check"
