"""What goes along: git's rules as git itself reads them, and lofty's own."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lofty.errors import SpecError
from lofty.store.files.ignore import Rules, from_predecessor

ENVIRON = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}

names = st.sampled_from(["a", "b", "a.txt", "b.log", "ab", "x y", "#h", "!n", "d", "e"])
paths = st.lists(names, min_size=1, max_size=4).map("/".join)
words = st.sampled_from(
    ["a", "b", "*", "**", "?", "a*", "*.txt", "*.log", "[ab]", "[!a]", "x y", r"\#h", r"\!n", "d", "e", "a?"]
)
patterns = st.builds(
    lambda no, lead, parts, tail: no + lead + "/".join(parts) + tail,
    st.sampled_from(["", "", "", "!"]),
    st.sampled_from(["", "", "/"]),
    st.lists(words, min_size=1, max_size=3),
    st.sampled_from(["", "", "/", " ", "/**"]),
)
files = st.lists(patterns, min_size=1, max_size=5)


def ignored_by_git(root: Path, wanted: list[str]) -> set[str]:
    words = ["git", "check-ignore", "--no-index", "--stdin", "-z"]
    done = subprocess.run(
        words, cwd=root, env=ENVIRON, input="\0".join(wanted).encode(), capture_output=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return {path for path in done.stdout.decode().split("\0") if path}


@settings(
    max_examples=120, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    tree=st.lists(paths, min_size=1, max_size=12, unique=True),
    top=files,
    nested=st.dictionaries(names, files, max_size=2),
)
def test_rules_are_read_as_git_reads_them(
    tmp_path_factory: pytest.TempPathFactory, tree: list[str], top: list[str], nested: dict[str, list[str]]
) -> None:
    root = tmp_path_factory.mktemp("tree")
    subprocess.run(["git", "init", "-q"], cwd=root, env=ENVIRON, check=True)
    for path in tree:
        try:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
        except OSError:
            continue  # a file is in the way
    (root / ".gitignore").write_text("\n".join(top) + "\n")
    for folder, lines in nested.items():
        if (root / folder).is_dir():
            (root / folder / ".gitignore").write_text("\n".join(lines) + "\n")
    there = [path for path in root.rglob("*") if ".git" not in path.relative_to(root).parts]
    wanted = {str(path.relative_to(root)): path.is_dir() for path in there}
    expected = ignored_by_git(root, list(wanted))
    rules = Rules(root)
    ours = {path for path, folder in wanted.items() if rules.excluded(path, folder=folder)}
    shown = {str(path.relative_to(root)): path.read_text() for path in root.rglob(".gitignore")}
    assert ours == expected, shown


LEFT_OUT = {
    "secret": [".env", ".env.local", "a/.env", "key.pem", "server.key", "id_rsa", "id_ed25519_work", ".netrc",
               ".pypirc", "credentials.json", ".aws/credentials", ".ssh/config",
               "service-account.json", ".git-credentials"],
    "environment": [".venv/bin/python", "venv/x", "sub/.venv/x"],
    "cache": ["__pycache__/a.pyc", "a.pyc", "node_modules/x/y", ".ipynb_checkpoints/a", ".DS_Store", ".mypy_cache/x"],
    "state": [".terraform/x", "terraform.tfstate", "terraform.tfstate.backup"],
    "own": [".git/config", "sub/.git", ".GIT/x", ".lofty-part-1-2", ".lofty/x"],
}  # fmt: skip
GOES = [".env.example", "id_rsa.pub", ".terraform.lock.hcl", "environment.yml", "keys.py", "data/x.csv", ".gitignore",
        ".loftyignore", "secret.txt", "venv.md", "gcloud", "cache/x", ".github/x.yml", "lofty.toml"]  # fmt: skip


@pytest.mark.parametrize(("why", "path"), [(why, path) for why, some in LEFT_OUT.items() for path in some])
def test_what_is_left_out_and_why(tmp_path: Path, why: str, path: str) -> None:
    assert Rules(tmp_path).excluded(path, folder=False) == why


@pytest.mark.parametrize("path", GOES)
def test_what_goes_along(tmp_path: Path, path: str) -> None:
    assert Rules(tmp_path).excluded(path, folder=False) is None


def test_an_environment_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "my-env").mkdir()
    (tmp_path / "my-env/pyvenv.cfg").touch()
    assert Rules(tmp_path).excluded("my-env", folder=True) == "environment"
    assert Rules(tmp_path).excluded("my-env/lib/x", folder=False) == "environment"


def test_the_stronger_rule_decides(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("data/\n*.log\nbuild\n!.env\n")
    (tmp_path / ".loftyignore").write_text("!data/\n!keys.pem\nbuild\nscratch\n")
    rules = Rules(tmp_path, exclude=["*.csv", "!scratch"], include=["build/out/result.ipynb", ".git/x"])
    expected = {
        "data": None, "data/x": None, "data/x.csv": "rule", "a.log": "rule", "keys.pem": None, ".env": "secret",
        "scratch": None, "build/other": "rule", "build/out/result.ipynb": None, ".git/x": "own",
    }  # fmt: skip
    assert {path: rules.excluded(path, folder=path in ("data", "scratch")) for path in expected} == expected
    machine = Rules(tmp_path, git=False)
    assert machine.excluded("a.log", folder=False) is None, "what a machine makes under such a name comes back"
    assert machine.excluded("scratch", folder=False) == "rule"


def test_odd_ignore_files_hurt_nobody(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_bytes(b"\xff\xfe*.log\n[\na\\\n!\n*.txt\n")
    assert Rules(tmp_path).excluded("a.txt", folder=False) == "rule"
    (tmp_path / ".loftyignore").symlink_to("/etc/passwd")
    assert Rules(tmp_path).excluded("a.md", folder=False) is None
    (tmp_path / "d").mkdir()
    (tmp_path / "d/.gitignore").mkdir()
    assert Rules(tmp_path).excluded("d/a.md", folder=False) is None
    assert Rules(tmp_path / "nowhere").excluded("a", folder=False) is None


def test_a_hundred_thousand_names_are_judged_quickly(tmp_path: Path) -> None:
    rules = Rules(tmp_path)
    began = time.process_time()
    for folder in range(1000):
        for name in range(100):
            rules.excluded(f"d{folder}/f{name}.txt", folder=False)
    assert time.process_time() - began < 5, "measured: 0.08 s; a minute would mean that something is asked each time"


@pytest.mark.parametrize(
    ("items", "rules"),
    [
        (["cache"], ["/cache"]),
        (["/cache/"], ["/cache/"]),
        (["*.pyc"], ["/*.pyc"]),
        (["**.pyc"], ["/**/*.pyc"]),
        (["a/**"], ["/a/**"]),
        (["{a,b}/c"], ["/a/c", "/b/c"]),
        (["- *.log"], ["**/*.log"]),
        (["+ /data/keep.csv", "- /data/**"], ["/data/**", "!/data/", "!/data/keep.csv"]),
        ([], []),
    ],
)
def test_the_predecessors_rules(items: list[str], rules: list[str], tmp_path: Path) -> None:
    assert from_predecessor(items) == rules
    Rules(tmp_path, exclude=rules)


def test_the_predecessors_first_rule_decides(tmp_path: Path) -> None:
    rules = Rules(tmp_path, exclude=from_predecessor(["+ /data/keep.csv", "- /data/**", "**.tmp"]))
    expected = {"data/keep.csv": None, "data/other.csv": "rule", "x/a.tmp": "rule", "a.tmp": "rule", "a.txt": None}
    assert {path: rules.excluded(path, folder=False) for path in expected} == expected


@pytest.mark.parametrize("item", ["a**b**c", "{a,b", "+ ", "/"])
def test_what_has_no_counterpart_is_refused(item: str) -> None:
    with pytest.raises(SpecError, match="exclude") as caught:
        from_predecessor([item])
    assert caught.value.hint
