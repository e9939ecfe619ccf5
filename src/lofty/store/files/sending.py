"""What is ours into the store: contents first, then the rows that a version can name."""

from __future__ import annotations

import time
from collections.abc import Iterator

from .layout import Outbox
from .pack import FRAME
from .plan import Give, Scene
from .read import Changing, describe, pieces, trusted
from .report import Counter, Watcher
from .tree import PIECE, File, Row, shown


def send(scene: Scene, gives: dict[str, Give], until: float | None, watcher: Watcher) -> dict[str, Row]:
    """Contents into the store, until a moment of the monotonic clock; gives the rows that can be published."""
    rows = {path: give.row for path, give in gives.items() if give.row is not None}
    files = {path: give for path, give in gives.items() if give.row is None}
    if not files:
        return rows
    moved = Counter("send", len(files), sum(give.size for give in files.values()), watcher).add
    outbox = scene.layout.outbox(scene.state, moved)
    try:
        return rows | _Sender(scene, files, until, outbox).send()
    finally:
        outbox.close()


class _Sender:
    def __init__(self, scene: Scene, files: dict[str, Give], until: float | None, outbox: Outbox) -> None:
        self._files, self._until, self._outbox = files, until, outbox
        self._theirs, self._here, self._report = scene.theirs, scene.here, scene.report
        self._by_content = scene.layout.by_content
        self._late: list[str] = []

    def send(self) -> dict[str, Row]:
        """The rows of the files that arrived."""
        rows: dict[str, Row] = {}
        sent: dict[str, File] = {}
        for path in self._order():
            if self._until is not None and self._files[path].size > FRAME:
                self._outbox.flush()  # what was written later has precedence
            if file := self._send_one(path):
                sent[path] = file
        self._outbox.finish(None if self._until is None else max(0.0, self._until - time.monotonic()))
        late: list[str] = []
        for path, file in sent.items():
            give = self._files[path]
            if not give.source and give.content is None:
                self._here.known[path] = (file, trusted(give.stat) if give.stat is not None else None)
            row = self._outbox.row(path, file, give.written)
            if row is None:
                late.append(path)
            # What only looked changed needs no new version.
            elif path in self._theirs or give.seen is None or file != give.seen.file:
                rows[path] = row
        self._report.left += map(shown, (*late, *self._late))
        return rows

    def _order(self) -> Iterator[str]:
        """With a time limit, what was written last goes first."""
        if self._until is None:
            yield from self._files
            return
        for path in sorted(self._files, key=lambda path: -self._files[path].written):
            if time.monotonic() > self._until:
                self._late.append(path)
                continue
            yield path

    def _only_touched(self, path: str) -> bool:
        """Whether a file only looks changed, where sending it would write it anew for everybody."""
        give = self._files[path]
        before = give.seen.file if give.seen is not None else None
        if self._by_content or before is None or give.stat is None or path in self._theirs:
            return False
        found = self._here.file(path)
        if found is None or self._here.fit(found, before) != before:
            return False
        self._here.known[path] = (before, trusted(give.stat))
        return True

    def _send_one(self, path: str) -> File | None:
        give = self._files[path]
        source = give.source or path
        if not give.source and give.content is None and self._only_touched(path):
            return None
        try:
            if give.content is not None:
                parts = (give.content[i : i + PIECE] for i in range(0, len(give.content), PIECE))
                executable = bool(give.stat and give.stat.st_mode & 0o100)
                return self._outbox.send(path, parts, len(give.content), executable=executable)
            assert give.stat is not None
            if (give.stat.st_mode & 0o170000) == 0o120000:
                file = describe(self._here.at(source), give.stat)
            else:
                executable = bool(give.stat.st_mode & 0o100)
                content = pieces(self._here.at(source), give.stat)
                file = self._outbox.send(path, content, give.stat.st_size, executable=executable)
        except Changing:
            self._report.changing.append(shown(source))
        except FileNotFoundError:
            pass  # it went away meanwhile
        except OSError as error:
            self._report.skipped[shown(source)] = error.strerror or str(error)
        else:
            return self._here.fit(file, give.seen.file if give.seen else None)
        return None
