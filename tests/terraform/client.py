"""Terraform's side of the protocol: starts a provider as terraform does, and asks it over the real socket."""

from __future__ import annotations

import asyncio
import base64
import datetime
import os
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from grpclib.client import Channel, UnaryUnaryMethod
from grpclib.config import Configuration
from grpclib.encoding.base import CodecBase

from lofty.terraform.messages import PLUGIN, PROVIDER
from lofty.terraform.plugin import COOKIE
from lofty.terraform.protobuf import decode, encode

PATHS = {f"/tfplugin6.Provider/{name}": tables for name, tables in PROVIDER.items()} | PLUGIN


class Certificate:
    """One as terraform makes it for itself: P-521, of its own."""

    def __init__(self) -> None:
        key = ec.generate_private_key(ec.SECP521R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        now = datetime.datetime.now(datetime.UTC)
        made = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(seconds=30))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA512())
        )
        self.pem = made.public_bytes(serialization.Encoding.PEM).decode()
        self.key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()


class Raw(CodecBase):
    """Bytes in, bytes out."""

    __content_subtype__ = "proto"

    def encode(self, message: Any, message_type: Any) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, message_type: Any) -> bytes:
        return data


class Plugin:
    """A provider that runs."""

    def __init__(self, command: list[str | Path], environ: dict[str, str], folder: Path, *, tls: bool = True) -> None:
        self.folder, self.certificate = folder, Certificate() if tls else None
        given = {COOKIE[0]: COOKIE[1], "PLUGIN_PROTOCOL_VERSIONS": "6,5"}
        if self.certificate:
            given["PLUGIN_CLIENT_CERT"] = self.certificate.pem
        self.log = folder / f"stderr-{os.urandom(4).hex()}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command,
                env={**given, **environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        assert self.process.stdout is not None
        self.stdout = self.process.stdout
        self.line = self.stdout.readline().decode()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._channels: list[Channel] = []

    @property
    def address(self) -> str:
        """The socket's path."""
        return self.line.split("|")[3]

    def context(self, show: Certificate | None) -> ssl.SSLContext:
        """TLS that trusts the provider's certificate alone, and shows one of its own."""
        shown = self.line.strip().split("|")[5]
        own = ssl.DER_cert_to_PEM_cert(base64.b64decode(shown + "=" * (-len(shown) % 4)))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=own)
        context.set_alpn_protocols(["h2"])
        if show:
            file = self.folder / f"client-{os.urandom(4).hex()}"
            file.write_text(show.key + show.pem)
            context.load_cert_chain(file)
        return context

    def channel(self, context: ssl.SSLContext | None) -> Channel:
        """Another connection."""

        async def make() -> Channel:
            return Channel(
                path=self.address,
                ssl=context,
                codec=Raw(),
                config=Configuration(ssl_target_name_override="localhost" if context else None),
            )

        made = asyncio.run_coroutine_threadsafe(make(), self._loop).result(20)
        self._channels.append(made)
        return made

    def raw(self, path: str, message: bytes, channel: Channel | None = None, timeout: float = 60) -> bytes:
        """Bytes for bytes."""
        if channel is None:
            if not self._channels:
                self.channel(self.context(self.certificate) if self.certificate else None)
            channel = self._channels[0]

        async def ask() -> bytes:
            return bytes(await UnaryUnaryMethod(channel, path, bytes, bytes)(message, timeout=timeout))

        return asyncio.run_coroutine_threadsafe(ask(), self._loop).result(timeout + 5)

    def ask(self, method: str, channel: Channel | None = None, **request: Any) -> dict[str, Any]:
        """One question."""
        path = method if method.startswith("/") else f"/tfplugin6.Provider/{method}"
        asked, answered = PATHS[path]
        return decode(answered, self.raw(path, encode(asked, request), channel))

    def end(self) -> int:
        """As terraform ends it; gives the exit code."""
        if self.process.poll() is None:
            self.ask("/plugin.GRPCController/Shutdown")
        return self.process.wait(20)

    def close(self) -> None:
        """Whatever it does."""

        async def close() -> None:
            for channel in self._channels:
                channel.close()

        asyncio.run_coroutine_threadsafe(close(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)
        self.stdout.close()
