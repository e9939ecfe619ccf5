"""The page that stands in for a workspace while its machine does not answer. It asks again by itself, so that it turns
into the workspace as soon as there is one; and it says what is known meanwhile."""

from __future__ import annotations

from html import escape

import msgspec

from ..model.state import ENDED, Observation

AGAIN = 3
"""Seconds after which a browser asks again."""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="{again}">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }}
body {{ max-width: 34em; margin: 18vh auto 0; padding: 0 1.5em }}
h1 {{ font-size: 1.4em; margin: 0 0 .6em }}
code {{ font-family: ui-monospace, monospace; background: #8883; border-radius: 4px; padding: .1em .4em }}
small {{ opacity: .7 }}
</style>
</head>
<body>
<h1>{title}</h1>
{lines}
<p><small>This page asks again every {again} seconds, and opens the workspace as soon as it answers.</small></p>
</body>
</html>
"""


class News(msgspec.Struct):
    """What is known of a task whose machine does not answer."""

    name: str
    seen: Observation | None = None
    """As the driver saw it last."""
    problem: str = ""
    """What keeps the machine from being reached."""


def is_page(head: bytes) -> bool:
    """Whether a request's first bytes are those of a browser that wants a page to show. What a page asks in the
    background, and whatever is no HTTP, is none."""
    request, *lines = head.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
    headers = {name.strip(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    if not request.startswith(b"get ") or b"upgrade" in headers:
        return False
    mode = headers.get(b"sec-fetch-mode")  # every browser of today says it to an address of this computer
    return mode == b"navigate" if mode else b"text/html" in headers.get(b"accept", b"")


def answer(news: News) -> bytes:
    """A whole answer: 503, so that no program takes it for the workspace's own."""
    title, lines = _words(news)
    shown = "\n".join(f"<p>{line}</p>" for line in lines)
    page = _PAGE.format(again=AGAIN, title=escape(title), lines=shown).encode("utf-8", "replace")
    head = (
        "HTTP/1.1 503 Service Unavailable\r\n"
        "Content-Type: text/html; charset=utf-8\r\n"
        f"Content-Length: {len(page)}\r\n"
        f"Retry-After: {AGAIN}\r\n"
        "Cache-Control: no-store\r\n"
        "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'self'\r\n"
        "Connection: close\r\n"
        "\r\n"
    )
    return head.encode() + page


def _words(news: News) -> tuple[str, list[str]]:
    """A headline, and lines of HTML."""
    state = news.seen.state if news.seen is not None else None
    reason = [escape(news.seen.reason)] if news.seen is not None and news.seen.reason else []
    problem = [escape(news.problem)] if news.problem else []
    look = f"In a terminal: <code>lofty ls</code>, <code>lofty logs {escape(news.name)}</code>"
    if state in ENDED:
        again = f"<code>lofty start {escape(news.name)}</code> starts it again, with its files, at this address."
        return f"{news.name} is not running ({state})", [*reason, again]
    if state in ("pending", "starting"):
        return f"{news.name} is getting a machine", [*reason, *_stage(news.seen), look]
    if state == "stopping":
        return f"{news.name} is ending", [*reason, look]
    why = "It may be starting, or its cloud has taken it away: then another one takes its place."
    return f"{news.name}: no answer from its machine yet", [why, *problem, look]


def _stage(seen: Observation | None) -> list[str]:
    stages = [stage for machine in seen.machines for stage in machine.stages] if seen is not None else []
    return [f"Now: {escape(stages[-1].name)}"] if stages and stages[-1].ended is None else []
