"""Public keys as a person names them: what is let in is a key and nothing else."""

from __future__ import annotations

import base64
import pwd
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from lofty.agent import arrival
from lofty.errors import LoftyError, SpecError, Unavailable
from lofty.model.state import Machine
from lofty.reach.keys import authorized
from lofty.store.records import Records

from .support import memory


def key(kind: str = "ssh-ed25519", seed: int = 1) -> str:
    body = len(kind).to_bytes(4, "big") + kind.encode() + (32).to_bytes(4, "big") + bytes([seed]) * 32
    return f"{kind} {base64.b64encode(body).decode()}"


ANSWERS = {"/ada.keys": f"{key()}\n{key('ssh-rsa', 2)}\n", "/nobody.keys": "", "/odd.keys": "<html>sign in</html>"}


class GitHub(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/ill.keys":
            self.send_error(503)
        elif self.path not in ANSWERS:
            self.send_error(404)
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(ANSWERS[self.path].encode())

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def environ() -> Iterator[dict[str, str]]:
    with HTTPServer(("127.0.0.1", 0), GitHub) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield {"LOFTY_GITHUB_URL": f"http://127.0.0.1:{server.server_port}"}
        server.shutdown()
        thread.join()


def test_from_github_from_a_file_and_as_it_is(environ: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "id.pub"
    file.write_text(f"# mine\n{key(seed=3)} me@here\n")
    lines = authorized(("github:ada", str(file), f"{key(seed=4)} desk", "github:ada"), environ).splitlines()
    assert lines == [
        f"{key()} github.com/ada",
        f"{key('ssh-rsa', 2)} github.com/ada",
        f"{key(seed=3)} me@here",
        f"{key(seed=4)} desk",
    ]


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("github:gone", "no user 'gone'"),
        ("github:nobody", "has no public key"),
        ("github:odd", "no public key: <html>"),
        ("github:../x", "is no name of"),
        ("github:", "is no name of"),
        ("/nowhere/id.pub", "No such file"),
        ("ssh-ed25519 AAAA", "no public key"),
        (key().replace("ssh-ed25519", "ssh-rsa"), "no public key"),
        (key("ssh-dss"), "ssh-dss"),
        (f'command="id" {key()}', "No such file"),
    ],
)
def test_what_is_no_key_is_refused(environ: dict[str, str], word: str, says: str) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        authorized((word,), environ)
    assert caught.value.hint


def test_options_in_a_file_are_no_key(tmp_path: Path) -> None:
    (tmp_path / "k").write_text(f'command="id" {key()}\n')
    with pytest.raises(SpecError, match="no public key"):
        authorized((str(tmp_path / "k"),), {})


def test_a_private_key_goes_nowhere(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nabc\n")
    with pytest.raises(SpecError, match="private key") as caught:
        authorized((str(tmp_path / "id"),), {})
    assert caught.value.hint == f"--ssh-keys {tmp_path}/id.pub"


def test_github_may_be_ill_or_not_there(environ: dict[str, str]) -> None:
    for place in (environ["LOFTY_GITHUB_URL"], "http://127.0.0.1:9"):
        with pytest.raises(Unavailable) as caught:
            authorized(("github:ill",), {"LOFTY_GITHUB_URL": place})
        assert caught.value.retry_after
    with pytest.raises(LoftyError):
        authorized(("github:ill",), {"LOFTY_GITHUB_URL": "file:///etc/passwd#"})


def test_the_machine_lets_them_in_beside_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = Records(memory())
    records.put_secret("ssh.pub", key(seed=5))
    records.put_secret("authorized_keys", f"{key(seed=6)} a\n{key(seed=7)} b\n")
    monkeypatch.setattr(pwd, "getpwuid", lambda _: SimpleNamespace(pw_name="me", pw_dir=str(tmp_path)))
    monkeypatch.setattr(arrival, "HOST_KEY", tmp_path / "none")
    (tmp_path / ".ssh").mkdir()
    keys = tmp_path / ".ssh" / "authorized_keys"
    keys.write_text("ssh-rsa AAAA image\n")
    for _ in range(2):
        arrival.publish_host_key(records, Machine(id="0001.0"))
        assert keys.read_text().splitlines() == [
            "ssh-rsa AAAA image", key(seed=5), f"{key(seed=6)} a", f"{key(seed=7)} b",
        ]  # fmt: skip
    assert keys.stat().st_mode & 0o777 == 0o600
