"""The process that terraform starts: its first line, who gets through to it, and how it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import grpclib
import pytest
from grpclib.const import Status

from lofty.terraform.plugin import COOKIE

from ..conftest import eventually
from .client import Certificate, Plugin
from .conftest import THING

Start = Callable[..., Plugin]


def test_the_line_and_an_orderly_end(plugin: Plugin) -> None:
    core, protocol, network, address, kind, certificate = plugin.line.rstrip("\n").split("|")
    assert (core, protocol, network, kind) == ("1", "6", "unix", "grpc")
    assert certificate
    assert "=" not in certificate
    folder = Path(address).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [one.name for one in folder.iterdir()] == ["s"]  # the key is not left there
    assert plugin.ask("/grpc.health.v1.Health/Check", service="plugin")["status"] == 1
    began = time.monotonic()
    assert plugin.end() == 0
    assert time.monotonic() - began < 5
    assert not folder.exists()
    assert plugin.stdout.read() == b""


def test_only_terraforms_certificate_gets_through(plugin: Plugin) -> None:
    assert plugin.ask("GetMetadata")["resources"] == [{"type_name": "test_thing"}]
    for shown in (None, Certificate()):
        with pytest.raises((OSError, asyncio.TimeoutError, grpclib.exceptions.StreamTerminatedError)):
            plugin.ask("GetMetadata", plugin.channel(plugin.context(shown)))
    with pytest.raises((OSError, asyncio.TimeoutError, grpclib.exceptions.StreamTerminatedError)):
        plugin.ask("GetMetadata", plugin.channel(None))
    assert plugin.ask("GetMetadata")["resources"]
    plugin.end()


def test_the_provider_shows_a_certificate_of_its_own(start: Start) -> None:
    """Somebody who took the socket's place would not have it."""
    one, other = start(), start()
    assert one.line.split("|")[5] != other.line.split("|")[5]
    assert other.ask("GetMetadata")["resources"]
    context = one.context(other.certificate)
    with pytest.raises(ssl.SSLCertVerificationError):
        other.ask("GetMetadata", other.channel(context))
    one.end()
    other.end()


def test_without_tls_where_terraform_says_so(start: Start) -> None:
    plugin = start(tls=False)
    assert plugin.line.endswith("|grpc|\n")
    assert plugin.ask("GetMetadata")["resources"]
    assert plugin.end() == 0


def test_started_by_hand_it_says_what_it_is(environ: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lofty", "tf", "serve"], env=environ, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "terraform starts by itself" in done.stderr
    assert "  try: lofty tf install" in done.stderr


def test_an_old_terraform_is_told_so_on_stdout(start: Start) -> None:
    """The one line that terraform shows to a person."""
    plugin = start(PLUGIN_PROTOCOL_VERSIONS="4,5")
    assert plugin.line == "lofty: this terraform is older than 1.0; try: install a newer terraform\n"
    assert plugin.process.wait(20) == 1


def test_a_missing_extra_is_told_on_stdout(start: Start, tmp_path: Path) -> None:
    (tmp_path / "grpclib.py").write_text("raise ImportError('no grpclib', name='grpclib')\n")
    plugin = start(PYTHONPATH=str(tmp_path))
    what, _, hint = plugin.line.partition("; try: ")
    assert what == f"lofty: terraform needs the package grpclib, which is not installed for {sys.executable}"
    assert hint == "pip install 'lofty[terraform]'\n"
    assert plugin.process.wait(20) == 1


def test_a_long_temporary_folder(start: Start, tmp_path: Path) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    plugin = start(TMPDIR=str(long))
    assert plugin.address.startswith("/tmp/lofty-tf-")
    assert plugin.ask("GetMetadata")["resources"]
    plugin.end()
    assert not Path(plugin.address).parent.exists()


def test_what_a_killed_provider_left_goes_with_the_next(start: Start) -> None:
    killed = start()
    killed.process.kill()
    killed.process.wait(20)
    folder = Path(killed.address).parent
    alive = start()
    assert folder.exists()  # it may just be starting
    old = time.time() - 7200
    os.utime(folder, (old, old))
    os.utime(Path(alive.address).parent, (old, old))
    start().end()
    assert not folder.exists()
    assert alive.ask("GetMetadata")["resources"]
    alive.end()


def test_ctrl_c_is_left_to_terraform(plugin: Plugin) -> None:
    plugin.ask("GetMetadata")
    os.killpg(plugin.process.pid, signal.SIGINT)
    assert plugin.ask("GetMetadata")["resources"]
    assert plugin.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_other_signals_end_it(plugin: Plugin, number: signal.Signals) -> None:
    plugin.ask("GetMetadata")
    plugin.process.send_signal(number)
    assert plugin.process.wait(20) == 0
    assert not Path(plugin.address).parent.exists()


def test_it_ends_when_terraform_is_gone(environ: dict[str, str], tmp_path: Path) -> None:
    """Killed with -9, terraform says nothing to anybody."""
    line = tmp_path / "line"
    child = f"subprocess.Popen([sys.executable, {str(THING)!r}], stdout=open({str(line)!r}, 'w'))"
    script = f"import subprocess, sys, time; {child}; time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", script], env={**environ, COOKIE[0]: COOKIE[1]})
    eventually(lambda: line.exists() and line.read_text().endswith("\n"), 30)
    folder = Path(line.read_text().split("|")[3]).parent
    assert folder.exists()
    parent.kill()
    parent.wait(20)
    eventually(lambda: not folder.exists(), 20)


@pytest.mark.parametrize("raw", [b"\xff", b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\x02\xff\xfe", b"\x0b\x0b", bytes(5000)])
def test_bytes_that_are_no_message(plugin: Plugin, raw: bytes) -> None:
    for method in ("PlanResourceChange", "ValidateProviderConfig", "UpgradeResourceState"):
        with pytest.raises(grpclib.GRPCError) as caught:
            plugin.raw(f"/tfplugin6.Provider/{method}", raw)
        assert caught.value.status == Status.INVALID_ARGUMENT
    with pytest.raises(grpclib.GRPCError):
        plugin.raw("/tfplugin6.Provider/CallFunction", b"")
    assert plugin.ask("GetMetadata")["resources"]
    assert plugin.end() == 0
    assert b"Traceback" not in plugin.log.read_bytes()


def test_bytes_that_are_no_grpc(plugin: Plugin) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(plugin.address)
        stranger.sendall(os.urandom(4096))
    assert plugin.ask("GetMetadata")["resources"]
    assert plugin.end() == 0
