"""Which paths go along: git's rules as git reads them, lofty's defaults, and who is stronger than whom."""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lofty.errors import SpecError
from lofty.store.files.ignore import Rules
from lofty.store.files.predecessor import from_predecessor


def put(root: Path, **files: str) -> Path:
    """Write files: `a__b` is `a/b`, and `_gitignore` the ignore file of its folder."""
    for name, text in files.items():
        path = root.joinpath(*name.replace("_gitignore", ".gitignore").replace("_lofty", ".loftyignore").split("__"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


EXAMPLES = int(os.environ.get("N", "400"))


# --- what git says --------------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    ["a", "b", "ab", "aab", "a.b", "b1", "a b", "a ", " a", "#a", "!a", "[a]", "a-b", "é", "*", "a\\b"]
)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
WORDS = st.sampled_from(
    ["a", "b", "a", "b", "ab", "1", "é", ".", "-", "*", "*", "**", "**", "?", "/", "/", "/", "[ab]", "[!a]",
     "[^b]", "[a-c]", "[b-a]", "[[:alpha:]]", "[[:digit:]é]", "[[:no:]]", "[]a]", "[a/b]", "[!]", "]", "[",
     "\\*", "\\a", "\\[", "\\", "[a\\]]", "[\\a-b]", "[-a]", "[a-]", "[[:]", "***", "#", "!", "\\#", "\\!",
     "\\\\", "**/", "/**", "a/", "\t", "\r", "\\/"]
)  # fmt: skip
LINES = st.builds(
    lambda sign, words, end: sign + "".join(words) + end,
    st.sampled_from(["", "", "", "!", "/", "!/", "#", "\\!"]),
    st.lists(WORDS, min_size=1, max_size=6),
    st.sampled_from(["", "", "", "/", " ", "\\ ", "\\  ", "\r", "/*", "/**"]),
)
CONTENTS = st.lists(LINES, min_size=1, max_size=5).flatmap(
    lambda lines: st.sampled_from(["\n", "\r\n"]).map(lambda end: end.join(lines))
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all trees: only its settings are read."""
    where = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", "--bare", "--template=", where], check=True)
    return where


def ignored(repository: Path, tree: Path, paths: list[str]) -> set[str]:
    """What git leaves out."""
    environ = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    command = ["git", "--git-dir", str(repository), "--work-tree", str(tree), "-c", "core.bare=false"]
    done = subprocess.run(
        [*command, "check-ignore", "--no-index", "-z", "-v", "-n", "--stdin"],
        input="\0".join(paths).encode(),
        capture_output=True,
        cwd=tree,
        env=environ,
    )
    assert done.returncode in (0, 1), done.stderr
    fields = done.stdout.decode().split("\0")[:-1]
    return {
        path
        for source, rule, path in zip(fields[::4], fields[2::4], fields[3::4], strict=True)
        if source and not rule.startswith("!")
    }


def everything(tree: Path) -> list[str]:
    return sorted(str(path.relative_to(tree)) for path in tree.rglob("*") if path.name != ".gitignore")


def grow(tree: Path, paths: list[str], rules: dict[str, str]) -> None:
    for path in paths:
        here = tree / path
        if not any(up.is_file() for up in here.parents) and not here.exists():
            here.parent.mkdir(parents=True, exist_ok=True)
            here.touch()
    for folder, text in rules.items():
        if (tree / folder).is_dir():
            (tree / folder / ".gitignore").write_bytes(text.encode())


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_git_agrees_on_every_path(
    repository: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    tree = tmp_path_factory.mktemp("tree")
    paths = data.draw(st.lists(PATHS, min_size=3, max_size=10))
    folders = sorted({path[:at] for path in paths for at, char in enumerate(path) if char == "/"})
    rules = {"": data.draw(CONTENTS)}
    if folders:
        rules |= data.draw(st.dictionaries(st.sampled_from(folders), CONTENTS, max_size=2))
    grow(tree, paths, rules)
    paths = everything(tree)
    asked = data.draw(st.permutations(paths))  # a walk asks in order, others do not
    found = Rules(tree)
    assert {path for path in asked if found.excluded(path, folder=(tree / path).is_dir())} == ignored(
        repository, tree, paths
    )


def test_a_hostile_pattern_does_not_take_for_ever(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("*a*a*a*a*a*a*a*a*a*a*b\n" + "**/a/" * 12 + "b\n")
    rules = Rules(tmp_path)
    start = time.monotonic()
    assert rules.excluded("a" * 250, folder=False) is None
    assert rules.excluded("a/" * 1500 + "a", folder=False) is None
    assert time.monotonic() - start < 3


# --- lofty's defaults -----------------------------------------------------------------------------------------

LEFT_OUT = {
    "secret": ".env .env.local .ENV .envrc x.pem server.KEY a.p12 a.pfx a.kdbx id_rsa id_rsa.bak id_ed25519 "
    "id_ecdsa_sk id_dsa .netrc _netrc .pypirc .npmrc .pgpass .git-credentials credentials.json "
    "client_secret_1.json service-account.json service_account_x.json .aws/config "
    ".ssh/known_hosts .gnupg/x .kube/config .azure/x .config/gcloud/x .docker/config.json",
    "environment": ".venv/bin/python venv/x .conda/x env3/conda-meta/history named/bin/python",
    "cache": "node_modules/a/b.js __pycache__/a.txt a.pyc .ipynb_checkpoints/x .mypy_cache/x .ruff_cache/x .tox/x "
    ".pytest_cache/x .nox/x .cache/x .DS_Store Thumbs.db",
    "state": ".terraform/x terraform.tfstate terraform.tfstate.backup x.tfstate.d/y",
    "own": ".git/config .git sub/.git .lofty/x .lofty .lofty-part-1 .lofty-part-1/x",
}
ALONG = (
    ".env.example .env.sample .env.template env/x id_rsa.pub id_ed25519.pub key pem my_credentials.csv gcloud/x "
    "venv.txt credentials_study.json secrets.csv .terraform.lock.hcl main.tf tfstate.txt .gitignore "
    ".loftyignore .github/x .config/x cache/x README.md data.json client.json .gitattributes keys.csv venv .lofty.toml"
)


@pytest.mark.parametrize("above", ["", "deep/er/"])
def test_what_is_left_out_without_a_rule(tmp_path: Path, above: str) -> None:
    put(tmp_path, named__pyvenv_cfg="")
    (tmp_path / above / "named").mkdir(parents=True, exist_ok=True)
    (tmp_path / above / "named" / "pyvenv.cfg").touch()
    rules = Rules(tmp_path)
    for why, paths in LEFT_OUT.items():
        for path in paths.split():
            assert rules.excluded(above + path, folder=False) == why, path
    for path in ALONG.split():
        assert rules.excluded(above + path, folder=False) is None, path


def test_the_folder_itself_may_be_an_environment(tmp_path: Path) -> None:
    put(tmp_path, **{"pyvenv.cfg": "", "train.py": ""})
    assert Rules(tmp_path).excluded("train.py", folder=False) is None


# --- who is stronger than whom --------------------------------------------------------------------------------


def why(root: Path, path: str, *, exclude: tuple[str, ...] = (), include: tuple[str, ...] = ()) -> str | None:
    return Rules(root, exclude, include).excluded(path.rstrip("/"), folder=path.endswith("/"))


def test_loftyignore_brings_back_what_git_leaves_out(tmp_path: Path) -> None:
    put(tmp_path, _gitignore="data/\n*.bin\n", _lofty="!data/\n")
    assert why(tmp_path, "data/x.csv") is None
    assert why(tmp_path, "data/x.bin") == "rule"
    assert why(tmp_path, "x.bin") == "rule"


def test_deeper_wins_within_a_kind_and_loftyignore_over_any_gitignore(tmp_path: Path) -> None:
    put(tmp_path, _gitignore="*.log\n", sub___gitignore="!*.log\n")
    assert (why(tmp_path, "a.log"), why(tmp_path, "sub/a.log")) == ("rule", None)
    put(tmp_path, _lofty="*.log\n")
    assert why(tmp_path, "sub/a.log") == "rule"
    put(tmp_path, sub___lofty="!*.log\n")
    assert why(tmp_path, "sub/a.log") is None


def test_exclude_is_stronger_than_any_file_and_may_lift_too(tmp_path: Path) -> None:
    put(tmp_path, _lofty="!keep\n", _gitignore="out\n")
    assert why(tmp_path, "keep", exclude=("keep",)) == "rule"
    assert why(tmp_path, "out", exclude=("!out",)) is None
    assert why(tmp_path, "sub/keep", exclude=("/keep",)) is None
    assert why(tmp_path, "#x", exclude=("#x",)) == "rule"  # no comment: nobody comments a command line


def test_only_loftyignore_lifts_a_default(tmp_path: Path) -> None:
    put(tmp_path, _gitignore="*\n!*/\n!*.py\n!.env\n")
    assert why(tmp_path, ".env") == "secret"
    assert why(tmp_path, ".venv/x.py") == "environment"
    put(tmp_path, _lofty="!.env\n!/.venv/\n!*.pem\n!.git\n")
    assert why(tmp_path, ".env") is None
    assert why(tmp_path, ".venv/x.py") is None
    assert why(tmp_path, "test.pem") is None
    assert why(tmp_path, ".git/config") == "own"


def test_what_has_to_go_along_does(tmp_path: Path) -> None:
    put(tmp_path, _gitignore="out/\n*.csv\n", out__x="")
    include = ("out/deep/result.csv", "made", ".git/x", ".venv/keep.txt")
    assert why(tmp_path, "out/deep/result.csv", exclude=("out",), include=include) is None
    assert why(tmp_path, "out/", include=include) is None
    assert why(tmp_path, "out/deep/", include=include) is None
    assert why(tmp_path, "out/deep/other.csv", include=include) == "rule"
    assert why(tmp_path, "out/other/", include=include) == "rule"
    assert why(tmp_path, ".venv/keep.txt", include=include) is None
    assert why(tmp_path, ".venv/other", include=include) == "environment"
    assert why(tmp_path, ".git/x", include=include) == "own"
    assert why(tmp_path, ".git/", include=include) == "own"


def test_a_folder_that_has_to_go_along_brings_what_is_in_it_but_no_secret(tmp_path: Path) -> None:
    put(tmp_path, _gitignore="results/\n*.csv\n")
    include = ("results",)
    assert why(tmp_path, "results/", include=include) is None
    assert why(tmp_path, "results/deep/x.csv", include=include) is None
    assert why(tmp_path, "results/.env", include=include) == "secret"
    assert why(tmp_path, "x.csv", include=include) == "rule"


# --- files that are no rules ----------------------------------------------------------------------------------


def test_what_cannot_be_read_is_said_and_no_rule(tmp_path: Path) -> None:
    put(tmp_path, _lofty="*.log\n", **{"utf16__x": "", "link__x": "", "folder__.gitignore__x": "", "fifo__x": ""})
    (tmp_path / "utf16" / ".gitignore").write_bytes("*.txt\n".encode("utf-16"))
    (tmp_path / "link" / ".gitignore").symlink_to("../.loftyignore")
    os.mkfifo(tmp_path / "fifo" / ".gitignore")
    put(tmp_path, _gitignore="a[b\n\\\nfine\n")
    rules = Rules(tmp_path, exclude=("[[:none:]]",))
    for folder in ("utf16", "link", "folder", "fifo"):
        assert rules.excluded(f"{folder}/x.txt", folder=False) is None
    assert rules.excluded("fine", folder=False) == "rule"
    problems = "\n".join(rules.problems)
    for where in ("utf16/.gitignore", "link/.gitignore", "fifo/.gitignore", "'a[b'", "'\\'", "--exclude: '[[:none:]]'"):
        assert where in problems
    assert "folder" not in problems


def test_names_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_bytes(b"*.bin\nodd?\ncaf\xe9\n")
    rules = Rules(tmp_path)
    assert rules.excluded("x\udcff.bin", folder=False) == "rule"
    assert rules.excluded("odd\udcff", folder=False) == "rule"
    assert rules.excluded("caf\udce9", folder=False) == "rule"
    assert rules.excluded("x\udcff", folder=False) is None


def test_the_mark_that_some_editors_begin_with_is_no_part_of_a_rule(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_bytes(b"\xef\xbb\xbf*.log\r\n")
    assert why(tmp_path, "a.log") == "rule"


def test_rule_files() -> None:
    assert [
        name for name in (".gitignore", ".loftyignore", "gitignore", ".gitattributes") if Rules.is_rule_file(name)
    ] == [
        ".gitignore",
        ".loftyignore",
    ]


# --- rules of the predecessor ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("items", "rules"),
    [
        (["*.pyc"], ["/*.pyc"]),
        (["**.pyc"], ["*.pyc"]),
        ([".dvc/cache"], ["/.dvc/cache"]),
        (["./results/tempfile"], ["/results/tempfile"]),
        (["data/"], ["/data"]),
        (["//data/"], ["/data"]),
        (["data/**"], ["/data/"]),
        (["a*b**"], ["/a*b*"]),
        (["a**/b"], ["/a*/**/b"]),
        (["a**b"], ["/a*b", "/a*/**/*b"]),
        (["a/**/b"], ["/a/*/**/b"]),
        (["{a,b}.{c,d{1,2}}"], ["/a.c", "/a.d1", "/a.d2", "/b.c", "/b.d1", "/b.d2"]),
        (["- *.bak"], ["*.bak"]),
        (["- a/b"], ["**/a/b"]),
        (["- dir/"], ["dir/"]),
        (["- /dir/**"], ["/dir/"]),
        (["- #x"], ["\\#x"]),
        (["a "], ["/a\\ "]),
        (["[!a]x"], ["/[\\!a]x"]),
        (["\\*x\\a"], ["/\\*xa"]),
        (["a", "b"], ["/b", "/a"]),
        (["+ /data/keep", "- /data/**"], ["/data/**", "!/data/**/", "!/data/keep"]),
        (["+ *.csv", "- *"], ["*", "!*/", "!*.csv"]),
    ],
)
def test_rules_of_the_predecessor(items: list[str], rules: list[str]) -> None:
    assert from_predecessor(items) == rules


PIECES = st.lists(
    st.sampled_from([*"aabb", "*", "*", "**", "?", "/", "/", "{a,b*}", "[ab]", "[^a]"]), min_size=1, max_size=6
)
ITEMS = st.builds(
    lambda sign, pieces: sign + "".join(pieces), st.sampled_from(["", "- ", "- /", "+ ", "+ /"]), PIECES
).filter(lambda item: "***" not in item and "//" not in item and item.strip("+- /") != "")
FILES = st.lists(st.sampled_from(["a", "b", "ab", "ba", "abb"]), min_size=1, max_size=4).map("/".join)


def rclone_keeps(items: list[str], path: str) -> bool:
    """As rclone decides about a file; but a rule that leaves a file out goes for a folder of that name too."""
    parts = path.split("/")
    above = ["/".join(parts[:end]) for end in range(1, len(parts))]
    for item in items:
        keep = item.startswith("+ ")
        body = item[2:] if item[:2] in ("+ ", "- ") else posixpath.normpath("/" + item.lstrip("/"))
        if keep and body.endswith("/"):
            continue
        body += "**" * body.endswith("/")
        translated = {"**": ".*", "*": "[^/]*", "?": "[^/]", "{": "(?:", ",": "|", "}": ")", "[^a]": "[^a/]"}
        words = re.findall(r"\*+|\[[^]]*\]|.", body.removeprefix("/"))
        regex = ("^" if body.startswith("/") else "(?:^|/)") + "".join(translated.get(word, word) for word in words)
        if any(re.search(f"{regex}$", one) for one in [path, *above * (not keep)]):
            return keep
    return True


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=EXAMPLES)
@given(st.lists(ITEMS, min_size=1, max_size=4), st.lists(FILES, min_size=1, max_size=6))
def test_rclone_agrees(tmp_path: Path, items: list[str], paths: list[str]) -> None:
    rules = Rules(tmp_path, from_predecessor(items))
    assert not rules.problems
    for path in paths:
        assert (rules.excluded(path, folder=False) is None) == rclone_keeps(items, path), path


@pytest.mark.parametrize(
    "item", ["", "/", "- ", "a{b", "a}b", "{{a.*}}", "a[b", "x\\", "a***", "[[:alpha:]]", "a\nb", "{a,b}" * 12]
)
def test_what_has_no_counterpart_is_refused(item: str) -> None:
    with pytest.raises(SpecError) as caught:
        from_predecessor([item])
    assert item in str(caught.value)
    assert caught.value.hint
