"""A repository on its way to a machine: what git says there is what it said at home."""

from __future__ import annotations

import random
import shutil
import threading
from pathlib import Path

import pytest

from lofty.errors import StoreError
from lofty.store.base import Store
from lofty.store.repository import GitError, receive, send
from lofty.store.repository import git as running
from lofty.store.repository.description import START, Start, load
from lofty.store.repository.packs import LIMIT
from lofty.store.repository.settings import without_secrets

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
    return Work.new(tmp_path / "home")


def carry(home: Work, store: Store, there: Path) -> tuple[Work, tuple[str, ...]]:
    """To a machine, with nothing changed at home; the machine's copy and the notes."""
    before = snapshot(home.path)
    sent = send(home.path, store)
    assert snapshot(home.path) == before
    assert sent and sent.there, sent
    machine = home.copy(there)
    files = snapshot(there)
    assert receive(store, there)
    assert {name: what for name, what in snapshot(there).items() if not name.startswith(".git/")} == {
        **files,
        ".git": ("folder", b"", 0),
    }
    return machine, sent.notes


def same(home: Work, machine: Work) -> bool:
    assert machine.says() == home.says()
    assert machine.refs() == home.refs()
    return True


@pytest.mark.parametrize("seed", range(8))
def test_git_says_on_the_machine_what_it_says_at_home(home: Work, store: Store, tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    for number in range(4):
        home.commit(f"f{number}")
    grow(home, dice, 10)
    soil(home, dice)
    machine, notes = carry(home, store, tmp_path / "there")
    assert notes == ()
    assert same(home, machine)

    grow_again = home("stash", "-q", fine=True) + home.commit("f0")  # and once more, with what is new
    assert grow_again
    soil(home, dice)
    again, _ = carry(home, store, tmp_path / "again")
    assert same(home, again)


def test_an_empty_repository(home: Work, store: Store, tmp_path: Path) -> None:
    machine, _ = carry(home, store, tmp_path / "there")
    assert same(home, machine)
    assert machine("symbolic-ref", "HEAD") == "refs/heads/main"


def test_nothing_committed_but_something_staged(home: Work, store: Store, tmp_path: Path) -> None:
    home("symbolic-ref", "HEAD", "refs/heads/später")
    home.write("file", "staged")
    home("add", "file")
    machine, _ = carry(home, store, tmp_path / "there")
    assert same(home, machine)
    assert machine("show", ":file") == "staged"


def test_conflicts_stay_conflicts_and_a_merge_is_noted(home: Work, store: Store, tmp_path: Path) -> None:
    home.commit("file", "1\n")
    home("checkout", "-q", "-b", "other")
    home.commit("file", "2\n")
    home("checkout", "-q", "main")
    home.commit("file", "3\n")
    home("merge", "other", fine=True)
    machine, notes = carry(home, store, tmp_path / "there")
    assert same(home, machine)
    assert "u UU" in machine("status", "--porcelain=v2")
    assert any("merge is under way" in note for note in notes)


def test_a_shallow_clone(home: Work, store: Store, tmp_path: Path) -> None:
    for _ in range(3):
        home.commit()
    home("clone", "-q", "--depth=2", f"file://{home.path}", str(tmp_path / "clone"))
    clone = Work(tmp_path / "clone")
    machine, _ = carry(clone, store, tmp_path / "there")
    assert same(clone, machine)
    assert machine("rev-parse", "--is-shallow-repository") == "true"
    assert len(machine("log", "--oneline").splitlines()) == 2
    clone("fetch", "-q", "--unshallow")  # what was sent ends at a boundary that is no more
    whole, _ = carry(clone, store, tmp_path / "whole")
    assert same(clone, whole)


def test_sha256(tmp_path: Path, store: Store) -> None:
    home = Work.new(tmp_path / "home", "--object-format=sha256")
    home.commit()
    soil(home, random.Random(1))
    machine, _ = carry(home, store, tmp_path / "there")
    assert same(home, machine)
    assert len(machine("rev-parse", "HEAD")) == 64


def test_many_tags_and_odd_names(home: Work, store: Store, tmp_path: Path) -> None:
    tip = home.commit()
    names = [f"refs/tags/v{number}" for number in range(5000)]
    names += [
        "refs/heads/ünï/日本-🎉",
        "refs/heads/-dash",
        "refs/heads/a'b\"c$(d)&;",
        "refs/notes/x",
        "refs/pull/1/head",
    ]
    home("update-ref", "--stdin", feed="".join(f'create "{name}" {tip}\n'.replace('b"c', 'b\\"c') for name in names))
    machine, notes = carry(home, store, tmp_path / "there")
    assert machine.refs() == home.refs()
    assert set(names) < set(machine.refs())
    assert notes == ()


def test_a_name_that_is_not_unicode_stays_and_is_noted(home: Work, store: Store, tmp_path: Path) -> None:
    tip = home.commit()
    (home.path / ".git" / "packed-refs").write_bytes(f"{tip} refs/heads/caf".encode() + b"\xe9\n")
    machine, notes = carry(home, store, tmp_path / "there")
    assert set(machine.refs()) == {"refs/heads/main"}
    assert "names cannot be carried" in notes[0]


def test_replaced_objects_and_refs_that_point_to_refs(home: Work, store: Store, tmp_path: Path) -> None:
    first, second = home.commit(), home.commit()
    home("replace", "--graft", second)
    home("update-ref", "refs/remotes/origin/main", first)
    home("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    machine, _ = carry(home, store, tmp_path / "there")
    assert same(home, machine)
    assert machine("symbolic-ref", "refs/remotes/origin/HEAD") == "refs/remotes/origin/main"


@pytest.mark.parametrize("kind", ["split", "sparse", "untracked", "flags"])
def test_every_form_of_index(home: Work, store: Store, tmp_path: Path, kind: str) -> None:
    home.commit("kept/file")
    home.commit("left/file")
    if kind == "split":
        home("update-index", "--split-index")
        home.write("kept/more", "x")
        home("add", "kept/more")
    elif kind == "sparse":
        home("sparse-checkout", "set", "--cone", "--sparse-index", "kept")
    elif kind == "untracked":
        home("update-index", "--untracked-cache")
        home("status")
    else:
        home("update-index", "--assume-unchanged", "kept/file")
        home("update-index", "--skip-worktree", "left/file")
        (home.path / "left" / "file").unlink()
    machine, notes = carry(home, store, tmp_path / "there")
    assert notes == ()
    assert same(home, machine)
    assert machine("ls-files", "-v") == home("ls-files", "-v")


def test_an_index_that_cannot_go_leaves_the_history_whole(home: Work, store: Store, tmp_path: Path) -> None:
    home.commit()
    (home.path / ".git" / "index").write_bytes(b"not an index")
    machine, notes = carry(home, store, tmp_path / "there")
    assert "not staged" in notes[0]
    assert machine("status", "--porcelain") == ""


def test_a_linked_worktree_becomes_a_plain_repository(home: Work, store: Store, tmp_path: Path) -> None:
    home.commit()
    home("worktree", "add", "-q", "-b", "side", str(tmp_path / "linked"))
    linked = Work(tmp_path / "linked")
    linked.commit()
    linked.write("file", "staged")
    linked("add", "file")
    sent = send(linked.path, store)
    assert sent and sent.there
    machine = linked.copy(tmp_path / "there")
    (machine.path / ".git").unlink(missing_ok=True)
    assert receive(store, machine.path)
    assert same(linked, machine)
    assert machine("worktree", "list").count("\n") == 0


def test_submodules_stay_plain_files_and_are_noted(home: Work, store: Store, tmp_path: Path) -> None:
    other = Work.new(tmp_path / "other")
    other.commit("inner")
    home.commit()
    home("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other.path), "sub")
    home("commit", "-q", "-m", "a submodule")
    machine, notes = carry(home, store, tmp_path / "there")
    assert machine("status", "--porcelain") == ""
    assert (machine.path / "sub" / "inner").exists()
    assert any("submodules" in note for note in notes)
    inner = send(home.path / "sub", memory())  # its `.git` is a file
    assert inner and inner.there


def test_lfs_is_noted_and_no_filter_runs(home: Work, store: Store, tmp_path: Path) -> None:
    home.commit("deep/.gitattributes", "*.bin filter=lfs\n")
    home.commit("deep/a.bin", "pointer")
    ran = tmp_path / "ran"
    for what in ("smudge", "clean", "process"):
        home("config", f"filter.lfs.{what}", f"touch {ran}")
    machine, notes = carry(home, store, tmp_path / "there")
    assert any("LFS" in note for note in notes)
    assert not ran.exists()
    assert machine("config", "--get-regexp", "filter", fine=True) == ""


def test_a_partial_clone_is_left_out_without_asking_the_network(home: Work, store: Store, tmp_path: Path) -> None:
    home.commit()
    home.commit()
    home("config", "uploadpack.allowFilter", "true")
    home("clone", "-q", "--filter=blob:none", f"file://{home.path}", str(tmp_path / "partial"))
    partial = Work(tmp_path / "partial")
    before = snapshot(partial.path)
    sent = send(partial.path, store)
    assert sent and not sent.there
    assert "stays here" in sent.notes[0]
    assert snapshot(partial.path) == before
    assert not receive(store, tmp_path / "there")


def test_a_part_of_a_repository_is_not_sent(home: Work, store: Store) -> None:
    home.commit("sub/file")
    sent = send(home.path / "sub", store)
    assert sent and not sent.there
    assert str(home.path) in sent.notes[0]
    assert list(store.entries()) == []


def test_no_repository_is_nothing(tmp_path: Path, store: Store) -> None:
    assert send(tmp_path, store) is None
    assert receive(store, tmp_path) is False
    assert list(tmp_path.iterdir()) == []


def test_somebody_elses_repository_is_left_with_a_note(
    home: Work, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.commit()
    monkeypatch.setitem(running._FIXED, "GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    sent = send(home.path, store)
    assert sent and not sent.there
    assert "safe.directory" in sent.notes[0]


@pytest.mark.parametrize("damage", ["HEAD", "objects", "all", "link"])
def test_a_damaged_repository_is_left_with_a_note(home: Work, store: Store, damage: str) -> None:
    Work(home.path.parent)("init", "-q")  # one above it: it must not be taken instead
    home.commit()
    git = home.path / ".git"
    if damage == "HEAD":
        (git / "HEAD").write_text("?")
    elif damage == "objects":
        for path in (git / "objects").glob("??/*"):
            path.unlink()
    else:
        shutil.rmtree(git)
        if damage == "all":
            git.mkdir()
        else:
            git.write_text("gitdir: /not/there\n")
    sent = send(home.path, store)
    assert sent and not sent.there
    assert sent.notes[0].startswith("the git repository stays here: git ")
    assert load(store, START, Start) is None


def test_no_git_at_all(home: Work, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.commit()
    send(home.path, store)
    monkeypatch.setenv("PATH", str(tmp_path))
    sent = send(home.path, memory())
    assert sent and "git is not installed" in sent.notes[0]
    with pytest.raises(GitError, match="not installed"):
        receive(store, tmp_path / "there")
    assert not (tmp_path / "there" / ".git").exists()


def test_too_large_a_history_stays(home: Work, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    home.commit("noise", random.Random(1).randbytes(40_000).hex())
    monkeypatch.setattr("lofty.store.repository.packs.PART", 4096)
    monkeypatch.setattr("lofty.store.repository.packs.LIMIT", 8192)
    sent = send(home.path, store)
    assert sent and not sent.there and "larger" in sent.notes[0]
    assert LIMIT == 2 << 30


def test_a_large_history_lies_in_parts(
    home: Work, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.commit("noise", random.Random(1).randbytes(40_000).hex())
    monkeypatch.setattr("lofty.store.repository.packs.PART", 4096)
    machine, _ = carry(home, store, tmp_path / "there")
    assert same(home, machine)
    assert len(list(store.entries("git/start"))) > 8


def test_only_what_is_new_is_sent_again(home: Work, store: Store) -> None:
    home.commit("noise", random.Random(1).randbytes(40_000).hex())
    home.write("staged", random.Random(2).randbytes(40_000).hex())
    home("add", "staged")
    send(home.path, store)
    first = {entry.key: entry.size for entry in store.entries()}
    home("update-index", "--index-version", "4")  # written anew, with the same in it
    send(home.path, store)
    again = {entry.key: entry.size for entry in store.entries()}
    assert sum(again.values()) < sum(first.values()) + 100
    home("reset", "-q")
    home.commit("small", "x")
    send(home.path, store)
    added = {entry.key: entry.size for entry in store.entries() if entry.key not in first}
    assert sum(added.values()) - added.get(START, 0) < 5000


def test_a_kill_leaves_the_former_state_whole(
    home: Work, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.commit()
    send(home.path, store)
    said = home.says()
    shown = home.copy(tmp_path / "there")
    home.commit()
    put = store.put

    def killed(key: str, data: bytes) -> None:
        if key == START:
            raise KeyboardInterrupt
        put(key, data)

    monkeypatch.setattr(store, "put", killed)
    with pytest.raises(KeyboardInterrupt):
        send(home.path, store)
    assert receive(store, shown.path)
    assert shown.says() == said


@pytest.mark.parametrize("harm", ["bytes", "gone", "json", "escape", "option"])
def test_damage_on_the_way_is_told_and_leaves_no_repository(
    home: Work, store: Store, tmp_path: Path, harm: str
) -> None:
    home.commit()
    send(home.path, store)
    pack = load(store, START, Start)
    assert pack is not None
    key = f"git/start/{pack[0].packs[0].parts[0]}"
    if harm == "bytes":
        store.put(key, store.get(key)[:-1] + b"!")
    elif harm == "gone":
        store.delete([key])
    elif harm == "json":
        store.put(START, b"{")
    else:
        name = b"refs/heads/../../hooks/x" if harm == "escape" else b"refs/heads/x\\n0000 --option"
        store.put(START, store.get(START).replace(b"refs/heads/main", name))
    machine = home.copy(tmp_path / "there")
    with pytest.raises(StoreError, match="git/start"):
        receive(store, machine.path)
    assert not (machine.path / ".git").exists()


def test_a_repository_that_is_there_is_let_be_and_one_half_made_is_made_anew(
    home: Work, store: Store, tmp_path: Path
) -> None:
    home.commit()
    machine, _ = carry(home, store, tmp_path / "there")
    before = snapshot(machine.path)
    assert not receive(store, machine.path)
    assert snapshot(machine.path) == before
    (machine.path / ".git" / "lofty-unfinished").touch()
    (machine.path / ".git" / "HEAD").unlink()
    assert receive(store, machine.path)
    assert same(home, machine)


def test_settings_that_go_along_and_those_that_do_not(
    home: Work, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.commit()
    everybody = tmp_path / "everybody"
    everybody.write_text(
        '[user]\n\tname = Ada \\"of\\" \\\\L\n[core]\n\texcludesFile = ~/ignored\n[alias]\n\tx = !false\n'
    )
    (tmp_path / "ignored").write_text("*.tmp\n*.log\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(everybody))
    (home.path / ".git" / "info" / "exclude").write_text("!keep.log\n")
    hook = home.path / ".git" / "hooks" / "post-checkout"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
    hook.chmod(0o755)
    home("config", "user.email", "ada@example.org")
    home("config", "core.autocrlf", "input")
    home("config", "core.sshCommand", "false")
    home("remote", "add", "origin", "https://ada:secret@example.org/x.git?private_token=secret")
    home("remote", "add", "bad", "ext::sh -c secret")
    home("config", "branch.main.remote", "origin")
    home("config", "branch.main.merge", "refs/heads/main")
    home("config", "branch.x.remote", "https://ada:secret@example.org/x.git")
    home("config", "branch.x.merge", "refs/heads/x")
    home("update-ref", "refs/remotes/origin/main", "HEAD")
    for name in ("a.tmp", "a.log", "keep.log"):
        home.write(name, "")
    machine, _ = carry(home, store, tmp_path / "there")
    assert machine("config", "user.name") == 'Ada "of" \\L'
    assert machine("config", "user.email") == "ada@example.org"
    assert machine("config", "core.autocrlf") == "input"
    assert machine("remote", "-v").split()[:2] == ["origin", "https://example.org/x.git"]
    assert machine("rev-parse", "--abbrev-ref", "main@{upstream}") == "origin/main"
    assert machine("status", "--porcelain") == "?? keep.log"
    everything = (machine.path / ".git" / "config").read_text() + store.get(START).decode()
    for word in ("secret", "alias", "sshCommand", "ext::"):
        assert word not in everything
    assert not (machine.path / ".git" / "hooks").exists() and not (tmp_path / "hooked").exists()


@pytest.mark.parametrize(
    ("url", "clean"),
    [
        ("https://token@example.org/x", "https://example.org/x"),
        ("https://a:b@example.org:8443/x#y", "https://example.org:8443/x"),
        ("ssh://git:pw@example.org:22/x", "ssh://git@example.org:22/x"),
        ("git@example.org:some/x.git", "git@example.org:some/x.git"),
        ("gh:some/x", "gh:some/x"),
        ("../x", "../x"),
        ("/a/b@c:d", "/a/b@c:d"),
        ("https://a:b/c@example.org/x", None),
        ("a:token@example.org:x", None),
        ("https://[broken/x", None),
        ("helper::https://a:b@example.org", None),
        ("--upload-pack=x", None),
        ("https://example.org/\nx", None),
    ],
)
def test_addresses_without_secrets(url: str, clean: str | None) -> None:
    assert without_secrets(url) == clean


def test_commits_and_garbage_collection_while_it_is_sent(home: Work, store: Store, tmp_path: Path) -> None:
    for _ in range(5):
        home.commit()
    end = threading.Event()

    def work() -> None:
        while not end.is_set():
            home.commit()
            home("reset", "-q", "--hard", "HEAD~1")
            home("reflog", "expire", "--expire=now", "--all")
            home("gc", "-q", "--prune=now", fine=True)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        results = [send(home.path, store) for _ in range(6)]
    finally:
        end.set()
        thread.join()
    # Objects pulled away three times running leave it at home, with a note; what is in the store is whole.
    assert all(sent and (sent.there or "stays here" in sent.notes[0]) for sent in results), results
    send(home.path, store)
    machine = home.copy(tmp_path / "there")
    assert receive(store, machine.path)
    assert machine("fsck", "--no-progress", "--no-dangling") == ""
    assert int(machine("rev-list", "--count", "HEAD")) in (5, 6)


def test_the_callers_variables_do_not_lead_elsewhere(
    home: Work, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.commit()
    other = Work.new(tmp_path / "other")
    for name, value in (("DIR", ".git"), ("INDEX_FILE", "x"), ("OBJECT_DIRECTORY", "y"), ("WORK_TREE", ".")):
        monkeypatch.setenv(f"GIT_{name}", str(other.path / value))
    before = snapshot(other.path)
    machine, _ = carry(home, store, tmp_path / "there")
    assert same(home, machine)
    assert snapshot(other.path) == before
