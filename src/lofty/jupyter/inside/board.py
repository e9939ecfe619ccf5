"""TensorBoard on a Unix socket, behind the login of the workspace.

TensorBoard has no login. On a TCP port anybody with an account on the same computer could read the curves,
so it listens on a socket in a private directory, and the workspace's Jupyter forwards to it after the login.

It loads at the first visit: until then a workspace whose owner never looks at curves pays neither the two
seconds of imports nor the memory, and Jupyter has the processor to itself while it starts.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import Any

RELOAD_SECONDS = 10  # how old a curve may be; each reload walks the whole directory


def listen(path: Path) -> socket.socket:
    """Listen on `path`, replacing what a process that was killed left there."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    old_mask = os.umask(0o177)  # 0600 from its first moment
    try:
        listener.bind(str(path))
    except OSError as error:  # above all: a path of more than about a hundred characters
        sys.exit(f"TensorBoard cannot listen at {path}: {error}")
    finally:
        os.umask(old_mask)
    listener.listen(128)
    return listener


def server_on(listener: socket.socket) -> Any:
    """Return what TensorBoard calls to make its server: one that takes its connections from `listener`."""
    from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

    class Quiet(WSGIRequestHandler):
        """A request is not worth a line in the workspace's log."""

        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """Say nothing."""

        def address_string(self) -> str:
            """Name the client, which has no address on a Unix socket."""
            return "workspace"

    class SocketServer(ThreadedWSGIServer):
        daemon_threads = True  # an open connection must not hold up the end

        def __init__(self, app: Any, flags: Any) -> None:
            address = f"unix://{listener.getsockname()}"
            super().__init__(address, 0, app, Quiet, fd=listener.fileno())

        def get_url(self) -> str:
            return "http://workspace:0/"  # asked for, never shown

        def print_serving_message(self) -> None:
            """Say nothing: the address is the workspace's."""

    return SocketServer


def serve(listener: socket.socket, logdir: Path, path_prefix: str) -> None:
    """Answer on `listener` from a thread of TensorBoard's own."""
    from tensorboard import program

    board = program.TensorBoard(server_class=server_on(listener))
    board.configure(
        argv=("",),
        logdir=str(logdir),
        path_prefix=path_prefix.rstrip("/"),
        reload_interval=RELOAD_SECONDS,
        load_fast="false",  # the fast loader opens a TCP port that has no login
        window_title="TensorBoard",
    )
    # launch, not main: main announces the server to every user of the computer, in a file under /tmp.
    board.launch()


def main() -> None:
    """Listen, wait for the first visit, then be TensorBoard."""
    parser = argparse.ArgumentParser(prog="board.py", description=__doc__)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--logdir", type=Path, required=True)
    parser.add_argument("--path-prefix", required=True)
    options = parser.parse_args()

    def leave(signum: int, frame: FrameType | None) -> None:
        options.socket.unlink(missing_ok=True)
        os._exit(0)  # nothing to save, and threads in the middle of an answer would delay the end

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    # The system may hand a signal to any thread, and then the main one, asleep, would not notice.
    woken, wake = socket.socketpair()
    wake.setblocking(False)
    signal.set_wakeup_fd(wake.fileno())

    listener = listen(options.socket)
    select.select([listener, woken], [], [])
    serve(listener, options.logdir, options.path_prefix)
    select.select([woken], [], [])


if __name__ == "__main__":
    main()
