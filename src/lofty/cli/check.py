"""`lofty check`."""

from __future__ import annotations

import click

from . import options
from .output import data, document


@click.command(help="Show what works here, and what to do about the rest.")
@click.option("--on", metavar="CLOUD", help="look at one cloud alone")
@click.option("--policy", is_flag=True, help="print the least rights that you need there, and ask nothing")
@options.as_json
def command(on: str | None, policy: bool, as_json: bool) -> int:
    """Exit code 3 when credentials or rights are missing; otherwise that of what does not work."""
    if policy:
        from ..drivers import registry

        document(registry.policy(on or "local"))
        return 0
    from ..api import Client

    found = Client().check(on)
    if as_json:
        document([{"on": name, "ok": one.ok, "what": one.what, "hint": one.hint or None} for name, one in found])
    else:
        for name, one in found:
            data(f"{'ok ' if one.ok else 'NO '} {name}: {one.what}" + ("" if one.ok else f"\n     try: {one.hint}"))
    failed = {one.exit_code for _, one in found if not one.ok}
    return 3 if 3 in failed else max(failed, default=0)
