"""Azurite, Microsoft's own emulator of Azure's blobs, as `tests/fetch.py` installed it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import shutil
import subprocess
import tempfile
import urllib.request
from email.utils import formatdate
from pathlib import Path
from typing import Self

from tests.stores.support import ended, free_port, listening

ACCOUNT = "loftytest"
SECRET = base64.b64encode(b"a secret of nobody, for tests only").decode()


def missing(cache: Path) -> str:
    """Why it cannot be run here; empty where it can."""
    if shutil.which("node") is None:
        return "no Node.js here: apt-get install nodejs npm"
    return "" if _program(cache).exists() else "no Azurite here: run `make fetch` where npm is"


def _program(cache: Path) -> Path:
    return cache / "azurite" / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"


class Azurite:
    """`with Azurite(CACHE) as server: Store(server.url)`, with `server.environ` in the environment."""

    def __init__(self, cache: Path, container: str = "container") -> None:
        self.url = f"az://{container}"
        self._container = container
        self._program = _program(cache)
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = ""

    @property
    def environ(self) -> dict[str, str]:
        """What a client needs."""
        return {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": SECRET,
            "AZURE_ENDPOINT": f"http://127.0.0.1:{self._port}/{ACCOUNT}",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }

    def __enter__(self) -> Self:
        self._folder = tempfile.mkdtemp(prefix="lt-azurite-")
        # The JavaScript itself: `node` answers signals, the wrapper of npm does not.
        words = ["node", str(self._program), "--silent", "--skipApiVersionCheck", "--disableTelemetry"]
        words += ["--location", self._folder, "--blobHost", "127.0.0.1", "--blobPort", str(self._port)]
        quiet = subprocess.DEVNULL
        environ = {"PATH": str(Path(shutil.which("node") or "node").parent), "HOME": self._folder}
        environ["AZURITE_ACCOUNTS"] = f"{ACCOUNT}:{SECRET}"
        self._process = subprocess.Popen(words, stdin=quiet, stdout=quiet, stderr=quiet, env=environ)
        listening(self._process, self._port)
        self._make_container()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            ended(self._process)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _make_container(self) -> None:
        """obstore makes none, and a client library for one request would be too much."""
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
        signed = "\n".join(f"{name}:{value}" for name, value in headers.items())
        resource = f"/{ACCOUNT}/{ACCOUNT}/{self._container}\nrestype:container"
        text = "\n".join(["PUT", *[""] * 11, signed, resource])
        signature = hmac.digest(base64.b64decode(SECRET), text.encode(), hashlib.sha256)
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(signature).decode()}"
        url = f"{self.environ['AZURE_ENDPOINT']}/{self._container}?restype=container"
        request = urllib.request.Request(url, method="PUT", headers={**headers, "Content-Length": "0"})
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        direct.open(request, timeout=10).close()
