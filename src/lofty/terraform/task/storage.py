"""The block `storage`: which directory goes along, and what of it comes back."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from ...errors import LoftyError
from ..diagnostics import Diagnostic
from ..schema import UNKNOWN

if TYPE_CHECKING:
    from ...bringing import Bringing

ALWAYS = ("/main.tf", "/terraform.tfstate*", "/.terraform*")
"""What is terraform's own in a directory, and never goes along."""
PATH = ("storage",)
_CONTAINER = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^\0]*)?")
_REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d+")


class Storage(NamedTuple):
    """What the block says."""

    workdir: Path | None = None
    """None: an empty directory."""
    output: str = ""
    """Relative to it; `.` for all of it, empty for nothing."""
    exclude: tuple[str, ...] = ()
    """As rules of lofty's."""
    container: str = ""
    """A bucket of the person's own, or `BUCKET/DIRECTORY`."""
    region: str = ""
    """Where the bucket lies; empty for the task's region."""

    def url(self, own: str, part: str = "/data") -> str | None:
        """Where the files lie, below `data/` as the predecessor had them; None: in the task's own store. `own`: what a
        directory is called that was not named; `part`: what of it is meant."""
        bucket, _, place = self.container.partition("/")
        if not bucket:
            return None
        region = f"?region={self.region}" if self.region else ""
        return f"s3://{bucket}/{quote(place.strip('/') or own)}{part}{region}"

    @property
    def bringing(self) -> Bringing | None:
        """How files come back; None: not at all. What is here stays here, as the predecessor copied and did not
        mirror."""
        from ...bringing import Bringing

        if not self.output:
            return None
        return Bringing("" if self.output == "." else self.output, self.exclude, keep=True)


def of(blocks: Any) -> Storage:
    """Of the blocks of a configuration or a state, checked before. Paths are relative to this process's directory,
    which is terraform's."""
    if not blocks:
        return Storage()
    said = blocks[0]
    workdir = said["workdir"]
    return Storage(
        Path(workdir).absolute() if workdir else None,
        posixpath.normpath(said["output"]) if said["output"] else "",
        rules(said["exclude"] or ()),
        said["container"] or "",
        (said["container_opts"] or {}).get("region") or "",
    )


def rules(exclude: Any) -> tuple[str, ...]:
    """Raises `SpecError` for what has no counterpart here."""
    from ...store.files.predecessor import from_predecessor

    return (*ALWAYS, *from_predecessor(exclude))


def problems(blocks: Any) -> Iterator[Diagnostic]:
    """What is wrong with the block; all of it is shown at the block, since terraform's sets know no places."""
    for said in blocks if isinstance(blocks, list) else ():
        if isinstance(said, Mapping):
            yield from _of_one(said)


def _of_one(said: Mapping[str, Any]) -> Iterator[Diagnostic]:
    workdir, output, exclude = said["workdir"], said["output"], said["exclude"]
    if isinstance(workdir, str) and "\0" in workdir:
        yield Diagnostic("workdir holds a zero byte", "Name a directory of this computer.", PATH)
    if isinstance(output, str) and output:
        yield from _output(output)
        if workdir is not UNKNOWN and not workdir:
            yield Diagnostic(
                "output is a part of workdir, and there is no workdir",
                'Add workdir = "DIRECTORY", or leave output out.',
                PATH,
            )
    if isinstance(exclude, list) and UNKNOWN not in exclude:
        try:
            rules([str(item) for item in exclude if item is not None])
        except LoftyError as error:
            yield Diagnostic(str(error), (error.hint or "").capitalize(), PATH)
        if None in exclude:
            yield Diagnostic("exclude holds null", "Leave it out.", PATH)
    container, chosen = said["container"], said["container_opts"]
    if isinstance(container, str) and container and not _CONTAINER.fullmatch(container):
        yield Diagnostic(f"'{container}' is no bucket", 'Write "BUCKET" or "BUCKET/DIRECTORY".', PATH)
    if isinstance(chosen, Mapping):
        yield from _options(chosen)


def _options(chosen: Mapping[str, Any]) -> Iterator[Diagnostic]:
    region = chosen.get("region")
    if isinstance(region, str) and region and not _REGION.fullmatch(region):
        yield Diagnostic(
            f"container_opts: '{region}' is no region", 'Write it as the cloud does, such as "us-west-1".', PATH
        )
    if others := sorted(set(chosen) - {"region"}):
        yield Diagnostic(
            f"container_opts: {', '.join(others)} has no effect", "A bucket has a region alone.", PATH, "warning"
        )


def _output(output: str) -> Iterator[Diagnostic]:
    path = posixpath.normpath(output)
    if output.startswith("/") or "\0" in output or path == ".." or path.startswith("../"):
        yield Diagnostic(
            f"output '{output}' does not lie in workdir",
            'Write it relative to workdir, such as "results" or ".".',
            PATH,
        )
