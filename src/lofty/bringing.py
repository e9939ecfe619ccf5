"""A task's files and a directory of this computer: what comes back, and what is kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from shutil import rmtree
from typing import TYPE_CHECKING, NamedTuple

from .bindings import Bindings
from .errors import UsageError
from .model.state import Record
from .progress import Progress, Step
from .store.base import Store

if TYPE_CHECKING:
    from .store.files.history import Version
    from .store.files.merge import Mode
    from .store.files.report import Report
    from .store.files.sync import Folder

Where = str | os.PathLike[str] | None
"""A directory; None: the one that this computer bound to the task."""


class Bringing(NamedTuple):
    """How files come back."""

    path: str = ""
    """Only this one and what is in it, relative to the working directory; empty: all of them."""
    exclude: tuple[str, ...] | None = None
    """Instead of what was left out when the task was made."""
    keep: bool = False
    """Leave here what the machine has deleted."""

    def leaving_out(self, usual: Sequence[str]) -> tuple[str, ...]:
        """The rules for what stays where it is; `usual` are those of the task."""
        from .store.files import ignore

        exclude = usual if self.exclude is None else self.exclude
        return (*ignore.only(self.path), *exclude) if self.path else tuple(exclude)


ALL = Bringing()


class Copy:
    """A task's files as its store has them, and the directory of this computer that belongs to them."""

    def __init__(self, bindings: Bindings, home: Path, side: str, record: Record) -> None:
        self._bindings, self._side, self._record, self._handle = bindings, side, record, record.handle
        self._memories = home / "sync" / record.handle.id

    def folder(self, to: Where, progress: Progress, how: Bringing = ALL, *, git: bool = True) -> Folder:
        """What keeps the store and that directory, or `to`, alike. Without `git`, what `.gitignore` names counts
        too."""
        from .store import files

        if to is None:
            binding = self._bindings.get(self._handle.id)
            if binding is None:
                hint = f"lofty pull {self._record.name} --to DIR"
                raise UsageError(f"no directory here belongs to '{self._record.name}'", hint=hint)
            root = Path(binding.directory)
        else:
            root = Path(to).expanduser().resolve()
        spec = self._record.asked
        url = spec.files(self._handle.store)
        return files.folder(
            root,
            Store(url),
            files.memory_of(self._memories, root, url),
            side=self._side,
            plain=bool(spec.container),
            exclude=how.leaving_out(spec.exclude),
            include=spec.outputs,
            git=git,
            watcher=lambda moved: progress(Step("files", moved=moved)),
        )

    def bring(self, mode: Mode, to: Where, progress: Progress, how: Bringing, *, force: bool) -> Report:
        """Files, and commits of the machine."""
        from .store import repository

        folder = self.folder(to, progress, how)
        report = folder.sync(mode, force=force, keep=how.keep)
        if (folder.root / ".git").exists():
            name = self._record.name
            moved = repository.fetch_back(Store(self._handle.store), folder.root, name)
            if moved:
                report.notes.append(f"commits of the machine are under refs/lofty/{name}/")
        return report

    def history(self, path: str) -> list[Version]:
        """The versions that are kept, oldest first; with a path, those in which it changed."""
        from .store.files import history
        from .store.files.version import Versions

        return history.versions(Versions(self._versioned()), path)

    def restore(self, at: Callable[[float, int], bool], paths: Sequence[str], to: Where) -> tuple[Version, Report]:
        """Bring back what was there at that time, into the directory here or `to` another."""
        from .store.files import Packed, history, memory_of

        layout = Packed(self._versioned())
        found = history.find(layout.versions, at)
        binding, name = self._bindings.get(self._handle.id), self._record.name
        if binding is None and to is None:
            raise UsageError(f"no directory here belongs to '{name}'", hint=f"lofty restore {name} --to DIR")
        root = Path(binding.directory if binding else to or "")
        memory = memory_of(self._memories, root, layout.versions.store.url)
        into = Path(to).expanduser().resolve() if to is not None else None
        report = history.restore(layout, found, root, memory, paths=paths, side=self._side, to=into)
        return found, report

    def _versioned(self) -> Store:
        spec = self._record.asked
        if spec.workdir:
            hint = "lofty sync DIR URL keeps versions of a folder"
            raise UsageError(f"'{spec.name}' works in {spec.workdir} itself: no versions are kept", hint=hint)
        if spec.container:
            raise UsageError(
                f"the files of '{spec.name}' lie in {spec.container}, which keeps no versions of lofty's",
                hint="have the bucket itself keep versions",
            )
        return Store(spec.files(self._handle.store))

    def forget(self) -> None:
        """No directory belongs to the task any more, and nothing is known of what they agreed on."""
        self._bindings.remove(self._handle.id)
        rmtree(self._memories, ignore_errors=True)
