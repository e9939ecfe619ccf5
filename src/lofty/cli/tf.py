"""`lofty tf`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..errors import Unsupported, unknown_choice
from . import options


class Parts(click.Group):
    """Names the nearest part for a mistyped one, as `lofty` does with verbs."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            shown = [name for name, one in self.commands.items() if not one.hidden]
            raise Unsupported(unknown_choice("command", args[0], shown), hint="lofty tf --help")
        return super().resolve_command(ctx, args)


@click.group(cls=Parts, help="Use lofty from terraform: iterative_task and what is new.")
def command() -> None:
    """Terraform is imported by none of these before it is needed."""


@command.command("install", help="Let plain `terraform init` find lofty, without a registry.")
def install() -> None:
    """Nothing is asked of the network, and nothing outside of terraform's folder is written."""
    from ..terraform import install as place
    from .output import data, say

    folder = place.plugins(Path.home())
    for program in place.install(folder):
        data(str(program))
    for source in place.SOURCES:
        say(f'terraform finds "{source.short}" {source.version} now')
    say("  try: lofty tf check")


@command.command("uninstall", help="Take away what `lofty tf install` has put there.")
def uninstall() -> None:
    """State files and what they describe stay."""
    from ..terraform import install as place
    from .output import data, say

    gone = place.uninstall(place.plugins(Path.home()))
    for program in gone:
        data(str(program))
    if not gone:
        say("nothing of lofty's is installed there")


@command.command("check", help="Show what would keep terraform from running lofty here.")
@options.as_json
def check(as_json: bool) -> int:
    """Exit code 1 when something would."""
    from ..terraform.checks import findings
    from .output import data, document

    found = list(findings(os.environ, Path.home(), Path.cwd()))
    if as_json:
        document([{"ok": one.ok, "what": one.what, "hint": one.hint or None} for one in found])
    else:
        for one in found:
            data(f"{'ok ' if one.ok else 'NO '} {one.what}" + ("" if one.ok else f"\n     try: {one.hint}"))
    return int(not all(one.ok for one in found))


@command.command("migrate", help="Move the directory DIR over from the provider that lofty succeeds.")
@click.argument("directory", metavar="DIR", default=".")
@click.option("-y", "--yes", is_flag=True, help="do it; otherwise it is only said")
def migrate(directory: str, yes: bool) -> int:
    """Exit code 1 while something of the old provider's is still there."""
    from ..api import Client
    from ..terraform import migrate as moving
    from .output import data, say

    place = Path(directory).expanduser().resolve()
    found = moving.look(place, Client())
    for verdict in found.verdicts:
        data(f"{verdict.old.address} ({verdict.old.id}): {verdict.text}")
    if found.lock:
        data(f"{moving.LOCK} holds version {found.lock} of the old provider")
    if not found.verdicts and not found.lock:
        say("nothing of the old provider's is here; try: terraform init")
        return 0
    if not yes:
        say("nothing was changed" + ("" if found.blocked else "; try: lofty tf migrate --yes"))
        return int(found.blocked)
    for line in moving.carry_out(place, found):
        say(line)
    say("try: lofty tf install, then terraform init")
    return 0


@command.command("serve", hidden=True)
def serve() -> int:
    """What the launcher starts for terraform."""
    from ..terraform.plugin import main

    return main("lofty.terraform.resources")
