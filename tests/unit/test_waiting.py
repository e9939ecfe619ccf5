"""The page that stands in for a workspace: who gets it, and what it says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lofty.model.state import Machine, Observation, Stage, State
from lofty.reach.waiting import News, answer, is_page


@pytest.mark.parametrize(
    ("head", "page"),
    [
        (b"GET / HTTP/1.1\r\nAccept: text/html,application/xhtml+xml\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nsec-fetch-mode: navigate\r\naccept: */*\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nSec-Fetch-Mode: cors\r\nAccept: text/html\r\n\r\n", False),
        (b"GET /api HTTP/1.1\r\nAccept: application/json\r\n\r\n", False),
        (b"POST / HTTP/1.1\r\nAccept: text/html\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nAccept: text/html\r\nUpgrade: websocket\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\n\r\nAccept: text/html", False),
        (b"\x16\x03\x01", False),
        (b"", False),
    ],
)
def test_a_page_is_what_a_browser_shows(head: bytes, page: bool) -> None:
    assert is_page(head) is page


@given(st.binary())
def test_whatever_comes_is_looked_at(head: bytes) -> None:
    assert is_page(head) in (True, False)


def seen(state: State, reason: str = "", stage: str = "") -> Observation:
    stages = [Stage(name="files", started=1, ended=2), Stage(name=stage, started=2)] if stage else []
    return Observation(state=state, machines=(Machine(id="0001.0", state=state, reason=reason, stages=stages),))


@pytest.mark.parametrize(
    ("news", "words"),
    [
        (News("ws"), ["ws: no answer from its machine yet", "lofty ls", "lofty logs ws"]),
        (News("ws", seen("running"), "no route"), ["no answer from its machine yet", "no route"]),
        (News("ws", seen("pending", "no spot capacity")), ["ws is getting a machine", "no spot capacity"]),
        (News("ws", seen("starting", stage="environment")), ["ws is getting a machine", "Now: environment"]),
        (News("ws", seen("stopping")), ["ws is ending"]),
        (News("ws", seen("stopped", "idle")), ["ws is not running (stopped)", "idle", "lofty start ws"]),
    ],
)
def test_it_says_what_is_known(news: News, words: list[str]) -> None:
    head, _, page = answer(news).decode().partition("\r\n\r\n")
    assert all(word in page for word in words)
    assert f"Content-Length: {len(page.encode())}\r\n" in head
    assert "no-store" in head
    assert 'http-equiv="refresh"' in page


def test_what_a_machine_says_of_itself_is_text() -> None:
    """A machine's record is untrusted."""
    evil = "<script>alert(1)</script>\ud800"
    page = answer(News("ws", seen("starting", evil, stage=evil), evil))
    assert b"<script" not in page
    assert b"default-src 'none'" in page
