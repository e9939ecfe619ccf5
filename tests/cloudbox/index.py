"""A package index for machines that see no other: the wheels of a folder, in the form that pip and uv ask for."""

from __future__ import annotations

import hashlib
import html
import re
import threading
from collections.abc import Iterable
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Index:
    """Serves a folder; the socket belongs to the network of the thread that makes it."""

    def __init__(self, folder: Path, host: str) -> None:
        index = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_HEAD(self) -> None:
                self._answer()

            def do_GET(self) -> None:
                self.wfile.write(self._answer())

            def _answer(self) -> bytes:
                body, kind = index.answer(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                return body or b""

        self._folder = folder
        self._server = ThreadingHTTPServer((host, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{host}:{self._server.server_port}/simple/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True, name="index")
        self._thread.start()

    def stop(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str) -> tuple[bytes | None, str]:
        """A page or a file; none when there is no such."""
        files = {file.name: file for file in self._folder.glob("*.whl")}
        if (found := re.fullmatch(r"/files/([^/]+)", path)) and found.group(1) in files:
            return files[found.group(1)].read_bytes(), "application/zip"
        names = sorted({_normal(name.partition("-")[0]) for name in files})
        if path.rstrip("/") == "/simple":
            return _page(f"<a href='/simple/{name}/'>{name}</a>" for name in names), "text/html"
        if (found := re.fullmatch(r"/simple/([^/]+)/?", path)) and _normal(found.group(1)) in names:
            mine = [file for name, file in files.items() if _normal(name.partition("-")[0]) == _normal(found.group(1))]
            return _page(_link(file) for file in sorted(mine)), "text/html"
        return None, "text/plain"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def _link(file: Path) -> str:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return f"<a href='/files/{html.escape(file.name)}#sha256={digest}'>{html.escape(file.name)}</a>"


def _page(links: Iterable[str]) -> bytes:
    return ("<!doctype html><html><body>" + "<br>".join(links) + "</body></html>").encode()
