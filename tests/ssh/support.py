"""A machine as one sees it from outside: a real ssh server on loopback, and behind it a small web server."""

from __future__ import annotations

import base64
import getpass
import hashlib
import os
import socket
import subprocess
import threading
from pathlib import Path

import psutil

from lofty.model.state import Endpoint
from lofty.reach import ssh

from ..stores.support import free_port, listening

SSHD = Path("/usr/sbin/sshd")


class Page:
    """A web server that says its name and echoes what comes over a websocket."""

    def __init__(self, name: str) -> None:
        self.name, self.asked = name, 0
        self.heads: list[list[str]] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            head = []
            while (line := lines.readline()).strip():
                head.append(line.decode().strip())
            if not head:
                return
            self.asked += 1
            self.heads.append(head)
            headers = {key.lower(): value for key, _, value in (one.partition(": ") for one in head[1:])}
            if "upgrade" not in headers or headers["upgrade"] != "websocket":
                body = self.name.encode() * (2**20 if "/large" in head[0] else 1)
                start = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
                connection.sendall(start.encode() + body)
                return
            seed = headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
            accept = base64.b64encode(hashlib.sha1(seed.encode()).digest()).decode()
            upgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            connection.sendall(f"{upgrade}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
            while first := lines.read(2):  # short text messages, masked with zeros (see e2e.support)
                size = first[1] & 0x7F
                text = lines.read(4 + size)[4:]
                connection.sendall(bytes([0x81, size]) + text)

    def close(self) -> None:
        self._listener.close()


class Machine:
    """An ssh server with a host key of its own, as an ordinary process. Who may come in stands in the file
    `authorized`, which may come later."""

    def __init__(self, folder: Path, page: Page, authorized: Path) -> None:
        folder.mkdir(parents=True)
        self._folder, self.page, self.port = folder, page, free_port()
        key = ssh.new_key()
        self.host_key = key.public
        (folder / "host").write_text(key.private)
        (folder / "host").chmod(0o600)
        (folder / "authorized_keys").symlink_to(authorized)
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True, mode=0o755)  # where it gives up its rights; it insists on that
        settings = {
            "ListenAddress": f"127.0.0.1:{self.port}",
            "HostKey": folder / "host",
            "AuthorizedKeysFile": folder / "authorized_keys",
            "PidFile": "none",
            "StrictModes": "no",
            "UsePAM": "no",
            "PermitRootLogin": "prohibit-password",
            "PasswordAuthentication": "no",
            "LogLevel": "VERBOSE",
        }
        config = folder / "sshd_config"
        config.write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
        with (folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [SSHD, "-D", "-e", "-f", config], stderr=log, stdin=subprocess.DEVNULL, env={"PATH": os.environ["PATH"]}
            )
        listening(self._process, self.port)

    @property
    def end(self) -> Endpoint:
        """As a driver tells."""
        return Endpoint(
            how="ssh",
            host="127.0.0.1",
            port=self.page.port,
            user=getpass.getuser(),
            ssh_port=self.port,
            host_key=self.host_key,
        )

    @property
    def log(self) -> str:
        """What the server says."""
        return (self._folder / "log").read_text()

    def kill(self) -> None:
        """Gone from one moment to the next, every session with it."""
        if self._process.poll() is None:
            for process in psutil.Process(self._process.pid).children(recursive=True):
                process.kill()
            self._process.kill()
            self._process.wait()
