"""lofty: Jupyter on a machine of any cloud, or on your own, with one command.

    import lofty

    ws = lofty.lab(".")                        # JupyterLab, Notebook and TensorBoard on this directory
    print(ws.url)
    job = lofty.run("train.ipynb", lr=0.1)     # a notebook as a job
    job.wait()

Everything is loaded on first use: importing lofty costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .api import Client, Task
    from .errors import LoftyError

__all__ = ["Client", "LoftyError", "Task", "__version__", "get", "lab", "run", "tasks"]


def lab(path: str = ".", **options: Any) -> Task:
    """A workspace on a directory, ready to be opened. Options are those of `lofty lab`: `timeout="4h"`."""
    from .api import Client

    return Client().lab(path, **options)


def run(file: str, *args: str, **options: Any) -> Task:
    """A job that runs a notebook or a script, started. Keywords that are no option of `lofty run` are the
    notebook's parameters."""
    from .api import Client

    return Client().run(file, *args, **options)


def get(name: str | None = None) -> Task:
    """The task of that name, from any process; without a name, the only one there is."""
    from .api import Client

    return Client().get(name)


def tasks() -> list[Task]:
    """Every task there is."""
    from .api import Client

    return Client().tasks()


def __getattr__(name: str) -> Any:
    if name in ("Client", "Task"):
        from . import api

        return getattr(api, name)
    if name == "LoftyError":
        from .errors import LoftyError

        return LoftyError
    raise AttributeError(f"module 'lofty' has no attribute {name!r}")
