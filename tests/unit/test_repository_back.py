"""A machine's commits on their way home: beside the person's own, and never in place of them."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from lofty.errors import StoreError
from lofty.store.base import Store
from lofty.store.repository import Sender, fetch_back, homeward, packs, receive, send, send_back
from lofty.store.repository.description import MACHINE, Pack, Returned, load

from .repositories import ENVIRONMENT, Work, grow, soil
from .support import memory, snapshot


@pytest.fixture(autouse=True)
def _nobodys_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", ENVIRONMENT["GIT_CONFIG_GLOBAL"])
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


@pytest.fixture
def store() -> Store:
    return memory()


@pytest.fixture
def home(tmp_path: Path) -> Work:
    made = Work.new(tmp_path / "home")
    made.commit()
    return made


def onto(home: Work, store: Store, there: Path) -> Work:
    """A machine with home's files and repository."""
    machine = home.copy(there)
    assert receive(store, there)
    return machine


@pytest.fixture
def machine(home: Work, store: Store, tmp_path: Path) -> Work:
    send(home.path, store)
    return onto(home, store, tmp_path / "there")


def fetched(home: Work, store: Store) -> list[str]:
    """What comes back; all else must stay as it was."""
    before = home.untouched()
    refs = fetch_back(store, home.path, "lab")
    assert home.untouched() == before
    assert home("fsck", "--no-dangling", "--no-progress") == ""
    assert not list((home.path / ".git" / "objects").glob("tmp_*"))
    assert fetch_back(store, home.path, "lab") == []
    return refs


def mapped(machine: Work) -> dict[str, str]:
    """Branches and tags under the names they get at home."""
    refs = {**machine.refs("refs/heads/"), **machine.refs("refs/tags/")}
    return {name.replace("refs/", "refs/lofty/lab/", 1): oid for name, oid in refs.items()}


def test_nothing_new_is_nothing(home: Work, machine: Work, store: Store) -> None:
    assert send_back(machine.path, store) is False
    assert MACHINE not in {entry.key for entry in store.entries()}
    assert fetched(home, store) == []


def test_commits_branches_tags_notes_and_stash_come_beside_ones_own(home: Work, machine: Work, store: Store) -> None:
    tip = machine.commit()
    machine("tag", "-a", "-m", "one", "v1")
    machine("notes", "add", "-m", "a note")
    machine("checkout", "-q", "-b", "deep/ünï")
    machine.commit("other")
    machine.write("file", "kept\n")
    machine("stash", "-q")
    assert send_back(machine.path, store)
    stash = machine("rev-parse", "refs/stash")
    assert fetched(home, store) == [
        f"refs/lofty/lab/{name}"
        for name in ("HEAD", "heads/deep/ünï", "heads/main", "notes/commits", f"stash/{stash[:16]}", "tags/v1")
    ]
    assert home("rev-parse", "refs/lofty/lab/heads/main") == tip != home("rev-parse", "main")
    assert home("rev-parse", "refs/lofty/lab/HEAD") == machine("rev-parse", "HEAD")
    home("checkout", "-q", "refs/lofty/lab/HEAD")
    home("stash", "apply", "-q", f"refs/lofty/lab/stash/{stash[:16]}")  # as any other
    assert (home.path / "file").read_text() == "kept\n"


@pytest.mark.parametrize("seed", range(8))
def test_whatever_was_done_there_arrives(home: Work, store: Store, tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    grow(home, dice, 6)
    soil(home, dice)
    send(home.path, store)
    machine = onto(home, store, tmp_path / "there")
    machine("reset", "-q", "--hard")
    sender = Sender(machine.path, store)
    for _ in range(3):
        machine.commit("f0")
        grow(machine, dice, 5)
        home.commit(f"mine{dice.random()}")  # the person goes on as well
        assert sender.send()
        assert fetched(home, store)
        theirs = home.refs("refs/lofty/lab/")
        for name, oid in mapped(machine).items():
            known = home.refs().get(name.replace("lofty/lab/", ""))
            assert theirs.get(name, known) == oid
        assert theirs["refs/lofty/lab/HEAD"] == machine("rev-parse", "HEAD")

    again = onto(home, store, tmp_path / "again")  # the machine was lost: a new one takes over
    assert again("log", "--all", "--oneline") == machine("log", "--all", "--oneline")
    assert again("stash", "list") == machine("stash", "list")
    assert again("symbolic-ref", "-q", "HEAD", fine=True) == machine("symbolic-ref", "-q", "HEAD", fine=True)
    assert again("rev-parse", "HEAD") == machine("rev-parse", "HEAD")
    assert again.refs() == machine.refs()
    assert again("diff", "--cached") == ""
    assert send_back(again.path, store) is False


def test_a_new_machine_goes_on_where_the_lost_one_ended(
    home: Work, machine: Work, store: Store, tmp_path: Path
) -> None:
    first = machine.commit()
    send_back(machine.path, store)
    home.commit("mine")
    sent = send(home.path, store)  # the person starts it again, and has not fetched
    assert sent and sent.there and "not been fetched" in sent.notes[0]
    second = onto(home, store, tmp_path / "second")
    assert second("rev-parse", "main") == first
    last = second.commit()
    assert send_back(second.path, store)
    fetched(home, store)
    assert home("rev-parse", "refs/lofty/lab/heads/main") == last

    sent = send(home.path, store)  # now it is a new beginning, and has all that came back
    assert sent and sent.notes == ()
    third = onto(home, store, tmp_path / "third")
    assert third("rev-parse", "main") == home("rev-parse", "main")
    assert third("rev-parse", "refs/lofty/lab/heads/main") == last
    newest = third.commit()
    assert send_back(third.path, store)
    assert fetched(home, store) == ["refs/lofty/lab/HEAD", "refs/lofty/lab/heads/main"]
    assert home("rev-parse", "refs/lofty/lab/heads/main") == newest


def test_a_lost_process_goes_on_too(machine: Work, store: Store) -> None:
    machine.commit()
    assert send_back(machine.path, store)
    assert not send_back(machine.path, store)  # as a new process would


def test_only_what_is_new_is_sent(machine: Work, store: Store) -> None:
    sender = Sender(machine.path, store)
    machine.commit("noise", random.Random(1).randbytes(40_000).hex())
    assert sender.send()
    size = sum(entry.size for entry in store.entries("git/machine"))
    machine.commit("small")
    assert sender.send()
    assert sum(entry.size for entry in store.entries("git/machine")) < size + 1500


def test_many_packs_become_one(home: Work, machine: Work, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs, "MOST_PACKS", 3)
    sender = Sender(machine.path, store)
    for _ in range(5):
        machine.commit()
        assert sender.send()
    found = load(store, MACHINE, Returned)
    assert found and len(found[0].packs) == 2
    assert len(list(store.entries("git/machine"))) == 2
    fetched(home, store)


def test_asking_costs_no_process_while_nothing_happens(
    machine: Work, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = time.time_ns() - 10**10
    for folder, _, files in os.walk(machine.path / ".git"):
        for name in ("", *files):
            os.utime(Path(folder, name), ns=(past, past))
    sender = Sender(machine.path, store)
    assert not sender.send()
    with monkeypatch.context() as patch:
        patch.setattr(homeward, "_send", lambda *_: pytest.fail("it asked git"))
        assert not sender.send()
    for change in (
        ("branch", "new"),
        ("checkout", "-q", "new"),
        ("tag", "v1"),
        ("commit", "-q", "--allow-empty", "-m", "x"),
        ("branch", "-D", "main"),
    ):
        machine(*change)
        assert sender.send(), change
        assert not sender.send()
        sender._seen, _ = homeward._stamp(machine.path / ".git")  # as if the moment of doubt were over


def test_what_was_rewritten_there_stays_in_the_reflog(home: Work, machine: Work, store: Store) -> None:
    first = machine.commit()
    send_back(machine.path, store)
    fetched(home, store)
    machine("commit", "-q", "--amend", "-m", "better")
    send_back(machine.path, store)
    assert fetched(home, store) == ["refs/lofty/lab/HEAD", "refs/lofty/lab/heads/main"]
    assert home("rev-parse", "refs/lofty/lab/heads/main@{1}") == first


def test_a_branch_in_the_way_of_another_is_kept_aside(home: Work, machine: Work, store: Store) -> None:
    machine("checkout", "-q", "-b", "a")
    first = machine.commit()
    send_back(machine.path, store)
    fetched(home, store)
    machine("checkout", "-q", "main")
    machine("branch", "-q", "-D", "a")
    machine("checkout", "-q", "-b", "a/b")
    machine.commit()
    send_back(machine.path, store)
    assert "refs/lofty/lab/heads/a/b" in fetched(home, store)
    assert home("rev-parse", f"refs/lofty/lab/old/{first[:16]}") == first
    assert "refs/lofty/lab/heads/a" not in home.refs()


def test_commits_gone_at_home_are_brought_by_the_store(home: Work, store: Store, tmp_path: Path) -> None:
    home("checkout", "-q", "-b", "exp")
    base = home.commit()
    send(home.path, store)
    machine = onto(home, store, tmp_path / "there")
    tip = machine.commit()
    send_back(machine.path, store)
    home("checkout", "-q", "main")
    home("branch", "-q", "-D", "exp")
    home("reflog", "expire", "--expire=now", "--all")
    home("gc", "-q", "--prune=now")
    assert "missing" in home("cat-file", "--batch-check", feed=base)
    fetched(home, store)
    assert home("rev-parse", "refs/lofty/lab/heads/exp") == tip


def test_a_repository_made_on_the_machine(store: Store, tmp_path: Path) -> None:
    machine = Work.new(tmp_path / "there")
    tip = machine.commit()
    assert send_back(machine.path, store)
    (tmp_path / "home").mkdir()
    with pytest.raises(StoreError, match="no git repository here") as error:
        fetch_back(store, tmp_path / "home", "lab")
    assert error.value.hint and "git init" in error.value.hint
    home = Work(tmp_path / "home")
    home("init", "-q", "-b", "main")
    fetched(home, store)
    assert home("rev-parse", "refs/lofty/lab/heads/main") == tip
    again = Work(tmp_path / "again")
    assert receive(store, again.path)
    assert again("rev-parse", "main") == tip


def test_another_repository_put_in_place_of_the_first(home: Work, machine: Work, store: Store) -> None:
    machine.commit()
    send_back(machine.path, store)
    shutil.rmtree(machine.path / ".git")
    machine("init", "-q", "-b", "main")
    machine.commit("else")
    assert send_back(machine.path, store)
    fetched(home, store)
    assert home("rev-parse", "refs/lofty/lab/heads/main") == machine("rev-parse", "main")


def test_a_linked_worktree_at_home(home: Work, store: Store, tmp_path: Path) -> None:
    home("worktree", "add", "-q", "-b", "side", str(tmp_path / "linked"))
    linked = Work(tmp_path / "linked")
    send(linked.path, store)
    machine = onto(linked, store, tmp_path / "there")
    tip = machine.commit()
    send_back(machine.path, store)
    before = snapshot(linked.path)
    fetch_back(store, linked.path, "lab")
    assert snapshot(linked.path) == before
    assert home("rev-parse", "refs/lofty/lab/heads/side") == tip


@pytest.mark.parametrize("fetch", [("--depth=1",), ("--unshallow",), ("--deepen=1",)])
def test_shallow_on_both_sides(home: Work, store: Store, tmp_path: Path, fetch: tuple[str, ...]) -> None:
    for _ in range(4):
        home.commit()
    home("branch", "upstream", "HEAD~1")
    home("clone", "-q", "--depth=1", "-b", "main", f"file://{home.path}", str(tmp_path / "clone"))
    clone = Work(tmp_path / "clone")
    send(clone.path, store)
    machine = onto(clone, store, tmp_path / "there")
    machine("fetch", "-q", *fetch, f"file://{home.path}", "upstream" if "depth" in fetch[0] else "main")
    if fetch == ("--depth=1",):
        machine("branch", "cut", "FETCH_HEAD")  # its parents are nowhere here, nor at home
    tip = machine.commit()
    assert send_back(machine.path, store)
    refs = fetched(clone, store)
    assert clone("rev-parse", "refs/lofty/lab/heads/main") == tip
    assert "refs/lofty/lab/heads/cut" not in refs


# --- what a hostile machine may not do --------------------------------------------------------------------------


def refused(home: Work, store: Store, match: str) -> None:
    """It is told, and nothing has changed: neither refs nor objects."""
    before = snapshot(home.path)
    with pytest.raises(StoreError, match=match):
        fetch_back(store, home.path, "lab")
    assert snapshot(home.path) == before


def forged(store: Store, change: Callable[[Returned], Returned]) -> None:
    """Another description in place of the machine's."""
    found = load(store, MACHINE, Returned)
    assert found
    store.put(MACHINE, msgspec.json.encode(change(found[0])))


@pytest.fixture
def sent(machine: Work, store: Store) -> str:
    """A commit that is on its way home."""
    tip = machine.commit()
    assert send_back(machine.path, store)
    return tip


@pytest.mark.parametrize("harm", ["bytes", "gone", "renamed", "cut"])
def test_damaged_parts(home: Work, store: Store, sent: str, harm: str) -> None:
    found = load(store, MACHINE, Returned)
    assert found
    part = found[0].packs[0].parts[0]
    data = store.get(f"git/machine/{part}")
    if harm == "bytes":
        store.put(f"git/machine/{part}", data[:40] + b"?" + data[41:])
    elif harm == "gone":
        store.delete([f"git/machine/{part}"])
    else:  # named rightly, yet no pack
        bad = data[:-30] if harm == "cut" else data[:40] + b"?" + data[41:]
        names = packs.write(store, "git/machine", [bad], 1)
        pack = Pack(names, found[0].packs[0].tips)
        forged(store, lambda back: msgspec.structs.replace(back, packs=(pack,)))
    refused(
        home, store, "is damaged" if harm == "bytes" else "is missing" if harm == "gone" else "cannot be taken over"
    )


@pytest.mark.parametrize(
    "name",
    [
        "refs/remotes/origin/main",
        "refs/stash",
        "refs/lofty/other/heads/x",
        "HEAD",
        "main",
        "refs/heads/../../config",
        "../refs/heads/x",
        "refs/heads/x/../../../hooks/post-checkout",
        "refs/heads/.hidden",
        "refs/heads/x.lock",
        "refs/heads/x.lock/y",
        "refs/heads/x.",
        "refs/heads/x//y",
        "refs/heads/",
        "refs/heads/x y",
        "refs/heads/x\ny",
        "refs/heads/x\0y",
        "refs/heads/x\n",
        "refs/heads/x@{1}",
        "refs/heads/x*",
        "refs/heads/" + "x" * 300,
        "refs/heads/" + "x/" * 600 + "x",
    ],
)
def test_names_of_refs(home: Work, store: Store, sent: str, name: str) -> None:
    forged(store, lambda back: msgspec.structs.replace(back, moved={name: sent}))
    refused(home, store, "does not describe a repository|cannot be")


def test_refs_that_cannot_be_side_by_side(home: Work, store: Store, sent: str) -> None:
    forged(store, lambda back: msgspec.structs.replace(back, moved={"refs/heads/a": sent, "refs/heads/a/b": sent}))
    refused(home, store, "cannot be")


@pytest.mark.parametrize("oid", ["--all", "", "f" * 39, "F" * 40, "f" * 40, "f" * 64, "HEAD", f"{'f' * 40}\n"])
def test_names_of_objects(home: Work, store: Store, sent: str, oid: str) -> None:
    forged(store, lambda back: msgspec.structs.replace(back, tip=oid, packs=()))
    refused(home, store, "does not describe a repository|cannot be taken over")


def test_a_branch_that_is_no_commit(home: Work, machine: Work, store: Store, sent: str) -> None:
    tree = machine("rev-parse", f"{sent}^{{tree}}")
    forged(store, lambda back: msgspec.structs.replace(back, moved={"refs/heads/x": tree}))
    refused(home, store, "not a commit")


@pytest.mark.parametrize("path", [".git", ".GIT", "git~1", "..", "a/b", ".git\u200c"])
def test_trees_that_would_write_where_they_must_not(home: Work, machine: Work, store: Store, path: str) -> None:
    hook = machine("hash-object", "-w", "--stdin", feed="#!/bin/sh\n")
    inner = machine("mktree", feed=f"100755 blob {hook}\tpost-checkout\n")
    raw = b"40000 " + path.encode() + b"\0" + bytes.fromhex(inner)
    words = ["git", "hash-object", "-t", "tree", "-w", "--literally", "--stdin"]
    tree = subprocess.run(words, cwd=machine.path, input=raw, capture_output=True, check=True).stdout.decode().strip()
    machine("update-ref", "refs/heads/evil", machine("commit-tree", "-m", "x", tree))
    assert send_back(machine.path, store)
    refused(home, store, "cannot be taken over")


def test_a_submodule_that_would_run_a_command(home: Work, machine: Work, store: Store) -> None:
    machine.commit(".gitmodules", '[submodule "x"]\n\tpath = x\n\turl = "--upload-pack=touch /tmp/x"\n')
    assert send_back(machine.path, store)
    refused(home, store, "cannot be taken over")


@pytest.mark.parametrize("what", ["tree", "blob", "parent"])
def test_a_history_with_gaps(home: Work, machine: Work, store: Store, sent: str, what: str) -> None:
    """What is named is there; something that it reaches is not."""
    last = machine.commit()
    missing = {"tree": f"{last}^{{tree}}", "blob": f"{last}:file", "parent": sent}[what]
    gone = machine("rev-parse", missing)
    wanted = machine("rev-list", "--objects", "--no-object-names", last, f"^{sent}~1").split()
    feed = "".join(f"{oid}\n" for oid in wanted if oid != gone)
    words = ["git", "pack-objects", "-q", "--stdout"]
    done = subprocess.run(words, cwd=machine.path, input=feed.encode(), capture_output=True, check=True)
    pack = Pack(packs.write(store, "git/machine", [done.stdout], 1), (last,))
    forged(store, lambda back: msgspec.structs.replace(back, tip=last, moved={}, packs=(pack,)))
    refused(home, store, "cannot be taken over")


@pytest.mark.parametrize("limit", ["refs", "description", "part", "sum"])
def test_limits(home: Work, store: Store, sent: str, limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if limit == "refs":
        monkeypatch.setattr(homeward, "MOST_REFS", 0)
    elif limit == "description":
        monkeypatch.setattr(homeward, "LARGEST", 10)
    else:
        monkeypatch.setattr(packs, "PART" if limit == "part" else "LIMIT", 10)
    refused(home, store, "more than|too large|larger than")


def test_hooks_and_settings_of_the_person_do_not_run(home: Work, store: Store, sent: str, tmp_path: Path) -> None:
    hooks = home.path / ".git" / "hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("reference-transaction", "post-update", "pre-auto-gc"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
        (hooks / name).chmod(0o755)
    assert fetched(home, store)
    assert not (tmp_path / "hooked").exists()


@pytest.mark.parametrize("name", ["..", "a/b", "a b", ".x", "x.lock", "a\n"])
def test_a_task_whose_name_is_no_ref(home: Work, store: Store, sent: str, name: str) -> None:
    with pytest.raises(StoreError, match="cannot be part"):
        fetch_back(store, home.path, name)


def test_a_name_that_somebody_holds_changes_nothing(home: Work, store: Store, sent: str) -> None:
    lock = home.path / ".git" / "refs" / "lofty" / "lab" / "heads" / "main.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    with pytest.raises(StoreError, match="lock"):
        fetch_back(store, home.path, "lab")
    assert home.refs("refs/lofty/") == {}
    lock.unlink()
    assert fetched(home, store)


def test_another_object_format(store: Store, sent: str, tmp_path: Path) -> None:
    other = Work.new(tmp_path / "other", "--object-format=sha256")
    refused(other, store, "sha1")
