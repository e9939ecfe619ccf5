"""The panel: what it knows, what it does, who may ask, and that looking is not working."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from .conftest import TOKEN, Server, jar


@pytest.fixture(autouse=True)
def _as_found(request: pytest.FixtureRequest) -> Any:
    """Leave the shared workspace without the files that a test made."""
    yield
    if "server" in request.fixturenames:
        server: Server = request.getfixturevalue("server")
        for name in ("stop", "keep", "nudge", "facts.json"):
            (server.place.run / name).unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("deadline", "idle", "left", "reason"),
    [
        (None, None, None, None),
        (1100.0, None, 100.0, "deadline"),
        (None, 1050.0, 50.0, "idle"),
        (1100.0, 1050.0, 50.0, "idle"),
        (1040.0, 1050.0, 40.0, "deadline"),
        (900.0, None, 0.0, "deadline"),
    ],
)
def test_the_sooner_end_counts(
    facts_module: Any, tmp_path: Path, deadline: float | None, idle: float | None, left: float, reason: str
) -> None:
    facts = {"state": "running", "deadline": deadline, "idle_at": idle, "cost": 1.5, "updated": 999.0}
    (tmp_path / "facts.json").write_text(json.dumps(facts))
    status = facts_module.status(tmp_path, "demo", now=1000.0)
    assert (status["time_left"], status["time_left_reason"]) == (left, reason)
    assert (status["state"], status["cost"], status["stale"]) == ("running", 1.5, False)


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"updated": 900}'])
def test_what_is_not_known_is_not_made_up(facts_module: Any, tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "facts.json").write_text(content)
    status = facts_module.status(tmp_path, "demo", now=1000.0)
    assert (status["name"], status["state"], status["stale"]) == ("demo", "unknown", True)
    assert status["cost"] is status["time_left"] is status["price_per_hour"] is None


def test_status_follows_the_agent(server: Server) -> None:
    assert server.ask("/demo/lofty/api/status").json()["state"] == "unknown"
    server.place.facts(cost=0.25, deadline=time.time() + 100, message="hello")
    answer = server.ask("/demo/lofty/api/status")
    status = answer.json()
    assert (status["state"], status["cost"], status["message"]) == ("running", 0.25, "hello")
    assert 90 < status["time_left"] <= 100
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(("what", "code"), [("stop", 202), ("keep", 200), ("nudge", 202)])
def test_a_browser_must_show_that_it_means_it(server: Server, what: str, code: int) -> None:
    path, made = f"/demo/lofty/api/{what}", server.place.run / what
    cookies = server.ask(f"/demo/lofty/?token={TOKEN}", token=None).cookies
    assert len(cookies) == 2, "the login and what proves that a request is meant"
    assert server.ask(path, "POST", token=None, Cookie=jar(cookies)).status == 403
    assert server.ask(path, "POST", token=None, Cookie=jar(cookies), X_XSRFToken="forged").status == 403
    assert server.ask(path, token=None, Cookie=jar(cookies)).status == 405  # a link is a GET
    assert not made.exists()
    answer = server.ask(path, "POST", token=None, Cookie=jar(cookies), X_XSRFToken=cookies["_xsrf"])
    assert answer.status == code
    assert made.exists()


def test_keep_awake_says_since_when(server: Server) -> None:
    before = time.time()
    assert server.ask("/demo/lofty/api/keep", "POST").status == 200
    kept = float((server.place.run / "keep").read_text())
    assert before - 0.01 <= kept <= time.time() + 0.01
    assert server.ask("/demo/lofty/api/activity").json()["keep"] == pytest.approx(kept)


def test_stop_shows_until_the_end(server: Server) -> None:
    assert server.ask("/demo/lofty/api/status").json()["stopping"] is False
    assert server.ask("/demo/lofty/api/stop", "POST").json() == {"stopping": True}
    assert server.ask("/demo/lofty/api/status").json()["stopping"] is True


def test_activity_tells_kernels_terminals_and_saves(server: Server) -> None:
    assert server.ask("/demo/lofty/api/activity").json()["kernels"] == []
    before = time.time() - 1
    kernel = server.ask("/demo/api/kernels", "POST", body={}).json()["id"]
    terminal = server.ask("/demo/api/terminals", "POST", body={}).json()["name"]
    file = {"type": "file", "format": "text", "content": "x"}
    try:
        assert server.ask("/demo/api/contents/saved.txt", "PUT", body=file).status == 201
        report = server.ask("/demo/lofty/api/activity").json()
    finally:
        server.ask(f"/demo/api/kernels/{kernel}", "DELETE")
        server.ask(f"/demo/api/terminals/{terminal}", "DELETE")
    (seen,) = report["kernels"]
    assert (seen["id"], seen["name"], seen["connections"]) == (kernel, "python3", 0)
    assert seen["execution_state"] in ("starting", "idle", "busy")
    assert [each["name"] for each in report["terminals"]] == [terminal]
    moments = [seen["last_activity"], report["terminals"][0]["last_activity"], report["last_save"]]
    assert all(before <= moment <= time.time() + 1 for moment in moments)


def test_looking_is_no_activity(server: Server) -> None:
    def last() -> str:
        return str(server.ask("/demo/api/status").json()["last_activity"])

    before = last()
    time.sleep(0.01)
    for path in ("lofty/", "lofty/api/status", "lofty/api/activity", "tensorboard/"):
        server.ask(f"/demo/{path}")
    assert last() == before
    server.ask("/demo/api/kernels")  # this is how it would show
    assert last() != before


def test_the_page_asks_no_other_host_and_runs_no_script_but_its_own(server: Server) -> None:
    first, second = (server.ask("/demo/lofty/") for _ in range(2))
    assert first.status == 200
    policy = first.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    (nonce,) = set(re.findall(r"'nonce-([^']+)'", policy))
    assert first.text.count(f'nonce="{nonce}"') == 3
    assert nonce not in second.text
    assert not re.search(r"https?://", first.text)
    assert TOKEN not in first.text
    assert "{{" not in first.text.replace("${{", "")
    assert '"name": "demo"' in first.text
