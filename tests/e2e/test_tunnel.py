"""A workspace at a public address: one tunnel for all its pages, and the person's token for it seen by nobody."""

from __future__ import annotations

import http.client
import json
import subprocess
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import Lofty, eventually
from tests.e2e.support import Workspace, websocket

STANDIN = Path(__file__).parent / "standin"


@pytest.fixture
def person(lofty: Lofty) -> Lofty:
    """With a token of ngrok's, and the library's place taken."""
    lofty.environ |= {"PYTHONPATH": f"{STANDIN}:{lofty.environ['PYTHONPATH']}", "NGROK_TOKEN": "good"}
    return lofty


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "work"
    made.mkdir()
    (made / "data.csv").write_text("a,b\n")
    return made


def status(url: str, path: str, host: str = "") -> int:
    """How a page answers under a host's name."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    try:
        connection.request("GET", path, headers={"Host": host} if host else {})
        return connection.getresponse().status
    finally:
        connection.close()


def shown(url: str, path: str) -> bool:
    """Whether a page comes."""
    return status(url, path) in (200, 302)


def test_one_address_for_everything(person: Lofty, folder: Path) -> None:
    done = person("lab", folder, "-d", "--json", "--tunnel", "ngrok")
    assert done.code == 0, done.err
    assert "ngrok, a third party, sees all that goes through its tunnel" in done.err
    facts = done.json()
    near = json.loads(next((person.home / "store").glob("*/task.json")).read_text())["port"]
    workspace = Workspace(facts)
    assert workspace.port != near, "the tunnel's, not Jupyter's own"
    assert workspace.answers()
    for name in ("url", "notebook_url", "tensorboard_url"):
        assert urlsplit(facts[name]).port == workspace.port
        page = facts[name].partition(f":{workspace.port}")[2]
        eventually(partial(shown, facts["url"], page), 30)
    assert person.ok("url", "work").out.strip() == facts["url"]
    # A name that is not this computer's is answered, to who has the token and to nobody else.
    assert status(facts["url"], f"/work/api/contents?token={workspace.token}", "abc.ngrok.example") == 200
    assert status(facts["url"], "/work/api/contents", "abc.ngrok.example") == 403
    assert workspace.kernel().run("print(6 * 7)") == "42\n"
    assert websocket(workspace.port, "/work/api/events/subscribe", None) == 403
    # Nobody sees the token for the tunnel.
    store = next((person.home / "store").iterdir())
    held = [path for path in store.rglob("*") if path.is_file() and b"good" in path.read_bytes()]
    assert [path.relative_to(store).as_posix() for path in held] == ["private/tunnel"]
    for process in person.processes():
        assert "good" not in process.cmdline()


def test_a_workspace_without_one_answers_to_this_computers_names_alone(person: Lofty, folder: Path) -> None:
    facts = person.ok("lab", folder, "-d", "--json").json()
    token = Workspace(facts).token
    assert status(facts["url"], f"/work/api/contents?token={token}") == 200
    assert status(facts["url"], f"/work/api/contents?token={token}", "abc.ngrok.example") == 403
    assert not list((person.home / "store").glob("*/private/tunnel"))


def test_the_address_is_another_one_when_the_tunnel_died(person: Lofty, folder: Path) -> None:
    facts = person.ok("lab", folder, "-d", "--json", "--tunnel", "ngrok").json()
    (tunnel,) = [one for one in person.processes() if any(word.endswith("inside/tunnel.py") for word in one.cmdline())]
    tunnel.kill()
    eventually(lambda: person("url", "work").out.strip() not in ("", facts["url"]), 30)
    assert Workspace(person.ok("url", "work", "--json").json()).answers()


def test_a_token_that_is_refused_leaves_nothing(person: Lofty, folder: Path) -> None:
    done = person("lab", folder, "-d", "--json", "--tunnel", "ngrok", NGROK_AUTHTOKEN="tr0ub4dor")
    assert done.code == 1
    assert "ERR_NGROK_105" in done.err
    assert "tr0ub4dor" not in done.err
    assert person.ok("ls", "--json").json() == []


@pytest.mark.parametrize(
    ("kind", "token", "says"),
    [
        ("ngrok", "", "needs your token of ngrok in NGROK_AUTHTOKEN"),
        ("ngrk", "good", "did you mean 'ngrok'"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_made(
    person: Lofty, folder: Path, kind: str, token: str, says: str
) -> None:
    done = person("lab", folder, "--tunnel", kind, "--dry-run", NGROK_TOKEN=token)
    assert (done.code, says in done.err) == (2, True), done.err


def test_the_vendors_library_is_what_the_stand_in_stands_for() -> None:
    """The real one, from the pinned environment, has the calls that are used, and refuses as expected where there is
    no network."""
    from tests.conftest import CACHE

    (python,) = (CACHE / "lofty" / "envs").glob("tunnel-*/bin/python")
    code = (
        "import ngrok\n"
        "assert callable(ngrok.Listener.url)\n"
        "try:\n    ngrok.forward('127.0.0.1:9', authtoken='x')\n"
        "except ValueError as error:\n    print(len(error.args))\n"
    )
    done = subprocess.run(
        ["unshare", "-n", python, "-c", code] if _may_unshare() else [python, "-c", code],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "2\n", done.stderr


def _may_unshare() -> bool:
    return subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False).returncode == 0
