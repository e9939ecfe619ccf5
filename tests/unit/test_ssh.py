"""Command lines for ssh, and what is made of its words. The real thing is in `tests/ssh`."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from lofty.errors import AccessError, LoftyError, MissingExtra, Unavailable
from lofty.model.state import Endpoint
from lofty.reach import ssh

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJ0bWFkZXVwa2V5Zm9ydGVzdHNvbmx5bm90aGluZ2Vsc2U"
END = Endpoint(how="ssh", host="192.0.2.7", port=8888, user="lofty", ssh_port=2222, host_key=f"{KEY} root@machine")


def options(line: list[str]) -> dict[str, str]:
    given = [line[at + 1] for at, word in enumerate(line) if word == "-o"]
    return dict(one.split("=", 1) for one in given)


def test_everything_is_said() -> None:
    line = ssh.forwarding(Path("/home/me/ssh/id"), END, "/run/lofty-x/near")
    assert line[:3] == ["ssh", "-F", "none"]
    assert line[-4:] == ["-L", "/run/lofty-x/near:127.0.0.1:8888", "--", "192.0.2.7"]
    assert "-N" in line
    assert (line[line.index("-l") + 1], line[line.index("-p") + 1]) == ("lofty", "2222")
    given = options(line)
    assert given["StrictHostKeyChecking"] == given["IdentitiesOnly"] == given["BatchMode"] == "yes"
    assert given["ExitOnForwardFailure"] == "yes"
    assert given["GlobalKnownHostsFile"] == "/dev/null"
    assert given["HostKeyAlias"] == "lofty"
    assert given["IdentityFile"] == '"/home/me/ssh/id/key"'
    assert int(given["ServerAliveInterval"]) * int(given["ServerAliveCountMax"]) <= 15
    assert int(given["ConnectTimeout"]) <= 10


def test_paths_may_hold_what_ssh_reads_otherwise() -> None:
    given = options(ssh.command(Path('/a b/100%h/"c'), END))
    assert given["IdentityFile"] == '"/a b/100%%h/\\"c/key"'
    assert given["UserKnownHostsFile"].startswith('"/a b/100%%h/\\"c/known_hosts-')


def test_the_pin_is_one_line_with_the_key_alone(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    ssh.prepare(folder, END, "private\n")
    ssh.prepare(folder, msgspec.structs.replace(END, host_key=KEY.replace("GJ0", "GJ1")))
    known = sorted(path.read_text() for path in folder.glob("known_hosts-*"))
    assert known == [f"lofty {KEY}\n", f"lofty {KEY.replace('GJ0', 'GJ1')}\n"]
    assert (folder / "key").read_text() == "private\n"
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("key", ["", "ssh-ed25519", "ssh-rsa AAAA", f"{KEY}\n* {KEY}", f"@cert-authority {KEY}", "* x"])
def test_without_a_host_key_there_is_no_command(key: str, tmp_path: Path) -> None:
    end = msgspec.structs.replace(END, host_key=key)
    with pytest.raises(AccessError, match="cannot be told from another one"):
        ssh.command(tmp_path, end)
    with pytest.raises(AccessError):
        ssh.prepare(tmp_path, end)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["", "-oProxyCommand=x", "a b", "a\n", "u@h", "a;b"])
def test_what_is_no_address_is_no_option_either(host: str) -> None:
    with pytest.raises(LoftyError, match="no address"):
        ssh.command(Path("/"), msgspec.structs.replace(END, host=host))
    with pytest.raises(LoftyError, match="no address"):
        ssh.command(Path("/"), msgspec.structs.replace(END, user=host))


@pytest.mark.parametrize("host", ["machine-1.example", "192.0.2.7", "2001:db8::7", "::1", "fe80::1%eth0"])
def test_addresses(host: str) -> None:
    assert ssh.command(Path("/"), msgspec.structs.replace(END, host=host), words=["ls"])[-3:] == ["--", host, "ls"]


@pytest.mark.parametrize(
    ("said", "kind", "text"),
    [
        ("No ED25519 host key is known\r\nHost key verification failed.", AccessError, "has not the host key"),
        ("Unable to negotiate: no matching host key type found. Their offer: ssh-rsa", AccessError, "has not the host"),
        ("lofty@192.0.2.7: Permission denied (publickey).", AccessError, "refused the key of 'ws'"),
        ("ssh: connect to host 192.0.2.7 port 2222: Connection refused", Unavailable, "Connection refused$"),
        ("", Unavailable, "without a word"),
    ],
)
def test_what_ssh_says(said: str, kind: type[LoftyError], text: str) -> None:
    error = ssh.failure(said, END, "ws")
    assert type(error) is kind
    assert error.hint
    assert "192.0.2.7, port 2222" in str(error)
    with pytest.raises(kind, match=text):
        raise error


def test_a_key_of_its_own() -> None:
    one, other = ssh.new_key(), ssh.new_key()
    assert one != other
    assert one.private.startswith("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    assert one.public.startswith("ssh-ed25519 ")


def test_programs_that_are_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtra, match="ssh-keygen is not installed"):
        ssh.new_key()
    with pytest.raises(MissingExtra, match="ssh is not installed"):
        ssh.run(tmp_path, END, "key", [], name="ws", terminal=False)
    missing = ssh.missing_program()
    assert missing
    assert missing.hint == "apt-get install openssh-client"
