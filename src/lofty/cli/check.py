"""`lofty check`."""

from __future__ import annotations

import click

from . import options
from .output import data, document


@click.command(help="Show what works here, and what to do about the rest.")
@options.as_json
def command(as_json: bool) -> int:
    """Exit code 3 when something does not work."""
    from ..api import Client

    found = Client().check()
    if as_json:
        document([{"on": on, "ok": one.ok, "what": one.what, "hint": one.hint or None} for on, one in found])
    else:
        for on, one in found:
            data(f"{'ok ' if one.ok else 'NO '} {on}: {one.what}" + ("" if one.ok else f"\n     try: {one.hint}"))
    return 0 if all(one.ok for _, one in found) else 3
