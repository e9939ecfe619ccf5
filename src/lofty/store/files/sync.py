"""A directory and a store, kept alike: one look at both, a decision for each path that changed on either side, what
is ours there, what is theirs here, and a note of what both sides agree on now.

Ours goes first: it is published even when what is theirs does not fit on this disk. Each step may be the last one:
another look finds out what was done.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from threading import Lock

import msgspec

from ...errors import LoftyError, Stale, StoreError
from . import notebook
from .ignore import Rules
from .layout import Layout, Look, Outbox
from .merge import Do, Mode, beside, decide, is_mass, tag_of
from .pack import FRAME
from .read import Changing, describe, pieces, trusted
from .report import Kept, Moved, Report
from .scan import Scan, scan
from .state import Seen, State, look_of
from .tree import PIECE, File, Row, above, encode, shown
from .write import Take, Writer, clear_parts

TRIES = 12
"""How often to begin anew when somebody else publishes at the same moment."""
FEW = 1000
"""Up to so many paths are looked at one by one; with more, the whole directory is."""
MERGED_BYTES = 16 * 1024 * 1024
"""No larger notebook is merged."""


Watcher = Callable[[Moved], None]


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
        self._folder, self._state, self._look = folder, state, look
        self._mode, self._force, self._until, self._keep = mode, force, until, keep
        self._layout = folder.layout
        self._root = os.fspath(folder.root)
        self._rules, self._wanted = folder.rules(), folder.wanted()
        self._report = Report()
        self._found = Scan()
        self._theirs: dict[str, Row] = {}
        self._gives: dict[str, _Give] = {}
        self._takes: dict[str, Take] = {}
        self._moves: dict[str, tuple[str, bytes]] = {}
        self._overruled: dict[str, str] = {}
        self._here: dict[str, tuple[File | None, bytes | None]] = {}
        """What is known to be here in the end, and its look."""
        self._not_begun: list[str] = []

    def run(self, only: Iterable[str] | None) -> Report:
        """The whole round."""
        look = self._look
        theirs = {row.path: row for row in self._state.pending()} | look.changes
        self._theirs = {row.name: row for row in theirs.values()}
        if self._mode != "bring" or self._theirs:
            self._scan(only)
            self._decide()
            self._resolve_places()
        rows = self._send()
        self._withhold(rows)
        self._report.version = look.version
        if rows:
            self._report.version = self._layout.commit({row.path: row for row in rows.values()}, self._folder.side)
        self._note_sent(rows)
        try:
            if self._takes or self._moves:
                self._write(rows)
        finally:
            self._remember(rows)
        return self._report

    # --- looking ---

    def _scan(self, only: Iterable[str] | None) -> None:
        if only is not None:
            only = {*only, *self._theirs}
            if len(only) > FEW or any(Rules.is_rule_file(path.rpartition("/")[2]) for path in only):
                only = None
        elif self._mode == "bring" and len(self._theirs) <= FEW:
            only = self._theirs
        found = scan(self._folder.root, self._state, self._rules, only)
        if clear_parts(
            self._folder.root, found.parts
        ):  # one may be a second name of a file, whose look has changed now
            found = scan(self._folder.root, self._state, self._rules, only)
        self._found = found
        if "" in found.skipped:
            raise LoftyError(f"{self._root}: {found.skipped['']}", hint="name a folder that can be read")
        self._report.skipped.update({shown(path): why for path, why in found.skipped.items()})
        told = self._state.meta("secrets").decode("utf-8", "surrogateescape").split("\0")
        self._report.secrets = sorted({*found.secrets} - {*told})
        self._report.clashes = found.clashes

    # --- deciding ---

    def _decide(self) -> None:
        blank = not self._state.meta("token") and not self._state.count()
        missing = self._missing = frozenset(self._found.missing)
        for path in {**self._theirs, **dict.fromkeys((*self._found.changed, *missing))}:
            key = encode(path)
            seen = Seen(key, None, (), None, None) if blank else self._state.get(key)
            if path in self._theirs and self._wanted.excluded(path.removesuffix("/"), folder=path.endswith("/")):
                continue  # it stays there, and is not wanted here
            stat = self._found.changed.get(path)
            ours = seen.file
            if path in missing:
                ours = None
            elif path in self._found.changed:
                if path not in self._theirs:
                    if self._mode in ("both", "push"):
                        self._give(path, stat, seen)
                    continue
                found = self._describe(path, stat, seen)
                if found is None:
                    continue
                ours = found
            self._apply(path, seen, ours, stat)

    def _describe(self, path: str, stat: os.stat_result | None, seen: Seen) -> File | None:
        """What is here; None when that cannot be told now."""
        if stat is None:
            return File()
        if seen.look == look_of(stat):
            self._here[path] = (seen.here or seen.file, seen.look)
            return seen.here or seen.file
        try:
            file = self._fit(describe(self._at(path), stat), seen.file)
        except Changing:
            self._report.changing.append(shown(path))
        except FileNotFoundError:
            pass
        except OSError as error:
            self._report.skipped[shown(path)] = error.strerror or str(error)
        else:
            self._here[path] = (file, trusted(stat))
            return file
        return None

    def _fit(self, file: File, base: File | None) -> File:
        """Where the layout cannot keep the executable bit, it is what it was."""
        if self._layout.executables or file.link:
            return file
        return msgspec.structs.replace(file, executable=base.executable if base else False)

    def _give(self, path: str, stat: os.stat_result | None, seen: Seen) -> None:
        if stat is None or (not self._layout.links and (stat.st_mode & 0o170000) == 0o120000):
            if self._layout.links:
                self._gives[path] = _Give(Row(encode(path), File()))
            elif stat is not None:
                self._report.skipped[shown(path)] = "links cannot be kept in this layout"
            return
        self._gives[path] = _Give(None, stat, seen)

    def _apply(self, path: str, seen: Seen, ours: File | None, stat: os.stat_result | None) -> None:
        theirs = self._theirs.get(path)
        edited = ours is not None and ours != seen.file
        if edited and theirs is not None and theirs.file is not None and not theirs.file.known:
            self._theirs[path] = theirs = self._layout.describe(theirs)
        there = theirs.file if theirs is not None else seen.file
        row = theirs if theirs is not None else Row(seen.path, seen.file, seen.places)
        look = look_of(stat) if stat is not None else seen.look if ours is not None else None
        match decide(seen.file, ours, there, self._mode):
            case Do.AGREE:
                self._here.setdefault(path, (ours, seen.look if ours is not None else None))
            case Do.TAKE if self._keep and row.file is None:
                self._here[path] = (None, None)  # what stays here is ours alone from now on
            case Do.TAKE:
                self._takes[path] = Take(row, look)
            case Do.GIVE:
                if ours is None:
                    self._gives[path] = _Give(Row(seen.path))
                else:
                    self._give(path, stat or self._stat(path), seen)
            case Do.BOTH:
                assert ours is not None
                self._conflict(path, seen, row, stat or self._stat(path), look)
            case Do.NOTHING:
                pass

    def _stat(self, path: str) -> os.stat_result | None:
        try:
            return None if path.endswith("/") else os.lstat(self._at(path))
        except OSError:
            return None

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _conflict(self, path: str, seen: Seen, row: Row, stat: os.stat_result | None, look: bytes | None) -> None:
        """Both changed it. What is published keeps the name, except that a pull leaves alone what is here."""
        if stat is None or look is None:
            return
        if self._mode == "both" and (merged := self._merge(path, seen, row, stat)) is not None:
            self._gives[path] = _Give(None, stat, seen, merged)
            self._takes[path] = Take(row, look, merged)
            self._report.merged.append(shown(path))
            return
        if self._mode in ("pull", "bring"):
            name = self._beside(path, self._other, self._look.time, row.file)
            if os.path.lexists(self._at(name)):  # of a look that did not come to its end
                self._here[name] = (row.file, None)
            else:
                self._takes[name] = Take(msgspec.structs.replace(row, path=encode(name)), None)
            self._overruled[path] = name
            self._report.kept.append(Kept(shown(path), shown(name), self._other))
            return
        name = self._beside(path, self._folder.side, stat.st_mtime, self._described(path))
        self._gives[name] = _Give(None, stat, self._state.get(encode(name)), source=path)
        self._report.kept.append(Kept(shown(path), shown(name), self._folder.side))
        if self._mode == "both":
            self._moves[path] = (name, look)
            self._takes[path] = Take(row, None)

    @property
    def _other(self) -> str:
        """Whose theirs is, as far as the newest version tells."""
        return tag_of(self._look.by if self._look.by != self._folder.side else "")

    def _beside(self, path: str, side: str, when: float, file: File | None) -> str:
        """A name for a file that lost: free on both sides, or that of the same loser in a look that was cut short."""

        def taken(name: str) -> bool:
            seen = self._state.get(encode(name))
            known = (self._takes[name].row if name in self._takes else None, self._theirs.get(name), seen)
            if name in self._gives or any(one is not None and one.file not in (None, file) for one in known):
                return True
            return os.path.lexists(self._at(name)) and (file is None or self._described(name) != file)

        return beside(path, side, when, taken)

    def _described(self, path: str) -> File | None:
        try:
            there = self._at(path)
            return describe(there, os.lstat(there))
        except (Changing, OSError):
            return None

    def _merge(self, path: str, seen: Seen, row: Row, stat: os.stat_result) -> bytes | None:
        file, base = row.file, seen.file
        if not path.endswith(".ipynb") or file is None or file.link or base is None or base.link:
            return None
        if max(file.size, base.size) > MERGED_BYTES:
            return None
        try:
            ours = b"".join(pieces(self._at(path), stat))
        except (Changing, OSError):
            return None
        before = self._layout.content(Row(seen.path, base, seen.places))
        theirs = self._layout.content(row)
        if before is None or theirs is None or len(ours) > MERGED_BYTES:
            return None
        return notebook.merge(before, ours, theirs)

    def _resolve_places(self) -> None:
        """A file cannot lie where the other side has a folder: the file gets another name."""
        if self._mode == "push":
            self._resolve_there()
            return
        coming = {path for path, take in self._takes.items() if take.row.file is not None}
        going = {path for path, give in self._gives.items() if not give.deletes}
        if not coming or not going:
            return
        folders_coming = {upper for path in coming for upper in above(path)}
        folders_going = {upper for path in going for upper in above(path)}
        for path in going:
            if path.endswith("/"):
                if path[:-1] in folders_coming or path[:-1] in coming:
                    del self._gives[path]  # no longer empty, or no folder
                    if path[:-1] in coming:
                        self._takes[path] = Take(Row(encode(path)), None)
            elif path in folders_coming and (give := self._gives[path]).stat is not None and self._mode == "both":
                name = self._beside(path, self._folder.side, give.stat.st_mtime, self._described(path))
                self._gives[name] = msgspec.structs.replace(give, source=path)
                self._gives[path] = _Give(Row(encode(path)))
                self._moves[path] = (name, look_of(give.stat))
                self._report.kept.append(Kept(shown(path), shown(name), self._folder.side))
        for path in coming & self._takes.keys():
            take = self._takes[path]
            if path.endswith("/"):
                if path[:-1] in folders_going or path[:-1] in going:
                    del self._takes[path]
                    self._gives[path] = _Give(Row(encode(path)))
            elif path in folders_going and self._mode == "both":
                name = self._beside(path, self._other, self._look.time, take.row.file)
                row = msgspec.structs.replace(take.row, path=encode(name))
                self._takes[name] = Take(row, None)
                self._gives[name] = _Give(row)
                self._gives[path] = _Give(Row(encode(path)))
                del self._takes[path]
                self._report.kept.append(Kept(shown(path), shown(name), self._other))

    def _resolve_there(self) -> None:
        """As above, where nothing of theirs is touched."""
        there = {path for path, row in self._theirs.items() if row.file is not None}
        folders_there = {upper for path in there for upper in above(path)}
        for path in [path for path, give in self._gives.items() if not give.deletes]:
            bare = path.removesuffix("/")
            if path != bare and (bare in there or bare in folders_there):
                del self._gives[path]
            elif bare in folders_there and (give := self._gives[path]).stat is not None:
                name = self._beside(path, self._folder.side, give.stat.st_mtime, self._described(path))
                self._gives[name] = msgspec.structs.replace(self._gives.pop(path), source=path)
                self._report.kept.append(Kept(shown(path), shown(name), self._folder.side))
            elif any(upper in there for upper in above(path)):
                del self._gives[path]
                self._report.skipped[shown(path)] = "there is a file in place of its folder in the store"
            else:  # a folder that is no longer empty, or no folder
                for marker in (f"{bare}/", *(f"{upper}/" for upper in above(path))):
                    if marker in there and marker != path:
                        self._gives[marker] = _Give(Row(encode(marker)))

    # --- sending ---

    def _send(self) -> dict[str, Row]:
        """Contents into the store; gives the rows that can be published."""
        rows = {path: give.row for path, give in self._gives.items() if give.row is not None}
        files = {path: give for path, give in self._gives.items() if give.row is None}
        if not files:
            return rows
        total = sum(give.size for give in files.values())
        outbox = self._layout.outbox(self._state, _Counter("send", len(files), total, self._folder.watcher).add)
        try:
            sent: dict[str, File] = {}
            late: list[str] = []
            for path in self._order(files):
                if self._until is not None and files[path].size > FRAME:
                    outbox.flush()  # what was written later has precedence
                if file := self._send_one(outbox, path, files[path]):
                    sent[path] = file
            outbox.finish(None if self._until is None else max(0.0, self._until - time.monotonic()))
            for path, file in sent.items():
                give = files[path]
                if not give.source and give.content is None:
                    self._here[path] = (file, trusted(give.stat) if give.stat is not None else None)
                row = outbox.row(path, file)
                if row is None:
                    late.append(path)
                # What only looked changed needs no new version.
                elif path in self._theirs or give.seen is None or file != give.seen.file:
                    rows[path] = row
        finally:
            outbox.close()
        self._report.left += map(shown, (*late, *self._not_begun))
        return rows

    def _order(self, files: dict[str, _Give]) -> Iterator[str]:
        """With a time limit, what was written last goes first."""
        if self._until is None:
            yield from files
            return
        for path in sorted(files, key=lambda path: -files[path].mtime):
            if time.monotonic() > self._until:
                self._not_begun.append(path)
                continue
            yield path

    def _only_touched(self, path: str, give: _Give) -> bool:
        """Whether a file only looks changed, where sending it would write it anew for everybody."""
        before = give.seen.file if give.seen is not None else None
        if self._layout.by_content or before is None or give.stat is None or path in self._theirs:
            return False
        found = self._described(path)
        if found is None or self._fit(found, before) != before:
            return False
        self._here[path] = (before, trusted(give.stat))
        return True

    def _send_one(self, outbox: Outbox, path: str, give: _Give) -> File | None:
        source = give.source or path
        if not give.source and give.content is None and self._only_touched(path, give):
            return None
        try:
            if give.content is not None:
                parts = (give.content[i : i + PIECE] for i in range(0, len(give.content), PIECE))
                executable = bool(give.stat and give.stat.st_mode & 0o100)
                return outbox.send(path, parts, len(give.content), executable=executable)
            assert give.stat is not None
            if (give.stat.st_mode & 0o170000) == 0o120000:
                file = describe(self._at(source), give.stat)
            else:
                executable = bool(give.stat.st_mode & 0o100)
                content = pieces(self._at(source), give.stat)
                file = outbox.send(path, content, give.stat.st_size, executable=executable)
        except Changing:
            self._report.changing.append(shown(source))
        except FileNotFoundError:
            pass  # it went away meanwhile
        except OSError as error:
            self._report.skipped[shown(source)] = error.strerror or str(error)
        else:
            return self._fit(file, give.seen.file if give.seen else None)
        return None

    def _withhold(self, rows: dict[str, Row]) -> None:
        """Deletions that look like an accident are not passed on, in either direction. What only moved is not
        deleted."""
        if self._force:
            return
        of = self._state.count()
        kept = {row.file.pieces for row in rows.values() if row.file and row.file.pieces}
        going = [path for path, row in rows.items() if row.file is None and not path.endswith("/")]
        going = [path for path in going if path in self._missing]
        lost = [path for path in going if self._content(path) not in kept]
        if is_mass(len(lost), of):
            stay = set(going)
            stay_in = stay | {upper for path in going for upper in above(path)}
            for path in [path for path in rows if path in stay_in or any(upper in stay for upper in above(path))]:
                del rows[path]
            self._report.withheld += len(going)
        kept = {take.row.file.pieces for take in self._takes.values() if take.row.file and take.row.file.pieces}
        going = [path for path, take in self._takes.items() if take.row.file is None and not path.endswith("/")]
        lost = [path for path in going if self._content(path) not in kept]
        if is_mass(len(lost), of):
            for path in going:
                del self._takes[path]
            self._report.withheld += len(going)

    def _content(self, path: str) -> tuple[bytes, ...] | None:
        file = self._state.get(encode(path)).file
        return file.pieces if file is not None and file.pieces else None

    def _note_sent(self, rows: dict[str, Row]) -> None:
        for path, row in rows.items():
            give = self._gives[path]
            if row.file is None:
                self._report.deleted_there += not path.endswith("/")
                if path in self._missing or path.endswith("/"):
                    self._here[path] = (None, None)
            else:
                self._report.sent += not path.endswith("/")
                self._report.sent_bytes += row.file.size
                if path.endswith("/"):
                    self._here[path] = (File(), None)
            if give.stat is not None and path in self._takes:
                self._here.pop(path, None)  # it is about to be written

    # --- writing ---

    def _write(self, rows: dict[str, Row]) -> None:
        writer = Writer(self._folder.root, executables=self._layout.executables)
        for path, take in [(path, take) for path, take in self._takes.items() if take.content is not None]:
            if path in rows:  # a merged notebook, as it was published
                self._takes[path] = msgspec.structs.replace(take, row=rows[path])
            else:
                del self._takes[path]
        takes = self._takes
        writer.done.failed.update(writer.clash_here(takes))
        writer.check_room(take for take in takes.values() if take.row.file is not None)
        writer.remove({path: take for path, take in takes.items() if take.row.file is None})
        for path, (name, look) in self._moves.items():
            file = rows[name].file if name in rows else self._state.get(encode(name)).file  # there already
            if file is not None and writer.move(path, name, look, again=self._described(name) == file):
                self._here[path] = (None, None)
                self._here[name] = (file, trusted(os.lstat(self._at(name))))
            else:
                writer.done.failed[path] = "was changed meanwhile"
        failed = writer.done.failed
        comes = {path: take for path, take in takes.items() if take.row.file is not None and path not in failed}
        brought = self._layout.bring(comes, writer, self._counter("bring", comes))
        for path, now in writer.done.looks.items():
            file = brought[path].file if path in brought else None
            self._here[path] = (file, now)
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

    def _counter(self, what: str, takes: dict[str, Take]) -> Callable[[int], None]:
        total = sum(take.row.file.size for take in takes.values() if take.row.file)
        return _Counter(what, len(takes), total, self._folder.watcher).add

    # --- remembering ---

    def _remember(self, rows: dict[str, Row]) -> None:
        """Where both sides now have the same, they agree; what only the other side has is to be taken over later."""
        agreed: list[tuple[Row, bytes | None]] = []
        read: list[tuple[bytes, bytes | None, File | None]] = []
        pending: list[Row] = []
        for path in {**self._theirs, **rows, **self._here}:
            there = rows.get(path) or self._theirs.get(path)
            here = self._here.get(path)
            if there is None:
                seen = self._state.get(encode(path))
                there = Row(seen.path, seen.file, seen.places)
            if here is not None and here[0] == there.file:
                agreed.append((there, here[1]))
                continue
            if self._overruled.get(path) in self._here:
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
        news = self._look.changes or rows or self._report.secrets or not self._state.meta("token")
        if agreed or read or pending or news:
            self._state.write(agreed=agreed, read=read, pending=pending, meta=meta)


class _Give(msgspec.Struct):
    """Something of ours that goes there: a row as it is, a file's content, or the outcome of a merge."""

    row: Row | None
    stat: os.stat_result | None = None
    seen: Seen | None = None
    content: bytes | None = None
    source: str = ""
    """The file it is read from, where that has another name."""

    @property
    def deletes(self) -> bool:
        """Whether it takes something away there."""
        return self.row is not None and self.row.file is None

    @property
    def size(self) -> int:
        """Bytes to be read."""
        return len(self.content) if self.content is not None else self.stat.st_size if self.stat else 0

    @property
    def mtime(self) -> float:
        """When it was written."""
        return self.stat.st_mtime if self.stat else 0.0


class _Counter:
    """Adds up what several threads carry."""

    def __init__(self, what: str, files: int, total: int, watcher: Watcher) -> None:
        self._what, self._files, self._total, self._watcher = what, files, total, watcher
        self._done = 0
        self._lock = Lock()

    def add(self, size: int) -> None:
        """So many bytes more."""
        with self._lock:
            self._done += size
            self._watcher(Moved(self._what, self._files, self._done, self._total))
