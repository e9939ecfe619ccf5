"""What to do about each path that changed on either side, before anything is done: what goes there, what comes here,
and which names the losers get."""

from __future__ import annotations

import os
from typing import NamedTuple

import msgspec

from .here import Here
from .ignore import Rules
from .layout import Layout, Look
from .merge import Do, Mode, beside, decide, tag_of
from .read import Changing, describe, pieces, trusted
from .report import Kept, Report
from .scan import Scan
from .state import Seen, State, look_of
from .tree import MOST_TIME, File, Row, above, encode, shown
from .write import Take

MERGED_BYTES = 16 * 1024 * 1024
"""No larger notebook is merged."""


class Scene(NamedTuple):
    """What one round knows of both sides, and what it writes down."""

    side: str
    """Ours."""
    mode: Mode
    layout: Layout
    state: State
    look: Look
    """At the other side."""
    theirs: dict[str, Row]
    """What has changed there."""
    here: Here
    report: Report


class Give(msgspec.Struct):
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
    def written(self) -> int:
        """When, in nanoseconds since the epoch, as far as a row can say it; 0 of what is made only now."""
        return min(max(0, self.stat.st_mtime_ns), MOST_TIME) if self.stat and self.content is None else 0


class Plan(NamedTuple):
    """By path."""

    gives: dict[str, Give]
    """What goes there."""
    takes: dict[str, Take]
    """What comes here."""
    moves: dict[str, tuple[str, bytes]]
    """What gets another name here: that name, and how the file looked."""
    overruled: dict[str, str]
    """Where ours stays in place although theirs is newer: where theirs lies."""


def plan(scene: Scene, found: Scan, wanted: Rules, *, keep: bool) -> Plan:
    """Decide about everything that changed. `wanted`: what is taken over; `keep` leaves here what was deleted there.
    Reads what is here where the decision needs it, and writes nothing but the outcome of a merge into memory."""
    made = _Planner(scene, wanted, keep=keep)
    made.decide(found)
    if scene.mode == "push":
        made.resolve_there()
    else:
        made.resolve()
    return made.plan


class _Planner:
    def __init__(self, scene: Scene, wanted: Rules, *, keep: bool) -> None:
        self._side, self._mode, self._layout, self._state, self._look, self._theirs, self._here, self._report = scene
        self._wanted, self._keep = wanted, keep
        self.plan = Plan({}, {}, {}, {})

    def decide(self, found: Scan) -> None:
        """Path by path."""
        blank = not self._state.meta("token") and not self._state.count()
        missing = frozenset(found.missing)
        for path in {**self._theirs, **dict.fromkeys((*found.changed, *missing))}:
            key = encode(path)
            seen = Seen(key, None, (), None, None) if blank else self._state.get(key)
            if path in self._theirs and self._wanted.excluded(path.removesuffix("/"), folder=path.endswith("/")):
                continue  # it stays there, and is not wanted here
            stat = found.changed.get(path)
            ours = seen.file
            if path in missing:
                ours = None
            elif path in found.changed:
                if path not in self._theirs:
                    if self._mode in ("both", "push"):
                        self._give(path, stat, seen)
                    continue
                ours = self._describe(path, stat, seen)
                if ours is None:
                    continue
            self._apply(path, seen, ours, stat)

    def _describe(self, path: str, stat: os.stat_result | None, seen: Seen) -> File | None:
        """What is here; None when that cannot be told now."""
        if stat is None:
            return File()
        if seen.look == look_of(stat):
            self._here.known[path] = (seen.here or seen.file, seen.look)
            return seen.here or seen.file
        try:
            file = self._here.fit(describe(self._here.at(path), stat), seen.file)
        except Changing:
            self._report.changing.append(shown(path))
        except FileNotFoundError:
            pass
        except OSError as error:
            self._report.skipped[shown(path)] = error.strerror or str(error)
        else:
            self._here.known[path] = (file, trusted(stat))
            return file
        return None

    def _give(self, path: str, stat: os.stat_result | None, seen: Seen) -> None:
        if stat is None or (not self._layout.links and (stat.st_mode & 0o170000) == 0o120000):
            if self._layout.links:
                self.plan.gives[path] = Give(Row(encode(path), File()))
            elif stat is not None:
                self._report.skipped[shown(path)] = "links cannot be kept in this layout"
            return
        self.plan.gives[path] = Give(None, stat, seen)

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
                self._here.known.setdefault(path, (ours, seen.look if ours is not None else None))
            case Do.TAKE if self._keep and row.file is None:
                self._here.known[path] = (None, None)  # what stays here is ours alone from now on
            case Do.TAKE:
                self.plan.takes[path] = Take(row, look)
            case Do.GIVE:
                if ours is None:
                    self.plan.gives[path] = Give(Row(seen.path))
                else:
                    self._give(path, stat or self._here.stat(path), seen)
            case Do.BOTH:
                assert ours is not None
                self._conflict(path, seen, row, stat or self._here.stat(path), look)
            case Do.NOTHING:
                pass

    def _conflict(self, path: str, seen: Seen, row: Row, stat: os.stat_result | None, look: bytes | None) -> None:
        """Both changed it. What is published keeps the name, except that a pull leaves alone what is here."""
        if stat is None or look is None:
            return
        if self._mode == "both" and (merged := self._merge(path, seen, row, stat)) is not None:
            self.plan.gives[path] = Give(None, stat, seen, merged)
            self.plan.takes[path] = Take(row, look, merged)
            self._report.merged.append(shown(path))
            return
        if self._mode in ("pull", "bring"):
            name = self._beside(path, self._other, self._look.time, row.file)
            if os.path.lexists(self._here.at(name)):  # of a look that did not come to its end
                self._here.known[name] = (row.file, None)
            else:
                self.plan.takes[name] = Take(msgspec.structs.replace(row, path=encode(name)), None)
            self.plan.overruled[path] = name
            self._report.kept.append(Kept(shown(path), shown(name), self._other))
            return
        name = self._beside(path, self._side, stat.st_mtime, self._here.file(path))
        self.plan.gives[name] = Give(None, stat, self._state.get(encode(name)), source=path)
        self._report.kept.append(Kept(shown(path), shown(name), self._side))
        if self._mode == "both":
            self.plan.moves[path] = (name, look)
            self.plan.takes[path] = Take(row, None)

    @property
    def _other(self) -> str:
        """Whose theirs is, as far as the newest version tells."""
        return tag_of(self._look.by if self._look.by != self._side else "")

    def _beside(self, path: str, side: str, when: float, file: File | None) -> str:
        """A name for a file that lost: free on both sides, or that of the same loser in a look that was cut short."""

        def taken(name: str) -> bool:
            seen = self._state.get(encode(name))
            known = (self.plan.takes[name].row if name in self.plan.takes else None, self._theirs.get(name), seen)
            if name in self.plan.gives or any(one is not None and one.file not in (None, file) for one in known):
                return True
            return os.path.lexists(self._here.at(name)) and (file is None or self._here.file(name) != file)

        return beside(path, side, when, taken)

    def _merge(self, path: str, seen: Seen, row: Row, stat: os.stat_result) -> bytes | None:
        file, base = row.file, seen.file
        if not path.endswith(".ipynb") or file is None or file.link or base is None or base.link:
            return None
        if max(file.size, base.size) > MERGED_BYTES:
            return None
        try:
            ours = b"".join(pieces(self._here.at(path), stat))
        except (Changing, OSError):
            return None
        before = self._layout.content(Row(seen.path, base, seen.places))
        theirs = self._layout.content(row)
        if before is None or theirs is None or len(ours) > MERGED_BYTES:
            return None
        from . import notebook

        return notebook.merge(before, ours, theirs)

    def resolve(self) -> None:
        """A file cannot lie where the other side has a folder: the file gets another name."""
        coming = {path for path, take in self.plan.takes.items() if take.row.file is not None}
        going = {path for path, give in self.plan.gives.items() if not give.deletes}
        if not coming or not going:
            return
        folders_coming = {upper for path in coming for upper in above(path)}
        folders_going = {upper for path in going for upper in above(path)}
        for path in going:
            if path.endswith("/"):
                if path[:-1] in folders_coming or path[:-1] in coming:
                    del self.plan.gives[path]  # no longer empty, or no folder
                    if path[:-1] in coming:
                        self.plan.takes[path] = Take(Row(encode(path)), None)
            elif path in folders_coming and (give := self.plan.gives[path]).stat is not None and self._mode == "both":
                name = self._beside(path, self._side, give.stat.st_mtime, self._here.file(path))
                self.plan.gives[name] = msgspec.structs.replace(give, source=path)
                self.plan.gives[path] = Give(Row(encode(path)))
                self.plan.moves[path] = (name, look_of(give.stat))
                self._report.kept.append(Kept(shown(path), shown(name), self._side))
        for path in coming & self.plan.takes.keys():
            take = self.plan.takes[path]
            if path.endswith("/"):
                if path[:-1] in folders_going or path[:-1] in going:
                    del self.plan.takes[path]
                    self.plan.gives[path] = Give(Row(encode(path)))
            elif path in folders_going and self._mode == "both":
                name = self._beside(path, self._other, self._look.time, take.row.file)
                row = msgspec.structs.replace(take.row, path=encode(name))
                self.plan.takes[name] = Take(row, None)
                self.plan.gives[name] = Give(row)
                self.plan.gives[path] = Give(Row(encode(path)))
                del self.plan.takes[path]
                self._report.kept.append(Kept(shown(path), shown(name), self._other))

    def resolve_there(self) -> None:
        """As above, where nothing of theirs is touched."""
        there = {path for path, row in self._theirs.items() if row.file is not None}
        folders_there = {upper for path in there for upper in above(path)}
        for path in [path for path, give in self.plan.gives.items() if not give.deletes]:
            bare = path.removesuffix("/")
            if path != bare and (bare in there or bare in folders_there):
                del self.plan.gives[path]
            elif bare in folders_there and (give := self.plan.gives[path]).stat is not None:
                name = self._beside(path, self._side, give.stat.st_mtime, self._here.file(path))
                self.plan.gives[name] = msgspec.structs.replace(self.plan.gives.pop(path), source=path)
                self._report.kept.append(Kept(shown(path), shown(name), self._side))
            elif any(upper in there for upper in above(path)):
                del self.plan.gives[path]
                self._report.skipped[shown(path)] = "there is a file in place of its folder in the store"
            else:  # a folder that is no longer empty, or no folder
                for marker in (f"{bare}/", *(f"{upper}/" for upper in above(path))):
                    if marker in there and marker != path:
                        self.plan.gives[marker] = Give(Row(encode(marker)))
