"""`lofty ssh`: whose words and exit codes arrive, and what is refused."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from lofty import Client
from lofty.store.records import Records
from lofty.testing import Cloud

from ..conftest import Lofty, eventually
from .conftest import Site


def test_the_exit_code_is_the_commands_own(site: Site) -> None:
    site.lab()
    for code in (0, 7, 255):
        done = site.lofty("ssh", "project", "--", f"echo out; echo err >&2; exit {code}")
        assert (done.code, done.out, done.err) == (code, "out\n", "err\n")


def test_several_words_arrive_as_they_are(site: Site) -> None:
    site.lab()
    assert site.lofty.ok("ssh", "--", "printf", "%s|", "a b", "$HOME", "--rank", "'").out == "a b|$HOME|--rank|'|"
    assert site.lofty.ok("ssh", "proj", "--", "cd / && pwd").out == "/\n"


def test_a_shell_reads_what_is_typed(site: Site) -> None:
    site.lab()
    done = subprocess.run(
        [sys.executable, "-m", "lofty", "ssh", "project"],
        env=site.lofty.environ,
        input=b"echo $((6 * 7)); exit 3\n",
        stdout=subprocess.PIPE,
        timeout=30,
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (3, b"42")


def test_another_machine_of_the_task(site: Site) -> None:
    machine, _ = site.lab()
    other = site.machine("second")
    site.publish(machine, other)
    refused = site.lofty("ssh", "project", "--rank", "1", "--", "true")
    assert (refused.code, "has no machine 1" in refused.err) == (125, True)
    (site.store / "machines" / "0001.1").mkdir()
    status = msgspec.json.decode((site.store / "machines" / "0001.0" / "status.json").read_bytes())
    status |= {"id": "0001.1", "rank": 1}
    (site.store / "machines" / "0001.1" / "status.json").write_bytes(msgspec.json.encode(status))
    site.lofty.ok("ssh", "project", "--rank", "1", "--", "true")
    assert "Accepted publickey" in other.log


def test_failures_of_its_own_are_told_apart(site: Site) -> None:
    machine, _ = site.lab()
    site.publish(msgspec.structs.replace(machine.end, host_key=site.machine("other").host_key))
    refused = site.lofty("ssh", "project", "--", "true")
    assert (refused.code, refused.out) == (125, "")
    assert "has not the host key" in refused.err
    machine.kill()
    refused = site.lofty("ssh", "project", "--", "true")
    assert refused.code == 125
    assert "cannot be reached: " in refused.err
    site.lofty.ok("stop", "project")
    refused = site.lofty("ssh", "project")
    assert (refused.code, "  try: lofty start project" in refused.err) == (125, True)
    assert site.lofty("ssh", "a", "b").code == 125


def test_where_there_is_no_ssh_program(site: Site) -> None:
    site.publish(site.machine())
    refused = site.lofty("lab", site.folder, "-d", PATH=str(site.home))
    assert refused.code == 2
    assert "the program ssh-keygen is not installed" in refused.err
    assert "  try: apt-get install openssh-client" in refused.err


def test_a_driver_without_ssh_says_so(lofty: Lofty, monkeypatch: pytest.MonkeyPatch) -> None:
    from lofty.cli.main import run

    (lofty.home.parent / "project").mkdir()
    for key, value in {**lofty.environ, "LOFTY_ON": "fake"}.items():
        monkeypatch.setenv(key, value)
    cloud = Cloud.at(str(lofty.home))
    cloud.script.boot = 0
    Client().lab(lofty.home.parent / "project")
    assert run(["ssh", "project", "--", "true"]) == 125
    Client().get("project").down(discard=True)


def test_the_fake_hands_out_an_address(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way with the cloud in memory; its machines are in this process, so nobody finds another one."""
    for key, value in {**site.lofty.environ, "LOFTY_ON": "fake"}.items():
        monkeypatch.setenv(key, value)
    known = site.home.parent / "known"
    machine = site.machine(authorized=known)
    cloud = Cloud.at(str(site.home))
    cloud.script.boot, cloud.address = 0, machine.end
    client = Client()
    put = Records.put_secret

    def put_there_too(records: Records, name: str, value: str) -> None:
        put(records, name, value)
        if name == "ssh.pub":  # the machine looks into the store, which here is in this process
            known.write_text(value)

    monkeypatch.setattr(Records, "put_secret", put_there_too)
    task = client.lab(site.folder)
    assert f"127.0.0.1:{task.spec.port}/" in (task.url or "")
    assert task.ssh(["exit 9"]) == 9
    task.down(discard=True)
    eventually(lambda: not site.lofty.processes(), 5)
