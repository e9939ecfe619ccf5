"""ngrok's library as far as lofty uses it (1.4.0 and 1.7.0: `forward(addr, authtoken=...)`, `Listener.url()`), with a
relay on this computer instead of a service. Only the token `good` is taken; the refusal has the library's own shape."""

from __future__ import annotations

import socket
import threading


class Listener:
    """An open address."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._target = target
        threading.Thread(target=self._serve, daemon=True).start()

    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            near, _ = self._server.accept()
            far = socket.create_connection(self._target)
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        sink.close()


def forward(addr: str, authtoken: str | None = None) -> Listener:
    """Open an address that leads to `addr`."""
    if authtoken != "good":
        raise ValueError("failed to connect session", f"authentication failed: {authtoken} is no token ERR_NGROK_105")
    host, _, port = addr.partition(":")
    return Listener((host, int(port)))
