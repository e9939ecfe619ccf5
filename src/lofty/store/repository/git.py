"""The `git` program, run so that it does what it is told and nothing beside: no hook, no network, no question."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from ...errors import StoreError

QUICK = 60.0
"""Seconds for a command that looks something up."""
LONG = 3600.0
"""Seconds for one that moves a whole history; the store's pace is in it."""

_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "log.showSignature=false",
    "init.defaultBranch=main",
)
_KEPT = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM")
"""Where the person's own settings lie: the caller's other variables would point git to another repository."""
_FIXED = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",  # a partial clone fetches nothing behind our back …
    "GIT_ALLOW_PROTOCOL": "none",  # … nor under a git that does not know the line above
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_GRAFT_FILE": os.devnull,
    "GIT_DEFAULT_REF_FORMAT": "files",
    "GIT_AUTHOR_NAME": "lofty",  # in reflogs, and in no commit that has a name
    "GIT_AUTHOR_EMAIL": "lofty@localhost",
    "GIT_COMMITTER_NAME": "lofty",
    "GIT_COMMITTER_EMAIL": "lofty@localhost",
    "LC_ALL": "C",
}


class GitError(StoreError):
    """git is missing, refused, failed or took too long; its own first word on it is in the message."""


class Git:
    """Commands in one repository: the one found in `folder` and not above it, or the one named."""

    def __init__(self, folder: Path, repository: Path | None = None) -> None:
        self.folder = folder
        self._environment = environment()
        if repository is None:
            self._environment["GIT_CEILING_DIRECTORIES"] = str(folder.resolve().parent)
        else:
            self._environment |= {"GIT_DIR": str(repository), "GIT_WORK_TREE": str(folder)}

    def __call__(self, *words: str, feed: bytes = b"", fine: tuple[int, ...] = (0,), limit: float = QUICK) -> bytes:
        """What a command prints within so many seconds; `GitError` when its exit code is not among the fine ones."""
        try:
            done = subprocess.run(
                _command(words),
                input=feed,
                capture_output=True,
                cwd=self.folder,
                env=self._environment,
                timeout=limit,
                check=False,
            )
        except OSError as error:
            raise _not_started(error) from error
        except subprocess.TimeoutExpired as error:
            raise GitError(f"git {words[0]} did not end within {limit:.0f} s", retry_after=1.0) from error
        if done.returncode not in fine:
            raise _failed(words, done.stderr)
        return done.stdout

    def lines(self, *words: str, feed: bytes = b"", fine: tuple[int, ...] = (0,)) -> list[str]:
        """As a call, in lines; bytes that are not UTF-8 are kept as lone surrogates."""
        return self(*words, feed=feed, fine=fine).decode(errors="surrogateescape").splitlines()

    def draw(self, *words: str, feed: bytes, size: int) -> Generator[bytes, None, None]:
        """What a long command prints, in pieces of so many bytes."""
        with self._running(words) as process:
            assert process.stdin and process.stdout
            with suppress(BrokenPipeError):
                process.stdin.write(feed)
            with suppress(BrokenPipeError):
                process.stdin.close()
            while piece := process.stdout.read(size):
                yield piece

    def pour(self, *words: str, pieces: Iterable[bytes]) -> None:
        """Feed a long command piece by piece."""
        with self._running(words) as process:
            assert process.stdin
            # A broken pipe means that git has given up; what it says of that is the better message.
            with suppress(BrokenPipeError):
                for piece in pieces:
                    process.stdin.write(piece)
            with suppress(BrokenPipeError):
                process.stdin.close()

    @contextmanager
    def _running(self, words: tuple[str, ...]) -> Iterator[subprocess.Popen[bytes]]:
        pipe = subprocess.PIPE
        with tempfile.TemporaryFile() as said:
            try:
                process = subprocess.Popen(
                    _command(words), stdin=pipe, stdout=pipe, stderr=said, cwd=self.folder, env=self._environment
                )
            except OSError as error:
                raise _not_started(error) from error
            with process:
                limit = threading.Timer(LONG, process.kill)
                limit.start()
                try:
                    yield process
                    code = process.wait()
                except BaseException:
                    process.kill()
                    raise
                finally:
                    limit.cancel()
            said.seek(0)
            if code:
                raise _failed(words, said.read())


class Repository(NamedTuple):
    """Where the pieces of a repository lie; those of a linked worktree lie apart."""

    git: Git
    folder: Path
    objects: Path
    shallow: Path
    staged: Path
    """The index."""
    exclude: Path
    format: str
    """`sha1` or `sha256`."""

    @classmethod
    def of(cls, git: Git) -> Repository:
        """Ask git. `GitError` when there is none, it is damaged, or it belongs to somebody else."""
        names = [word for name in ("objects", "shallow", "index", "info/exclude") for word in ("--git-path", name)]
        lines = git.lines("rev-parse", "--path-format=absolute", "--git-dir", *names, "--show-object-format")
        if len(lines) != 6:
            raise GitError("git is too old, or the folder's name has a line break", hint="use git 2.31 or newer")
        folder, objects, shallow, staged, exclude = map(Path, lines[:5])
        return cls(git, folder, objects, shallow, staged, exclude, lines[5])

    def boundary(self) -> list[str]:
        """The commits of a shallow clone whose parents are not here."""
        with suppress(FileNotFoundError):
            return sorted(self.shallow.read_text().split())
        return []


@contextmanager
def scratch(repository: Repository, beside: Path | None = None) -> Iterator[Repository]:
    """A bare repository that sees another's objects and has none of its settings, remotes or refs; then it is gone.

    What is written goes here, and nothing that happens over there meanwhile can move the ground: a snapshot to pack
    from, and a quarantine for what comes from outside. `beside`: the folder to make it in.
    """
    with tempfile.TemporaryDirectory(prefix="tmp_objdir-lofty-", dir=beside, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        Git(folder)("init", "-q", "--bare", "--template=", f"--object-format={repository.format}", name)
        (folder / "objects" / "info").mkdir(exist_ok=True)
        (folder / "objects" / "info" / "alternates").write_text(f"{repository.objects}\n")
        if boundary := repository.boundary():
            (folder / "shallow").write_text("".join(f"{oid}\n" for oid in boundary))
        yield Repository.of(Git(folder))


def kinds(git: Git, oids: Iterable[str]) -> Mapping[str, str]:
    """`commit`, `tag`, `tree` or `blob` of those objects that are there."""
    feed = "".join(f"{oid}\n" for oid in sorted(set(oids))).encode()
    answers = git.lines("cat-file", "--batch-check=%(objectname) %(objecttype)", feed=feed) if feed else []
    found = (answer.split(" ", 1) for answer in answers)
    return {oid: kind for oid, kind in found if kind != "missing"}


def environment() -> dict[str, str]:
    """The caller's environment without what would lead git elsewhere."""
    given = {key: value for key, value in os.environ.items() if key in _KEPT or not key.startswith("GIT_")}
    return given | _FIXED


def _command(words: tuple[str, ...]) -> list[str]:
    return ["git", "--no-pager", *(word for setting in _SETTINGS for word in ("-c", setting)), *words]


def _not_started(error: OSError) -> GitError:
    if isinstance(error, FileNotFoundError) and error.filename == "git":
        return GitError("git is not installed", hint="install git")
    return GitError(f"git could not be started: {error.strerror}")


def _failed(words: tuple[str, ...], said: bytes) -> GitError:
    lines = said.decode(errors="replace").splitlines()
    loud = [line for line in lines if line.startswith(("fatal:", "error:"))]
    text = (loud or lines or ["it failed without a word"])[0].removeprefix("fatal:").removeprefix("error:").strip()
    if "dubious ownership" in text:
        text = "the folder belongs to somebody else, and safe.directory does not name it"
    return GitError(f"git {words[0]}: {text}")
