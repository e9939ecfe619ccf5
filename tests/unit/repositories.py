"""Repositories for tests, made with the real git and nobody's settings."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

from .support import snapshot

ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
}


class Work:
    """A working directory with a repository in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def new(cls, path: Path, *words: str) -> Work:
        """An empty repository."""
        path.mkdir()
        made = cls(path)
        made("init", "-q", "-b", "main", *words)
        return made

    def __call__(self, *words: str, feed: str = "", fine: bool = False) -> str:
        """A git command; it must succeed unless anything is fine."""
        given = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        done = subprocess.run(
            ["git", *words], cwd=self.path, input=feed, env=given | ENVIRONMENT, capture_output=True, text=True
        )
        assert fine or done.returncode == 0, f"git {words}: {done.stderr}"
        return done.stdout.strip("\n")

    def write(self, name: str, text: str) -> None:
        """A file."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def commit(self, name: str = "file", text: str | None = None) -> str:
        """One commit that changes one file."""
        self.write(name, text if text is not None else f"{random.random()}\n")
        self("add", name)
        self("commit", "-q", "-m", f"changes {name}")
        return self("rev-parse", "HEAD")

    def says(self) -> dict[str, str]:
        """What a person would look at."""
        asked = {
            "status": ("status", "--porcelain=v2", "--branch"),
            "diff": ("diff",),
            "staged": ("diff", "--cached"),
            "log": ("log", "--all", "--oneline"),
            "stash": ("stash", "list"),
            "tags": ("tag",),
            "fsck": ("fsck", "--no-dangling", "--no-progress"),
        }
        # An unborn HEAD is nothing to diff against, which git calls an error.
        return {what: self(*words, fine=what in ("staged", "fsck")) for what, words in asked.items()}

    def refs(self, prefix: str = "refs/") -> dict[str, str]:
        """Names and objects."""
        lines = self("for-each-ref", "--format=%(refname) %(objectname)", prefix).splitlines()
        return dict(line.split(" ") for line in lines)

    def untouched(self) -> dict[str, tuple[str, bytes, int]]:
        """Every byte that fetching must leave alone: the files, and `.git` without objects and refs/lofty."""
        there = snapshot(self.path)
        free = (".git/objects", ".git/refs/lofty", ".git/logs/refs/lofty")
        above = (".git/logs", ".git/logs/refs")  # a repository without commits has no reflogs yet
        return {name: what for name, what in there.items() if not name.startswith(free) and name not in above}

    def copy(self, path: Path) -> Work:
        """The files alone, as lofty copies them."""
        shutil.copytree(self.path, path, symlinks=True, ignore=shutil.ignore_patterns(".git"))
        return Work(path)


def grow(work: Work, dice: random.Random, steps: int) -> None:
    """A random piece of history: commits, branches, merges, tags, stash, and files left changed."""
    for number in range(steps):
        do = dice.choice(("commit", "commit", "branch", "merge", "tag", "stash", "detach", "delete"))
        if do == "commit":
            work.commit(f"f{dice.randrange(4)}", f"{dice.random()}\n")
        elif do == "branch":
            work("checkout", "-q", "-B", f"b{dice.randrange(4)}/{'ü' * dice.randrange(2)}x")
        elif do == "merge":
            branch = dice.choice(list(work.refs("refs/heads/")))
            work("merge", "-q", "-s", "ours", "-m", f"merge {number}", branch)
        elif do == "tag":
            words = dice.choice(((), ("-a", "-m", "a tag")))
            work("tag", "-f", *words, f"v{dice.randrange(3)}-{number}")
        elif do == "stash":
            work.write("f0", f"{dice.random()}\n")
            work("add", "f0")
            work("stash", "push", "-q", "-m", f"kept {number}")
        elif do == "detach":
            work("checkout", "-q", "--detach")
        elif do == "delete" and (names := list(work.refs("refs/tags/"))):
            work("update-ref", "-d", names[0])


def soil(work: Work, dice: random.Random) -> None:
    """Uncommitted changes of every kind."""
    work.write("f1", "changed\n")
    if dice.random() < 0.7:
        work.write("f2", "staged\n")
        work("add", "f2")
        work.write("f2", "staged and changed\n")
    if dice.random() < 0.5:
        work.write("new/untracked", "x")
    if dice.random() < 0.5:
        work.write("intended", "x")
        work("add", "-N", "intended")
    if dice.random() < 0.3:
        (work.path / "f3").unlink(missing_ok=True)
