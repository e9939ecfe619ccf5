"""The recipe of a job: a notebook through papermill, a script through its interpreter, anything else as it is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import SpecError, UsageError
from ..model.spec import Process
from .workspace import INSIDE, JUPYTER_FOLDERS

Value = bool | int | float | str | None | list[object] | dict[str, object]


def typed(text: str) -> Value:
    """A parameter as papermill's command line types it: True, False, None, an int, a float, else the text."""
    words: dict[str, Value] = {"True": True, "False": False, "None": None}
    if text in words:
        return words[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def check_file(path: Path) -> None:
    """`UsageError` unless the file can be read and, where it is a notebook, looks like one."""
    try:
        there = path.exists()
    except PermissionError:
        raise UsageError(f"{path} cannot be read", hint=f"chmod u+rx {path.parent}") from None
    if not there:
        near = _nearest(path)
        raise UsageError(f"there is no file {path}", hint=f"lofty run {near}" if near else "lofty run FILE")
    if not path.is_file():
        raise UsageError(f"{path} is not a file", hint=f"lofty lab {path}" if path.is_dir() else "lofty run FILE")
    if not os.access(path, os.R_OK):
        raise UsageError(f"{path} cannot be read", hint=f"chmod u+r {path}")
    if path.suffix == ".ipynb":
        try:
            cells = json.loads(path.read_bytes())["cells"]
            valid = isinstance(cells, list)
        except (ValueError, KeyError, TypeError):
            valid = False
        if not valid:
            raise UsageError(f"{path} is not a notebook: it is no JSON with cells", hint="open and save it in Jupyter")


def executed_name(path: Path) -> Path:
    """Where the executed copy of a notebook goes unless told otherwise."""
    return path.with_name(f"{path.stem}.executed.ipynb")


def process(file: Path, relative: str, args: Sequence[str], parameters: Mapping[str, Value], output: str) -> Process:
    """The process that runs a file. `relative` is its path below the working directory; `output`, for a notebook,
    the executed copy's: below the working directory, or absolute."""
    if file.suffix == ".ipynb":
        if args:
            raise SpecError("a notebook takes parameters, not arguments", hint="lofty run NOTEBOOK -p name=value")
        argv = ("{tools}", "-P", f"{INSIDE}/notebook_job.py", "--parameters", "{run}/parameters.json")
        files = {"parameters.json": json.dumps(dict(parameters))}
        return Process(name="notebook", argv=argv, args=(relative, output), env=JUPYTER_FOLDERS, files=files)
    if parameters:
        raise SpecError(f"-p is for notebooks, and {file.name} is none", hint=f"lofty run {file.name} -- ARGUMENT...")
    words: tuple[str, ...] = (relative, *args)
    if file.suffix == ".py":
        return Process(name="job", argv=("{python}", "-u"), args=words)
    if os.access(file, os.X_OK):
        return Process(name="job", args=(f"./{relative}", *args))
    if file.suffix == ".sh" or file.read_bytes()[:2] == b"#!":
        return Process(name="job", argv=_interpreter(file), args=words)
    raise UsageError(f"{file} is neither a notebook nor a script, and not executable", hint=f"chmod +x {file}")


def script(text: str) -> Process:
    """The process that runs a script's text as it is: its first line says with what."""
    if not text.startswith("#!"):
        raise SpecError("the script does not say what runs it", hint="begin its first line with #!/bin/bash")
    first = text.partition("\n")[0]
    if first.endswith("\r"):
        raise SpecError("the lines of the script end as on Windows", hint="save it with Unix line ends")
    if not first[2:].strip().startswith("/"):
        raise SpecError(f"'{first}' names no program by its whole path", hint="write #!/bin/bash")
    return Process(name="script", argv=("{run}/script",), files={"script": text})


def _interpreter(file: Path) -> tuple[str, ...]:
    """What a script that is not executable asks for in its first line; a shell script without one gets bash."""
    with file.open("rb") as script:
        first = script.readline(256).decode(errors="replace")
    return tuple(first[2:].split()) if first.startswith("#!") and first[2:].strip() else ("bash",)


def _nearest(path: Path) -> str:
    from difflib import get_close_matches

    if not path.parent.is_dir():
        return ""
    near = get_close_matches(path.name, [p.name for p in path.parent.iterdir() if p.is_file()], n=1)
    return str(path.parent / near[0]) if near else ""
