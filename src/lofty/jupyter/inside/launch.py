"""Start the workspace's Jupyter: JupyterLab, Notebook 7 and TensorBoard at one address behind one token.

The server is set up in this process rather than by a command line or a configuration file. The token then
appears neither in the list of processes nor in the environment that kernels inherit, and what happens does
not depend on what is lying about in `~/.jupyter`.
"""

from __future__ import annotations

import argparse
import io
import signal
import socket
import sys
from pathlib import Path

# jsonschema imports this package to check a format that no Jupyter schema uses, and importing it builds an
# Earley parser: two thirds of the processor time of a whole start. It copes with its absence. Must come
# before anything of Jupyter.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]

from jupyter_server.serverapp import ServerApp  # noqa: E402
from jupyterlab import commands  # noqa: E402
from traitlets.config import Config  # noqa: E402

# Where there is a node, JupyterLab runs yarn at import and waits for it, to learn of a package registry that
# only a build would use: a third of a second.
commands._yarn_config = lambda logger: {"yarn config": {}, "npm config": {}}

HERE = Path(__file__).resolve().parent


class Workspace(ServerApp):
    """Jupyter's server, with the manners of a child process."""

    no_browser_open_file = True  # that file would hold the token

    def init_signal(self) -> None:
        """End at SIGTERM, and at Ctrl-C without "are you sure?", which nobody is there to answer."""
        super().init_signal()
        # The loop's own handlers, since a plain one only runs when the loop wakes up for some other reason if
        # the system hands the signal to another thread.
        for number in (signal.SIGINT, signal.SIGTERM):
            self.io_loop.asyncio_loop.add_signal_handler(number, self.stop_once)

    def stop_once(self) -> None:
        """End, leaving alone an end that is under way."""
        if not self._stopping:
            self.stop()


class Discreet(io.TextIOWrapper):
    """Standard error without the token: Jupyter blots it out of most addresses that it logs, not of all."""

    def __init__(self, secret: str) -> None:
        super().__init__(sys.stderr.buffer, encoding="utf-8", errors="backslashreplace", line_buffering=True)
        self.secret = secret

    def write(self, text: str) -> int:
        """Write `text` with the token blotted out."""
        super().write(text.replace(self.secret, "[secret]"))
        return len(text)


def settings(options: argparse.Namespace, token: str) -> Config:
    """Return everything that differs from Jupyter's own defaults."""
    base_url = f"/{options.base_url.strip('/')}/"
    config = Config()
    server = config.ServerApp
    server.ip = "127.0.0.1"
    server.port = options.port
    server.port_retries = 0
    server.base_url = base_url
    server.root_dir = str(options.workdir)
    # Through a tunnel requests name its host, which is not known yet; who may come in, the token decides as ever.
    server.allow_remote_access = options.public
    server.default_url = f"/{options.page}"
    server.open_browser = False
    server.allow_root = True
    server.tornado_settings = {"ws_ping_timeout": 30_000}  # its default is longer than allowed, and warned of
    server.quit_button = False  # "Shut Down" would end Jupyter and leave the machine; ours ends both
    server.cookie_secret_file = str(options.state_dir / "cookie_secret")  # a login outlives a restart
    # Named here, the extensions are not searched for in configuration directories; jupyter_lsp, which wants
    # language servers that are not there, stays out.
    server.jpserver_extensions = dict.fromkeys(
        ("jupyterlab", "jupyter_server_terminals", "lofty_panel", "notebook"), True
    )
    config.Application.log_level = "WARN"  # the ordinary lines tell a reader of the log nothing
    # Kernels listen on TCP, where everybody with an account here could listen in. "auto": encrypted for
    # kernels that say they can.
    config.KernelManager.transport_encryption = "auto"
    config.IdentityProvider.token = token
    config.PasswordIdentityProvider.allow_password_change = False  # the token is the one key; see `lofty url`
    config.LabServerApp.extra_labextensions_path = [str(HERE / "labextensions")]
    config.LabApp.extension_manager = "readonly"  # the other one asks a package index what is new
    config.LabApp.news_url = None  # and this would ask the reader, then the project's news feed
    config.LabApp.check_for_updates_class = "jupyterlab.handlers.announcements.NeverCheckForUpdate"
    config.LoftyPanel.run_dir = str(options.run_dir)
    config.LoftyPanel.workspace = options.name
    return config


def arguments(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="launch.py", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--base-url", required=True, help="the path that everything is under: /NAME/")
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--workdir", type=Path, required=True, help="what the file browser shows")
    parser.add_argument("--run-dir", type=Path, required=True, help="how the agent and the panel talk")
    parser.add_argument("--state-dir", type=Path, required=True, help="what outlives a restart")
    parser.add_argument("--name", required=True, help="the workspace's name")
    parser.add_argument("--public", action="store_true", help="answer to names that are not this computer's")
    parser.add_argument("--page", choices=("lab", "tree"), default="lab", help="what the address opens")
    return parser.parse_args(argv)


def refuse_taken_port(port: int) -> None:
    """Say in one line, before the work, what Jupyter would say after it and among others."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            sys.exit(f"Jupyter cannot listen on port {port}: {error.strerror}")


def main(argv: list[str]) -> None:
    """Serve until a signal ends it."""
    options = arguments(argv)
    refuse_taken_port(options.port)
    token = options.token_file.read_text(encoding="utf-8").strip()
    if not token:
        sys.exit(f"{options.token_file} is empty: Jupyter would let everybody in")
    sys.stderr = Discreet(token)
    # At the end, where it shadows nothing; and a kernel, being another process, never sees it.
    sys.path.append(str(HERE))
    app = Workspace.instance(config=settings(options, token))
    app.initialize(argv=[], find_extensions=False)
    app.start()


if __name__ == "__main__":
    main(sys.argv[1:])
