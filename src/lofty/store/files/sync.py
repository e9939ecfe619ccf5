"""A directory and a store, kept alike: one look at both, a decision for each path that changed on either side, what
is ours there, what is theirs here, and a note of what both sides agree on now.

Ours goes first: it is published even when what is theirs does not fit on this disk. Each step may be the last one:
another look finds out what was done.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from ...errors import LoftyError, Stale, StoreError
from .here import Here
from .ignore import Rules
from .layout import Layout, Look
from .merge import Mode, is_mass
from .plan import Plan, Scene, plan
from .read import trusted
from .report import Counter, Moved, Report, Watcher
from .scan import Scan, scan
from .sending import send
from .state import State
from .tree import File, Row, above, encode, shown
from .write import Writer, clear_parts

TRIES = 12
"""How often to begin anew when somebody else publishes at the same moment."""
FEW = 1000
"""Up to so many paths are looked at one by one; with more, the whole directory is."""


def _nobody(_: Moved) -> None:
    return


class Folder:
    """One directory that is kept like one store."""

    def __init__(
        self,
        root: Path,
        layout: Layout,
        state: Path,
        *,
        side: str,
        exclude: Sequence[str] = (),
        include: Sequence[str] = (),
        git: bool = True,
        watcher: Watcher | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.root, self.layout, self.side = root, layout, side
        self._state, self._exclude, self._include, self._git = state, exclude, include, git
        self.watcher, self._clock = watcher or _nobody, clock

    def rules(self) -> Rules:
        """What goes along, as the ignore files are now."""
        return Rules(self.root, self._exclude, self._include, git=self._git)

    def wanted(self) -> Rules:
        """What is taken over."""
        return Rules(self.root, self._exclude, self._include, git=False)

    def sync(
        self,
        mode: Mode = "both",
        *,
        force: bool = False,
        seconds: float | None = None,
        only: Iterable[str] | None = None,
        ahead: bool = False,
        keep: bool = False,
    ) -> Report:
        """Bring both sides together. `seconds` limits the sending; `only` names the paths here that may have changed
        (all that changed there are looked at all the same); `force` passes mass deletions on; `ahead` saves the
        question what is new there: whoever publishes on top of something newer learns of it then, and begins anew;
        `keep` leaves here what was deleted there.

        Raises `LoftyError` when the store or the directory cannot be used; what was done by then stays done."""
        from filelock import FileLock

        if mode != "push" and not self.root.is_dir():
            try:
                self.root.mkdir(parents=True)
            except OSError as error:
                hint = "name a folder, or make room for it"
                raise LoftyError(f"the folder {self.root} cannot be made: {error.strerror}", hint=hint) from error
        if not self.root.is_dir():
            raise LoftyError(f"{self.root} is no folder", hint="name the folder that is to be kept")
        self._state.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        until = None if seconds is None else time.monotonic() + seconds
        with FileLock(f"{self._state}.lock"), State(self._state) as state:
            for attempt in range(TRIES):
                try:
                    look = self.layout.look(state, ahead=ahead and not attempt)
                    return _Round(self, state, look, mode, force=force, until=until, keep=keep).run(only)
                except Stale:
                    time.sleep(min(1.0, 0.02 * 2**attempt) * (0.5 + os.urandom(1)[0] / 255))
        raise StoreError("others publish all the time; nothing was lost", hint="run the command again")


class _Round:
    """One look and what follows from it."""

    def __init__(
        self,
        folder: Folder,
        state: State,
        look: Look,
        mode: Mode,
        *,
        force: bool,
        until: float | None,
        keep: bool,
    ) -> None:
        self._folder, self._state, self._layout = folder, state, folder.layout
        self._mode, self._force, self._until, self._keep = mode, force, until, keep
        self._rules, self._wanted = folder.rules(), folder.wanted()
        self._here = Here(folder.root, executables=folder.layout.executables)
        theirs = {row.path: row for row in state.pending()} | look.changes
        self._theirs = {row.name: row for row in theirs.values()}
        self._report = Report(version=look.version)
        self._scene = Scene(folder.side, mode, folder.layout, state, look, self._theirs, self._here, self._report)
        self._plan = Plan({}, {}, {}, {})

    def run(self, only: Iterable[str] | None) -> Report:
        """The whole round."""
        missing: frozenset[str] = frozenset()
        if self._mode != "bring" or self._theirs:
            found = self._scan(only)
            missing = frozenset(found.missing)
            self._plan = plan(self._scene, found, self._wanted, keep=self._keep)
        rows = send(self._scene, self._plan.gives, self._until, self._folder.watcher)
        if not self._force:
            self._withhold(rows, missing)
        if rows:
            self._report.version = self._layout.commit({row.path: row for row in rows.values()}, self._folder.side)
        self._note_sent(rows, missing)
        try:
            if self._plan.takes or self._plan.moves:
                self._write(rows)
        finally:
            self._remember(rows)
        return self._report

    def _scan(self, only: Iterable[str] | None) -> Scan:
        if only is not None:
            only = {*only, *self._theirs}
            if len(only) > FEW or any(Rules.is_rule_file(path.rpartition("/")[2]) for path in only):
                only = None
        elif self._mode == "bring" and len(self._theirs) <= FEW:
            only = self._theirs
        found = scan(self._folder.root, self._state, self._rules, only)
        if clear_parts(self._folder.root, found.parts):
            # One may have been a second name of a file, whose look has changed now.
            found = scan(self._folder.root, self._state, self._rules, only)
        if "" in found.skipped:
            raise LoftyError(f"{self._folder.root}: {found.skipped['']}", hint="name a folder that can be read")
        self._report.skipped.update({shown(path): why for path, why in found.skipped.items()})
        told = self._state.meta("secrets").decode("utf-8", "surrogateescape").split("\0")
        self._report.secrets = sorted({*found.secrets} - {*told})
        self._report.clashes = found.clashes
        return found

    def _withhold(self, rows: dict[str, Row], missing: frozenset[str]) -> None:
        """Deletions that look like an accident are not passed on, in either direction. What only moved is not
        deleted."""
        of = self._state.count()
        kept = {row.file.pieces for row in rows.values() if row.file and row.file.pieces}
        going = [path for path, row in rows.items() if row.file is None and not path.endswith("/")]
        going = [path for path in going if path in missing]
        lost = [path for path in going if self._content(path) not in kept]
        if is_mass(len(lost), of):
            stay = set(going)
            stay_in = stay | {upper for path in going for upper in above(path)}
            for path in [path for path in rows if path in stay_in or any(upper in stay for upper in above(path))]:
                del rows[path]
            self._report.withheld += len(going)
        kept = {take.row.file.pieces for take in self._plan.takes.values() if take.row.file and take.row.file.pieces}
        going = [path for path, take in self._plan.takes.items() if take.row.file is None and not path.endswith("/")]
        lost = [path for path in going if self._content(path) not in kept]
        if is_mass(len(lost), of):
            for path in going:
                del self._plan.takes[path]
            self._report.withheld += len(going)

    def _content(self, path: str) -> tuple[bytes, ...] | None:
        file = self._state.get(encode(path)).file
        return file.pieces if file is not None and file.pieces else None

    def _note_sent(self, rows: dict[str, Row], missing: frozenset[str]) -> None:
        for path, row in rows.items():
            give = self._plan.gives[path]
            if row.file is None:
                self._report.deleted_there += not path.endswith("/")
                if path in missing or path.endswith("/"):
                    self._here.known[path] = (None, None)
            else:
                self._report.sent += not path.endswith("/")
                self._report.sent_bytes += row.file.size
                if path.endswith("/"):
                    self._here.known[path] = (File(), None)
            if give.stat is not None and path in self._plan.takes:
                self._here.known.pop(path, None)  # it is about to be written

    # --- writing ---

    def _write(self, rows: dict[str, Row]) -> None:
        writer = Writer(self._folder.root, executables=self._layout.executables)
        for path, take in [(path, take) for path, take in self._plan.takes.items() if take.content is not None]:
            if path in rows:  # a merged notebook, as it was published
                self._plan.takes[path] = msgspec.structs.replace(take, row=rows[path])
            else:
                del self._plan.takes[path]
        takes = self._plan.takes
        writer.done.failed.update(writer.clash_here(takes))
        writer.check_room(take for take in takes.values() if take.row.file is not None)
        writer.remove({path: take for path, take in takes.items() if take.row.file is None})
        for path, (name, look) in self._plan.moves.items():
            file = rows[name].file if name in rows else self._state.get(encode(name)).file  # there already
            if file is not None and writer.move(path, name, look, again=self._here.file(name) == file):
                self._here.known[path] = (None, None)
                self._here.known[name] = (file, trusted(os.lstat(self._here.at(name))))
            else:
                writer.done.failed[path] = "was changed meanwhile"
        failed = writer.done.failed
        comes = {path: take for path, take in takes.items() if take.row.file is not None and path not in failed}
        size = sum(take.row.file.size for take in comes.values() if take.row.file)
        brought = self._layout.bring(comes, writer, Counter("bring", len(comes), size, self._folder.watcher).add)
        for path, now in writer.done.looks.items():
            file = brought[path].file if path in brought else None
            self._here.known[path] = (file, now)
            if path in brought and path in self._theirs:
                self._theirs[path] = brought[path]
            self._count_written(path, file)
        for path, why in failed.items():
            self._report.skipped[shown(path)] = why
            if why.startswith("pack "):
                self._report.damaged.append(shown(path))
        writer.raise_full()

    def _count_written(self, path: str, file: File | None) -> None:
        if path.endswith("/"):
            return
        if file is None:
            self._report.deleted_here += 1
        else:
            self._report.brought += 1
            self._report.brought_bytes += file.size

    # --- remembering ---

    def _remember(self, rows: dict[str, Row]) -> None:
        """Where both sides now have the same, they agree; what only the other side has is to be taken over later."""
        agreed: list[tuple[Row, bytes | None]] = []
        read: list[tuple[bytes, bytes | None, File | None]] = []
        pending: list[Row] = []
        for path in {**self._theirs, **rows, **self._here.known}:
            there = rows.get(path) or self._theirs.get(path)
            here = self._here.known.get(path)
            if there is None:
                seen = self._state.get(encode(path))
                there = Row(seen.path, seen.file, seen.places)
            if here is not None and here[0] == there.file:
                agreed.append((there, here[1]))
                continue
            if self._plan.overruled.get(path) in self._here.known:
                agreed.append((there, None))  # theirs lies beside; what is here is an edit of it
            elif path in rows or path in self._theirs:
                pending.append(there)
                if not self._wanted.excluded(path.removesuffix("/"), folder=path.endswith("/")):
                    self._report.waiting.append(shown(path))
            if here is not None and here[0] is not None:
                read.append((there.path, here[1], here[0]))
        meta = self._layout.marks()
        if self._report.secrets:
            meta["secrets"] = self._state.meta("secrets") + encode(
                "".join(f"{path}\0" for path in self._report.secrets)
            )
        news = self._scene.look.changes or rows or self._report.secrets or not self._state.meta("token")
        if agreed or read or pending or news:
            self._state.write(agreed=agreed, read=read, pending=pending, meta=meta)
