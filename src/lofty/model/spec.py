"""What was asked for. A `TaskSpec` is written to the store as `task.json` and holds no secret."""

from __future__ import annotations

from typing import Literal

import msgspec

from .money import Price

Kind = Literal["workspace", "job"]


TOOLS = "jupyter/requirements.lock"
"""Path within this package of the pinned tools."""
KERNEL = "jupyter/kernel.lock"
"""Path within this package of what the user's environment needs besides; all of it, where a person names nothing."""


TUNNEL = "jupyter/tunnel.lock"
"""Likewise of what a tunnel needs."""
TUNNELS = {"ngrok": ("NGROK_AUTHTOKEN", "NGROK_TOKEN")}
"""Third parties through which a workspace can be reached, and the variables that may hold a person's token for them."""


class Need(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The hardware and terms asked for, in the words of every cloud."""

    machine: str = ""
    """Generic size (`s`, `m`, `l`, `xl`, `m+t4`, …) or a native type; empty takes the cloud's default."""
    gpu: str = ""
    cpus: str = ""
    memory: str = ""
    """GiB; `16` or `16+`."""
    disk: float | None = None
    """GB."""
    region: str = ""
    image: str = ""
    subnets: tuple[str, ...] = ()
    """Networks of the person's own for the machines, as their cloud calls them; empty: the usual one."""
    spot: bool = False
    fallback: bool = False
    """On demand, where no spot machine is to be had."""
    max_price: float | None = None
    """USD per hour."""


class Process(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One child of the agent.

    `argv` and the values of `env` may hold `{placeholders}` that only the machine can fill:
    `{lofty}` (where this package lies there), `{tools}` (the interpreter of the pinned environment),
    `{tunnel}` (that of the tunnel's), `{python}` (the interpreter of the user's environment), `{workdir}`,
    `{run}` (short-lived, private),
    `{state}` (kept between starts), `{token}` (a file that holds the task's token),
    `{port}`, `{name}`.
    """

    name: str
    argv: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    """Added behind `argv` as they are: a person's own words, braces and all."""
    env: dict[str, str] = {}
    files: dict[str, str] = {}
    """Written into `{run}` before the start, under these names: what is too long for a command line. Programs, which
    begin with `#!`, can be executed there."""
    ready: str = ""
    """A path that answers 200 on `{port}` with the token once the process serves; empty: ready when started."""
    after: str = ""
    """Started once the process of that name is ready; empty: at once."""
    restart: bool = False
    """Started again when it ends by itself: a server; a job is not."""


class TaskSpec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One task as it was asked for; frozen for the task's whole life."""

    id: str
    name: str
    owner: str
    kind: Kind
    created: float
    """Epoch seconds."""
    on: str
    """The driver's name."""
    need: Need = Need()
    processes: tuple[Process, ...]
    """The first is the task itself: when it ends for good, the task has ended."""
    tools: str = ""
    """A hash-pinned lock within this package, made into `{tools}`; empty where none is needed."""
    kernel: bool = False
    """Whether the user's environment is to serve notebooks."""
    python: str = ""
    """An interpreter to use where the working directory names no environment (this computer's active one)."""
    source: str = ""
    """Absolute path on the computer that asked; the working directory itself where the machine is that computer."""
    workdir: str = ""
    """Absolute path on the machine; empty: a directory of the machine's own, filled from the store."""
    container: str = ""
    """URL under which the files lie, one object for each, instead of in the task's store; they outlive the task."""
    outputs: tuple[str, ...] = ()
    """Paths, relative to the working directory, that a job is known to make."""
    port: int = 0
    price: Price | None = None
    """What one machine costs, as far as it was known when the task was made."""
    on_demand: Price | None = None
    """What one costs that was had on demand where spot was asked for; None where that cannot be."""
    env: dict[str, str] = {}
    secrets: tuple[str, ...] = ()
    """Names only; the values lie in the store under `private/`."""
    exclude: tuple[str, ...] = ()
    parallelism: int = 1
    timeout: float | None = None
    """Seconds from creation to the deadline; None: no deadline."""
    idle: float | None = None
    """Seconds at rest after which the task stops; None: never."""
    budget: float | None = None
    """USD."""
    role: str = ""
    """What the machines are to their cloud, by its own name of it; empty: something made for this task alone."""
    ssh_keys: tuple[str, ...] = ()
    """Whose public keys are let in, in the person's words; the keys themselves lie in the store under `private/`."""
    keep_on_error: bool = False
    """Whether the machine of a failed job stays, to be looked at."""
    tunnel: str = ""
    """The third party through which the workspace is reached, and it alone; empty where it is none. The person's token
    for it lies in the store under `private/`."""
    index: str = ""
    """Package index that the machines install from; empty: uv's own."""
    root: bool = False
    """Whether its processes are the administrator's, where the machine is the task's alone."""
    tags: dict[str, str] = {}
    """Of the person's own, for what the cloud makes."""
    options: dict[str, str] = {}
    """What was asked for in so many words, to tell whether a second request means the same task."""

    def files(self, store: str) -> str:
        """URL of the files, where `store` is the task's."""
        return self.container or f"{store}/files"
