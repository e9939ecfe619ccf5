"""The recipe of a workspace: Lab, Notebook and TensorBoard at one address."""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from ..model.spec import Process

INSIDE = "{lofty}/jupyter/inside"

JUPYTER_FOLDERS = {
    # The person's own settings and extensions of another Jupyter could break this one; its kernels stay visible.
    "JUPYTER_CONFIG_DIR": "{run}/config",
    "JUPYTER_RUNTIME_DIR": "{run}/jupyter",
    "JUPYTER_PATH": "{run}/share",
    "JUPYTERLAB_SETTINGS_DIR": "{state}/settings",
    "JUPYTERLAB_WORKSPACES_DIR": "{state}/workspaces",
}


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    """Where a person goes. `lab` and `notebook` carry the token; the browser then keeps it as a cookie, so
    TensorBoard opens after one of them, or with the token as well."""

    lab: str
    notebook: str
    tensorboard: str
    panel: str

    def at(self, notebook: str) -> Addresses:
        """With a notebook in front, by its path in the directory."""
        path = quote(notebook)
        return msgspec.structs.replace(
            self,
            lab=self.lab.replace("/lab?", f"/lab/tree/{path}?"),
            notebook=self.notebook.replace("/tree?", f"/notebooks/{path}?"),
        )


def processes(logdir: str, tunnel: str = "") -> tuple[Process, ...]:
    """Jupyter, and TensorBoard behind it. `logdir` is relative to the working directory; `tunnel`: through which third
    party it is reached, if through one."""
    jupyter = Process(
        name="jupyter",
        argv=(
            *("{tools}", "-P", f"{INSIDE}/launch.py"),
            *(
                "--port",
                "{port}",
                "--base-url",
                "/{name}/",
                "--token-file",
                "{token}",
                "--workdir",
                "{workdir}",
            ),
            *("--run-dir", "{run}", "--state-dir", "{state}", "--name", "{name}"),
            *(("--public",) if tunnel else ()),
        ),
        env=JUPYTER_FOLDERS,
        ready="/{name}/api/status",
        restart=True,
    )
    board = Process(
        name="tensorboard",
        argv=(
            *("{tools}", "-P", f"{INSIDE}/board.py", "--socket", "{run}/tensorboard.sock"),
            *("--path-prefix", "/{name}/tensorboard", "--logdir"),
        ),
        args=(logdir,),
        after="jupyter",  # its start would slow down Jupyter's; meanwhile its page says that it starts
        restart=True,
    )
    way = Process(
        name="tunnel",
        argv=(
            *("{tunnel}", "-P", f"{INSIDE}/tunnel.py", "--port", "{port}"),
            *("--token-file", "{run}/tunnel.token", "--word", "{run}/tunnel.json"),
        ),
        after="jupyter",
        restart=True,
    )
    return (jupyter, way, board) if tunnel else (jupyter, board)


def addresses(origin: str, name: str, token: str) -> Addresses:
    """The addresses of a workspace that is reached at an origin, such as `http://127.0.0.1:8888`."""
    base = f"{origin}/{name}"
    return Addresses(
        lab=f"{base}/lab?token={token}",
        notebook=f"{base}/tree?token={token}",
        tensorboard=f"{base}/tensorboard/?token={token}",
        panel=f"{base}/lofty/?token={token}",
    )
