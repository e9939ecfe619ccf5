"""From a request in a person's words to a `TaskSpec`: what `lab` and `run` mean."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from . import config
from .errors import Conflict, SpecError, UsageError, unknown_choice
from .jupyter import job, workspace
from .model import ids
from .model.spec import TOOLS, TUNNELS, Kind, Need, Process, TaskSpec
from .store.clouds import region_in

RUNS = (".ipynb", ".py", ".sh")
"""How the names of files end that can be run as a job."""


def folder(path: str | os.PathLike[str]) -> Path:
    """The directory that a workspace is to work in; `UsageError` when it cannot."""
    found = Path(path).expanduser()
    try:
        there = found.exists()
    except PermissionError:
        raise UsageError(f"{found} cannot be read", hint=f"chmod u+rx {found.parent}") from None
    if not there:
        parent = found.resolve().parent
        from difflib import get_close_matches

        names = [p.name for p in parent.iterdir() if p.is_dir()] if parent.is_dir() else []
        near = get_close_matches(found.name, names, n=1)
        hint = f"lofty lab {parent / near[0]}" if near else f"mkdir -p {found}"
        if found.suffix in RUNS and found.parent.is_dir():  # somebody who wants to open a file
            hint = f"lofty lab {found.parent}"
        raise UsageError(f"there is no directory {found}", hint=hint)
    if not found.is_dir():
        hint = f"lofty run {found}" if found.suffix in RUNS else f"lofty lab {found.parent}"
        raise UsageError(f"{found} is not a directory", hint=hint)
    if not os.access(found, os.R_OK | os.X_OK):
        raise UsageError(f"{found} cannot be read", hint=f"chmod u+rx {found}")
    return found.resolve()


def opened(path: str | os.PathLike[str]) -> tuple[str | os.PathLike[str], str]:
    """The directory that a workspace is meant to work in, and the notebook there that is to be in front, if one was
    named: relative, with `/`. Then it works where a job would (`workdir`), though never in the whole home."""
    found = Path(path).expanduser()
    try:
        named = found.suffix == ".ipynb" and found.is_file()
    except PermissionError:
        named = False  # `folder` says so
    if not named:
        return path, ""
    file = found.resolve()
    source = workdir(file, None)
    source = file.parent if source == Path.home().resolve() else source
    return source, file.relative_to(source).as_posix()


def workdir(file: Path, named: str | None) -> Path:
    """Where a job runs: the directory named, else the current one when the file lies beneath it, else the file's."""
    if named:
        found = folder(named)
        if not file.is_relative_to(found):
            raise UsageError(f"{file} does not lie in --workdir {found}", hint=f"--workdir {file.parent}")
        return found
    here = Path.cwd().resolve()
    return here if file.is_relative_to(here) else file.parent


def workspace_spec(source: Path, options: config.Options, identity: Identity) -> TaskSpec:
    """What `lofty lab` asks for."""
    tunnel = options.tunnel or ""
    if tunnel:
        tunnel_token(tunnel, identity.environ)
    processes = workspace.processes(options.logdir, tunnel)
    return _spec("workspace", source, options, identity, processes, kernel=True)


def tunnel_token(kind: str, environ: Mapping[str, str]) -> str:
    """The person's own token for a tunnel. Raises `SpecError` where there is no such tunnel, or no token."""
    if kind not in TUNNELS:
        raise SpecError(unknown_choice("tunnel", kind, list(TUNNELS)), hint="--tunnel ngrok")
    found = next((environ[name] for name in TUNNELS[kind] if environ.get(name)), "")
    if not found:
        first = TUNNELS[kind][0]
        raise SpecError(f"--tunnel {kind} needs your token of {kind} in {first}", hint=f"export {first}=...")
    return found


def job_spec(
    file: Path,
    source: Path,
    options: config.Options,
    identity: Identity,
    args: Sequence[str],
    parameters: Mapping[str, job.Value],
) -> TaskSpec:
    """What `lofty run` asks for."""
    relative = file.relative_to(source).as_posix()
    output = _output(file, source, options) if file.suffix == ".ipynb" else ""
    process = job.process(file, relative, args, parameters, output)
    return _spec("job", source, options, identity, (process,), kernel=file.suffix == ".ipynb", output=output)


def script_spec(
    text: str,
    source: Path | None,
    options: config.Options,
    identity: Identity,
    secrets: Sequence[str],
    tags: Mapping[str, str],
) -> TaskSpec:
    """What a script asks for that runs on a copy of a directory, or in an empty one of its own. It is meant to put
    its machine to rights, so there it is the administrator; the environment that happens to be active here is no
    business of it."""
    spec = _spec("job", source or Path(), options, identity, (job.script(text),), kernel=False)
    return msgspec.structs.replace(
        spec,
        source=str(source) if source else "",
        python=options.python or "",
        secrets=(*spec.secrets, *secrets),
        tags=dict(tags),
        root=True,
    )


def _output(file: Path, source: Path, options: config.Options) -> str:
    """The executed copy's place, relative to the working directory where it lies in it."""
    target = Path(options.output).expanduser().absolute() if options.output else job.executed_name(file)
    if target.is_dir():
        target = target / job.executed_name(file).name
    if target.resolve() == file:
        raise SpecError(f"--output {target} is the notebook itself", hint="name another file")
    if not target.parent.is_dir():
        raise SpecError(f"there is no directory {target.parent}", hint=f"mkdir -p {target.parent}")
    if target.is_relative_to(source):
        return target.relative_to(source).as_posix()
    if options.copy:
        raise SpecError(f"with --copy the output has to lie in {source}", hint=f"--output {file.parent}/NAME.ipynb")
    return str(target)


class Identity:
    """Who asks, under which name, and what the person's computer adds."""

    def __init__(self, owner: str, name: str, now: float, environ: Mapping[str, str], *, in_place: bool) -> None:
        self.owner, self.name, self.now, self.environ, self.in_place = owner, name, now, environ, in_place


def _spec(
    kind: Kind,
    source: Path,
    options: config.Options,
    identity: Identity,
    processes: tuple[Process, ...],
    *,
    kernel: bool,
    output: str = "",
) -> TaskSpec:
    in_place = identity.in_place and not options.copy
    python = options.python or (_active_python(identity.environ) if identity.in_place else "")
    needs_tools = any("{tools}" in process.argv for process in processes)
    return TaskSpec(
        id=ids.identifier(identity.owner, identity.name),
        name=identity.name,
        owner=identity.owner,
        kind=kind,
        created=identity.now,
        on=options.on,
        need=Need(
            machine=options.machine or "",
            gpu=options.gpu or "",
            cpus=options.cpus or "",
            memory=options.memory or "",
            disk=options.disk,
            region=options.region or "",
            image=options.image or "",
            subnets=tuple(options.subnet or ()),
            spot=bool(options.spot),
            fallback=_fallback(options),
            max_price=options.max_price,
        ),
        processes=processes,
        tools=TOOLS if needs_tools else "",
        kernel=kernel,
        python=python,
        source=str(source),
        workdir=str(source) if in_place else "",
        container=_container(options.container or "", options.on, in_place=in_place),
        outputs=(output,) if output else (),
        env=config.variables(options.env or (), identity.environ),
        secrets=tuple(options.secret or ()),
        exclude=tuple(options.exclude or ()),
        parallelism=options.values.get("parallelism") or 1,
        timeout=_limit("timeout", options, identity),
        idle=_limit("idle", options, identity),
        budget=options.budget,
        role=options.role or "",
        ssh_keys=tuple(options.ssh_keys or ()),
        keep_on_error=bool(options.values.get("keep_on_error")),
        tunnel=options.values.get("tunnel") or "",
        index=_index(options.index_url or ""),
        options={key: value for key, value in options.given.items() if key not in ("name", "on")},
    )


def _fallback(options: config.Options) -> bool:
    """Whether a machine on demand may take the place of a spot one."""
    if options.fallback and not options.spot:
        raise SpecError("--fallback says what happens where there is no spot machine", hint="add --spot")
    return bool(options.fallback)


_CONTAINERS = {"aws": ("s3",)}
"""Stores that a cloud's machines reach with their own rights; elsewhere any that lofty knows."""


def _container(url: str, on: str, *, in_place: bool) -> str:
    if not url:
        return ""
    schemes = _CONTAINERS.get(on, ("s3", "gs", "az", "file"))
    if url.partition("://")[0] not in schemes or not url.partition("://")[2].strip("/"):
        raise SpecError(f"--container {url} is no place on {on}", hint=f"--container {schemes[0]}://BUCKET/DIRECTORY")
    region_in(url)
    if in_place:
        raise SpecError("--container is for a copy, and this is the folder itself", hint="add --copy")
    return url.rstrip("/")


def _index(url: str) -> str:
    """It becomes part of a machine's user data, which is no place for a password."""
    if "@" in url:
        raise SpecError("--index-url holds a password", hint="name an index that the machine may read without one")
    return url


CLOUD_LIMITS = {"timeout": 24 * 3600.0, "idle": 1800.0}
"""Where machines cost money nothing runs for ever, unless the person says so (`--timeout none`)."""


def _limit(name: str, options: config.Options, identity: Identity) -> float | None:
    asked: float | None = options.values[name]
    return asked if name in options.given or identity.in_place else CLOUD_LIMITS[name]


def _active_python(environ: Mapping[str, str]) -> str:
    """The interpreter of the environment that the person has activated in this terminal."""
    for variable in ("VIRTUAL_ENV", "CONDA_PREFIX"):
        if environ.get(variable):
            python = Path(environ[variable], "bin", "python")
            if python.exists():
                return str(python)
    return ""


def check_same_script(present: TaskSpec, wanted: TaskSpec) -> None:
    """`Conflict` unless a script that is there is the one that is wanted, on such a machine."""
    told = {"on": "cloud", "need": "machine", "processes": "script", "parallelism": "number of machines"}
    differs = [word for field, word in told.items() if getattr(present, field) != getattr(wanted, field)]
    if present.kind != wanted.kind or differs:
        what = f"with another {' and '.join(differs)}" if differs else f"as a {present.kind}"
        raise Conflict(f"'{present.name}' is already there {what}", hint=f"lofty down {present.name}, or another name")


def check_same(present: TaskSpec, wanted: TaskSpec) -> None:
    """`Conflict` unless a second request means the task that is there."""
    other = ids.slug(f"{present.name}-2")
    if present.kind != wanted.kind or present.source != wanted.source:
        raise Conflict(f"'{present.name}' is already a {present.kind} of {present.source}", hint=f"add --name {other}")
    if present.on != wanted.on:
        raise Conflict(f"'{present.name}' is already there on {present.on}", hint=f"add --name {other}")
    changed = [key for key, value in wanted.options.items() if present.options.get(key) != value]
    if changed:
        names = ", ".join(f"--{key.replace('_', '-')}" for key in changed)
        raise Conflict(
            f"'{present.name}' is already there with another {names}",
            hint=f"lofty down {present.name} first, or add --name {other}",
        )
