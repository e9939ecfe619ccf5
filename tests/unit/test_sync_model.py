"""Two or three sides, one store, and everything that may happen to them, in any order: no byte that nobody gave up is
ever lost, and when all is quiet all have the same."""

from __future__ import annotations

import os
import shutil
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as some
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lofty.errors import LoftyError
from lofty.store.files.merge import Mode
from lofty.store.files.report import Report
from lofty.store.files.version import Head, Versions, named

from .sides import Killed, Side, Tree, World, at, name_of, newest

WHOLE = os.environ.get("LOFTY_CAMPAIGN") == "1"

PATHS = ("a", "b", "d", "d/a", "d/b", "d/e/a", "a/x", "b/y/z")
"""Few, so that they collide: some are folders where others are files."""

happened: Counter[str] = Counter()
"""What came in between, over all runs."""


class Edit(NamedTuple):
    """Something that a person does."""

    kind: str
    path: str
    which: int
    """Chooses among what is there."""


KINDS = ("write", "write", "replace", "append", "poke", "rename", "lift", "delete", "prune", "folder", "mode", "link")
edits = some.builds(Edit, some.sampled_from(KINDS), some.sampled_from(PATHS), some.integers(0, 20))


class Plan(NamedTuple):
    """What happens in the middle of a sync."""

    what: str
    at: int
    after: bool
    edit: Edit


plans = some.builds(
    Plan,
    some.sampled_from(("kill request", "kill file", "kill file", "race", "edit", "edit and race")),
    some.integers(1, 14),
    some.booleans(),
    edits,
)


class Machine(RuleBasedStateMachine):
    """The world as a person may see it, and what must be in it."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World("abc")
        self.sides = self.world.sides
        self.written = 0
        self.alive: dict[bytes, bytes] = {}
        """Contents that nobody overwrote or deleted who had them."""
        self.verified: dict[str, Tree] = {}

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:  # what failed before is told alone
                self.come_to_rest()
                self.check_line()
        finally:
            self.world.close()

    # --- a person ---

    def _content(self, size: int = 8) -> bytes:
        self.written += 1
        return f"{self.written:08}".encode()

    def _give_up(self, side: Side, path: str) -> None:
        """Somebody who has this decides against it."""
        there = side.at(path)
        if there.is_dir() and not there.is_symlink():
            for below in os.listdir(there):
                self._give_up(side, f"{path}/{below}")
        elif (found := _item(there)) is not None:
            self.alive.pop(found, None)

    def _bear(self, side: Side, path: str) -> None:
        if (found := _item(side.at(path))) is not None:
            self.alive[found] = path.encode()

    def _make_way(self, side: Side, path: str) -> None:
        """As a person does who wants another thing at that place."""
        parts = path.split("/")
        for end in range(1, len(parts)):
            upper = "/".join(parts[:end])
            there = side.at(upper)
            if os.path.lexists(there) and (there.is_symlink() or not there.is_dir()):
                self._give_up(side, upper)
                there.unlink()
                side.touched.add(upper)
        there = side.at(path)
        if there.is_dir() and not there.is_symlink():
            self._give_up(side, path)
            shutil.rmtree(there)
        there.parent.mkdir(parents=True, exist_ok=True)

    def do(self, side: Side, edit: Edit) -> None:
        """Do it, and note what it gives up."""
        with self.world.writing:
            self._do(side, edit)

    def _do(self, side: Side, edit: Edit) -> None:
        present = sorted(path for path in side.tree() if not path.endswith("/"))
        kind, path = edit.kind, edit.path
        chosen = present[edit.which % len(present)] if present else ""
        there = side.at(chosen or path)
        if kind in ("write", "replace", "link"):
            self._make_way(side, path)
            there = side.at(path)
            self._give_up(side, path)
            if kind == "link":
                there.unlink(missing_ok=True)
                there.symlink_to(f"t{self._content().decode()}")
            elif kind == "write" and not there.is_symlink():
                there.write_bytes(self._content())
            else:
                aside = side.root.parent / "aside"
                aside.write_bytes(self._content())
                aside.replace(there)
            self._bear(side, path)
            side.touched.add(path)
        elif kind == "folder":
            if not os.path.lexists(side.at(path)):
                self._make_way(side, path)
                side.at(path).mkdir()
                side.touched.add(path)
        elif kind == "prune":
            if side.at(path).is_dir() and not side.at(path).is_symlink():
                self._give_up(side, path)
                shutil.rmtree(side.at(path))
                side.touched.add(path)
        elif kind == "lift":
            if side.at(path).is_dir() and not side.at(path).is_symlink():
                to = next(name for name in (f"m{n}" for n in range(99)) if not os.path.lexists(side.at(name)))
                side.at(path).rename(side.at(to))
                side.touched |= {path, to}
        elif not chosen:
            return
        elif kind == "rename":
            to = path
            if to == chosen or to.startswith(chosen + "/") or chosen.startswith(to + "/"):
                return
            self._make_way(side, to)
            if os.path.lexists(there):
                self._give_up(side, to)
                there.rename(side.at(to))
                side.touched |= {chosen, to}
        elif kind == "delete":
            self._give_up(side, chosen)
            there.unlink()
            side.touched.add(chosen)
        elif there.is_symlink():
            return
        elif kind == "mode":
            there.chmod(there.stat().st_mode ^ 0o111)
            side.touched.add(chosen)
        else:
            self._give_up(side, chosen)
            with there.open("ab" if kind == "append" else "r+b") as file:
                file.write(self._content())
            self._bear(side, chosen)
            side.touched.add(chosen)

    # --- rules ---

    @rule(data=some.data(), which=some.integers(0, 2), first=edits)
    def person(self, data: some.DataObject, which: int, first: Edit) -> None:
        """Somebody works for a while."""
        for edit in [first, *data.draw(some.lists(edits, max_size=3))]:
            self.do(self.sides[which], edit)

    @rule(
        which=some.sampled_from((0, 0, 1, 1, 2)),
        plan=some.none() | plans,
        partly=some.booleans(),
        ahead=some.booleans(),
    )
    def both(self, which: int, plan: Plan | None, partly: bool, ahead: bool) -> None:
        """Both ways, of all or of what was touched, with a question first or without."""
        side = self.sides[which]
        only = set(side.touched) if partly else None
        report = self.sync(side, "both", plan, only, ahead=ahead)
        if report is None or plan is not None or not report.complete or ahead:
            return
        heads, tree = len(self.world.heads), side.tree()
        again = self.sync(side, "both")
        assert again is not None and not again.changed, (report, again)
        assert (len(self.world.heads), side.tree()) == (heads, tree)

    @rule(which=some.integers(0, 2), mode=some.sampled_from(("push", "pull", "bring")), plan=some.none() | plans)
    def one_way(self, which: int, mode: Mode, plan: Plan | None) -> None:
        """What is only sent leaves all alone here; what is only fetched leaves all alone there."""
        side = self.sides[which]
        before, heads, mine = side.tree(), len(self.world.heads), self._unsent(side)
        self.sync(side, mode, plan)
        if plan is not None and plan.what not in ("kill request", "kill file"):
            return
        if mode == "push":
            assert side.tree() == before
        else:
            assert len(self.world.heads) == heads
            after = side.tree()
            assert {path: after.get(path) for path in mine} == mine

    def _unsent(self, side: Side) -> Tree:
        """What is nowhere but here."""
        here, there = side.tree(), newest(self.world.store)
        known = {
            name_of(item)
            for tree in (there, *(o.tree() for o in self.sides if o is not side))
            for item in tree.values()
        }
        return {path: item for path, item in here.items() if name_of(item) in self.alive and name_of(item) not in known}

    @rule(which=some.integers(0, 2))
    def forget(self, which: int) -> None:
        """A memory is lost."""
        self.sides[which].forget()
        self.sides[which].restart()

    @rule(which=some.integers(0, 2), work=some.lists(edits, min_size=1, max_size=5), partly=some.booleans())
    def alone(self, which: int, work: list[Edit], partly: bool) -> None:
        """Where only one works, the others come to have exactly that."""
        self.come_to_rest()
        side = self.sides[which]
        for edit in work:
            self.do(side, edit)
        wanted = side.tree()
        report = self.sync(side, "both", only=set(side.touched) if partly else None, ahead=partly)
        assert report is not None and report.complete and side.tree() == wanted, report
        for other in self.sides:
            report = self.sync(other, "both", only=set() if partly else None)
            assert report is not None and report.complete, (other.name, report)
            assert other.tree() == wanted, (report, other.name)

    @rule(which=some.integers(0, 2), meant=some.booleans())
    def empty(self, which: int, meant: bool) -> None:
        """A directory that is suddenly empty empties nothing else, unless that is said to be meant."""
        self.come_to_rest()
        side = self.sides[which]
        before = side.tree()
        files = [path for path, item in before.items() if item[0] != "folder"]
        if len(files) < 3:
            return
        for path in os.listdir(side.root):
            there = side.at(path)
            shutil.rmtree(there) if there.is_dir() and not there.is_symlink() else there.unlink()
        report = side.folder.sync()
        assert report.withheld == len(files) and report.deleted_there == 0
        for other in self.sides:
            if other is not side:
                other.folder.sync()
                assert {path: other.tree().get(path) for path in files} == {path: before[path] for path in files}
        if meant:
            side.folder.sync(force=True)
            self.alive.clear()
        else:
            side.folder.sync("pull")
            assert {path: side.tree().get(path) for path in files} == {path: before[path] for path in files}
        self.come_to_rest()
        if meant:
            assert not [path for path, item in side.tree().items() if item[0] != "folder"]

    # --- a sync ---

    def sync(
        self, side: Side, mode: Mode, plan: Plan | None = None, only: set[str] | None = None, ahead: bool = False
    ) -> Report | None:
        """One sync; None where it was killed, or could not be done."""
        touched, side.touched = side.touched, set()
        if plan is not None:
            self._arm(side, plan)
        self.world.running = side.tap
        try:
            report = side.folder.sync(mode, force=True, only=only, ahead=ahead)
        except Killed:
            happened["killed"] += 1
            self.world.running = None
            side.restart()
            return None
        except LoftyError as error:
            side.touched |= touched
            if plan is None:
                raise
            happened[type(error).__name__] += 1
            return None
        finally:
            self.world.running = None
            side.tap.disarm()
        if mode in ("pull", "bring"):
            side.touched |= touched
        return report

    def _arm(self, side: Side, plan: Plan) -> None:
        if plan.what.startswith("kill"):
            side.tap.arm(plan.what.removeprefix("kill "), plan.at, after=plan.after)
            return
        other = self.sides[(self.sides.index(side) + 1) % len(self.sides)]

        def happens() -> None:
            happened[plan.what] += 1
            self.world.running = None
            if plan.what == "edit":
                self.do(side, plan.edit)
            else:
                if plan.what == "edit and race":
                    self.do(other, plan.edit)
                other.folder.sync(force=True)
                other.touched.clear()
            self.world.running = side.tap

        side.tap.arm("request", plan.at, happens, after=plan.after)

    # --- what must be ---

    @invariant()
    def nothing_is_lost(self) -> None:
        """Every content that nobody gave up is somewhere."""
        found = {
            name_of(item)
            for tree in (newest(self.world.store), *(s.tree() for s in self.sides))
            for item in tree.values()
        }
        lost = {key: path for key, path in self.alive.items() if key not in found}
        assert not lost, lost

    def come_to_rest(self) -> None:
        """All sync in turn until nothing changes; then all have the same."""
        for _ in range(5):
            before = len(self.world.heads), [side.tree() for side in self.sides]
            reports = [self.sync(side, "both") for side in self.sides]
            if before == (len(self.world.heads), [side.tree() for side in self.sides]):
                break
        for side, report in zip(self.sides, reports, strict=True):
            assert report is not None and not report.changed and report.complete, (side.name, report)
        heads = len(self.world.heads)
        kept = newest(self.world.store)
        for side in self.sides:
            assert side.tree() == kept, side.name
            again = side.folder.sync(only=())
            assert not again.changed
            assert not side.parts()
        assert len(self.world.heads) == heads
        self.nothing_is_lost()

    def check_line(self) -> None:
        """Every version that ever was the newest is in the line, and whole."""
        versions = Versions(self.world.store)
        with suppress(KeyError):
            view = versions.look()
            assert view is not None
            line = [*view.manifest.line, named(view.manifest, view.head.version)]
            seen = list(dict.fromkeys(msgspec.json.decode(raw, type=Head).version for raw in self.world.heads))
            assert [past.name for past in line] == seen
            for past in line:
                at(versions, versions.manifest(past.name))


def _item(there: Path) -> bytes | None:
    if there.is_symlink():
        return name_of(("link", os.fsencode(os.readlink(there)), False))
    return name_of(("file", there.read_bytes(), False)) if there.is_file() else None


Machine.TestCase.settings = settings(
    max_examples=2500 if WHOLE else 200,
    stateful_step_count=20,
    deadline=None,
    derandomize=not WHOLE,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
test_model = pytest.mark.campaign(pytest.mark.timeout(3000)(Machine.TestCase))
