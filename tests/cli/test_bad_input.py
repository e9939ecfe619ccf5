"""What a person may get wrong: one clear line, the next command, the right exit code, and nothing left or changed."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Person

USAGE, LOFTY_FAILED = 2, 125


@pytest.mark.parametrize(
    ("words", "code", "says", "tries"),
    [
        (["lab", "nowhere"], 2, r"there is no directory nowhere$", "mkdir -p nowhere"),
        (["lab", "su"], 2, r"there is no directory su$", "lofty lab "),
        (["lab", "train.py"], 2, r"train\.py is not a directory", "lofty run train.py"),
        (["notebook", "nowhere.ipynb"], 2, r"there is no directory nowhere\.ipynb$", "lofty lab ."),
        (["lab", "--gpu"], 2, r"'--gpu' requires an argument", "lofty lab --help"),
        (["lab", "data.csv"], 2, r"data\.csv is not a directory", "lofty lab ."),
        (["lab", ".", "more"], 2, r"unexpected extra argument", "lofty lab --help"),
        (["run", "."], 125, r"is not a file", "lofty lab "),
        (["run"], 125, r"Missing argument 'FILE'", "lofty run --help"),
        (["run", "tran.py"], 125, r"there is no file .*/tran\.py$", "/train.py"),
        (["run", "nowhere/at/all.py"], 125, r"there is no file", "lofty run FILE"),
        (["run", "broken.ipynb"], 125, r"broken\.ipynb is not a notebook", "Jupyter"),
        (["run", "data.csv"], 125, r"neither a notebook nor a script", "chmod +x"),
        (["run", "train.py", "-p", "lr=1"], 125, r"-p is for notebooks", "-- ARGUMENT"),
        (["run", "train.ipynb", "-p", "lr"], 125, r"written NAME=VALUE", "-p lr=0.1"),
        (["run", "train.ipynb", "-p", "1x=2"], 125, r"written NAME=VALUE", "-p lr=0.1"),
        (["run", "train.ipynb", "--", "word"], 125, r"not arguments", "-p name=value"),
        (["run", "train.ipynb", "--output", "train.ipynb"], 125, r"is the notebook itself", "name another file"),
        (["run", "train.ipynb", "--output", "no/where.ipynb"], 125, r"there is no directory .*/no", "mkdir -p"),
        (["run", "train.py", "--workdir", "sub"], 125, r"does not lie in", "--workdir"),
        (["run", "train.py", "-n", "0"], 125, r"whole number", "N"),
        (["lab", "--timot", "1h"], 2, r"unknown option '--timot': did you mean '--timeout'\?", "lofty lab --help"),
        (["run", "--jsn", "train.py"], 125, r"unknown option '--jsn': did you mean '--json'\?", "lofty run --help"),
        (["lab", "--0000"], 2, r"unknown option '--0000'$", "lofty lab --help"),
        (["lab", "--env"], 2, r"'--env' requires an argument", "--help"),
        (["--0000"], 2, r"unknown option '--0000'$", "lofty --help"),
        (["lba"], 2, r"unknown command 'lba': did you mean 'lab'\?", "lofty --help"),
        (["init"], 2, r"not there yet", "lofty --help"),
        (["tf", "instal"], 2, r"unknown command 'instal': did you mean 'install'\?$", "lofty tf --help"),
        (["tf", "chck", "--json"], 2, r"unknown command 'chck': did you mean 'check'\?$", "lofty tf --help"),
        (["lab", "--on", "locl"], 2, r"unknown cloud 'locl': did you mean 'local'\?", "lofty check"),
        (["lab", "--machine", "m+t5"], 2, r"unknown machine 'm\+t5': did you mean 'm\+t4'\?", "use s, m, l or xl"),
        (["lab", "--machine", "huge"], 2, r"unknown machine 'huge'$", "use s, m, l or xl"),
        (["lab", "--timeout", "soon"], 2, r"--timeout: 'soon' is not a length of time", "24h"),
        (["lab", "--idle", "-5m"], 2, r"--idle: '-5m' is not a length of time", "30m"),
        (["lab", "--gpu", "a b"], 2, r"--gpu: 'a b' is not a GPU", "T4"),
        (["lab", "--cpus", "many"], 2, r"--cpus: 'many' is not an amount", "8+"),
        (["lab", "--port", "99999"], 2, r"--port: '99999' is not a whole number from 1 to 65535", "PORT"),
        (["lab", "--max-price", "0"], 2, r"--max-price: '0' is not a number above zero", "USD"),
        (["lab", "--name", "A B"], 2, r"'A B' cannot be a name", "--name a-b"),
        (["stop"], 2, r"there is no task$", "lofty lab"),
        (["url", "ws"], 2, r"there is no workspace 'ws'", "lofty lab"),
        (["open"], 2, r"there is no workspace$", "lofty lab"),
        (["logs", "-f", "nope"], 2, r"there is no task 'nope'", "lofty lab"),
        (["down", "nope"], 2, r"there is no task 'nope'", "lofty lab"),
        (["down", "--all", "nope"], 2, r"either a NAME or --all", "lofty down --all"),
        (["extend"], 2, r"say how long", "lofty extend 2h"),
        (["extend", "a", "b", "c"], 2, r"say how long", "lofty extend 2h"),
        (["extend", "2h"], 2, r"there is no task", "lofty lab"),
        (["price", "--region", "x", "--machine", "x"], 2, r"unknown machine 'x'", "use s, m, l or xl"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)  # fmt: skip
def test_a_slip_is_answered_with_what_to_do(person: Person, words: list[str], code: int, says: str, tries: str) -> None:
    person.refused(*words, code=code, says=f"(?m){says}", tries=tries)


@pytest.mark.parametrize("verb", ["lab", "run"])
@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("lofty.toml", "timout = '1h'\n", r"lofty\.toml: unknown key 'timout': did you mean 'timeout'\?"),
        (
            "pyproject.toml",
            "[tool.lofty]\nspots = true\n",
            r"\[tool\.lofty\]: unknown key 'spots': did you mean 'spot'\?",
        ),
        ("lofty.toml", "timeout = 'soon'\n", r"lofty\.toml: timeout: 'soon' is not a length of time"),
        ("lofty.toml", "timeout = \n", r"lofty\.toml cannot be read: .*line 1"),
        ("pyproject.toml", "[tool]\nlofty = 3\n", r"tool\.lofty is not a table"),
    ],
)
def test_a_wrong_line_in_a_file_is_named(person: Person, verb: str, file: str, text: str, says: str) -> None:
    (person.folder / file).write_text(text)
    words = ["lab"] if verb == "lab" else ["run", "train.py"]
    person.refused(*words, code=USAGE if verb == "lab" else LOFTY_FAILED, says=says)


def test_a_wrong_variable_is_named(person: Person) -> None:
    person.refused("lab", code=USAGE, says=r"environment: idle: 'x' is not a length of time", LOFTY_IDLE="x")
    person.refused("run", "train.py", code=LOFTY_FAILED, says=r"unknown cloud 'mars'", LOFTY_ON="mars")


def test_a_port_in_use_is_named_with_its_holder(person: Person) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        says = rf"port {port} is in use by \S+.* \(process {os.getpid()}\)"
        person.refused("lab", "--port", str(port), code=USAGE, says=says, tries="--port")


def test_no_uv(person: Person) -> None:
    for words, code in ((["lab"], 1), (["run", "train.py"], LOFTY_FAILED)):
        person.refused(
            *words, code=code, says=r"LOFTY_UV names /nonexistent", tries="LOFTY_UV", LOFTY_UV="/nonexistent"
        )


def test_a_requirement_that_nothing_satisfies(person: Person) -> None:
    (person.folder / "requirements.txt").write_text("six==1.16.0\nsix==1.17.0\n")
    says = r"could not be installed: .*six==1\.1"
    person.refused("run", "train.py", code=LOFTY_FAILED, says=says, tries="mend the requirements")
    person.refused("lab", "-d", code=1, says=says, tries="mend the requirements")


def test_requirements_that_cannot_be_read(person: Person) -> None:
    (person.folder / "requirements.txt").write_text("this is !! no requirement\n")
    person.refused("run", "train.py", code=LOFTY_FAILED, says=r"could not be installed", tries="mend the requirements")


def test_no_network(person: Person) -> None:
    (person.folder / "requirements.txt").write_text("a-package-that-no-cache-holds\n")
    says = r"package index could not be reached: .*a-package-that-no-cache-holds"
    person.refused("run", "train.py", code=LOFTY_FAILED, says=says, tries="connect to the network")
    result = person.refused("run", "--json", "train.py", code=LOFTY_FAILED, says=says)
    assert result.json()["error"]["kind"] == "EnvironmentFailed"


def test_a_conda_file_that_cannot_be_read(person: Person) -> None:
    (person.folder / "environment.yml").write_text("dependencies: [numpy\n")
    person.refused("run", "train.py", code=LOFTY_FAILED, says=r"environment\.yml cannot be read")


@pytest.mark.parametrize(
    "words",
    [["run", "nowhere.py"], ["run", "broken.ipynb"], ["run", "--nope", "x.py"], ["run"], ["run", "--dry-run", "x.py"]],
)
def test_run_with_json_is_one_document_when_it_fails_too(person: Person, words: list[str]) -> None:
    found = person.refused(words[0], "--json", *words[1:], code=LOFTY_FAILED, says="lofty: ").json()
    assert (found["id"], found["state"], found["exit_code"]) == (None, "failed", LOFTY_FAILED)
    assert found["error"]["kind"] == "UsageError"
    assert found["error"]["message"]
    assert found["error"]["hint"]


def test_debug_shows_the_traceback(person: Person) -> None:
    result = person.lofty("--debug", "lab", "nowhere", cwd=person.folder)
    assert result.code == 1
    assert "Traceback" in result.err
    assert "UsageError" in result.err


# --- rights and room ------------------------------------------------------------------------------------------


AS_NOBODY = """
import os, sys, difflib, lofty.api, lofty.cli.lab, lofty.cli.run, lofty.drivers.local.driver
from lofty.cli.main import run
os.setgroups([]), os.setgid(65534), os.setuid(65534)
sys.exit(run(sys.argv[1:]))
"""
"""Everything is imported before the rights are dropped: the interpreter may lie where nobody else may look."""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(
    ("words", "closed", "code", "says"),
    [
        (["lab", "sub"], "sub", 2, r"sub cannot be read"),
        (["lab", "sub/deeper"], "sub", 2, r"sub/deeper.* cannot be read"),
        (["run", "train.py"], "train.py", 125, r"train\.py cannot be read"),
        (["run", "train.ipynb"], "train.ipynb", 125, r"train\.ipynb cannot be read"),
        (["run", "sub/x.py"], "sub", 125, r"sub/x\.py.* cannot be read"),
    ],
)
def test_what_cannot_be_read(person: Person, words: list[str], closed: str, code: int, says: str) -> None:
    for path in (person.folder, *person.folder.parents):
        if path.is_relative_to(Path("/tmp/pytest-of-root")):
            path.chmod(path.stat().st_mode | 0o711)
    home = person.folder.parent / "nobody"
    home.mkdir()
    os.chown(home, 65534, 65534)
    environ = {**person.lofty.environ, "HOME": str(home), "LOFTY_HOME": str(home / "l"), "LOFTY_CACHE": str(home / "c")}
    (person.folder / closed).chmod(0)
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, *words], cwd=person.folder, env=environ, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    (person.folder / closed).chmod(0o755)
    assert done.returncode == code, done.stderr
    assert re.search(says, done.stderr), done.stderr
    assert "  try: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not any(home.rglob("*"))


def test_a_home_that_cannot_be_made(person: Person) -> None:
    (person.folder.parent / "file").touch()
    home = str(person.folder.parent / "file" / "home")
    person.refused(
        "run", "train.py", code=LOFTY_FAILED, says=r"cannot be made|Not a directory", tries="", LOFTY_HOME=home
    )


def test_files_that_may_not_grow(person: Person) -> None:
    """A limit on the size of files is met as a full disk is: said, and nothing left."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200));"
        "from lofty.cli.main import run; sys.exit(run(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "train.py"], cwd=person.folder, env=person.lofty.environ,
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == LOFTY_FAILED, done.stderr
    assert "Traceback" not in done.stderr
    assert "  try: " in done.stderr
    assert person.lofty.ok("ls", "--json").json() == []


MOUNTS = subprocess.run(
    ["unshare", "-m", "sh", "-c", "mount -t tmpfs -o size=64k none /mnt"], capture_output=True, check=False
).returncode == 0  # fmt: skip


@pytest.mark.skipif(not MOUNTS, reason="a small disk can only be mounted by root outside a container")
@pytest.mark.parametrize("words", [["run", "train.py"], ["lab", "-d"]])
def test_a_full_disk(person: Person, words: list[str]) -> None:
    home = person.lofty.home
    home.mkdir()
    command = (
        f"mount -t tmpfs -o size=64k none {home} && head -c 1000000 /dev/zero > {home}/filler 2>/dev/null;"
        f"{sys.executable} -m lofty {' '.join(words)}; code=$?;"
        f"rm {home}/filler; {sys.executable} -m lofty ls --json; exit $code"
    )
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", command], cwd=person.folder, env=person.lofty.environ, capture_output=True,
        text=True, timeout=90,
    )  # fmt: skip
    assert done.returncode == (LOFTY_FAILED if words[0] == "run" else 1), done
    assert "No space left" in done.stderr
    assert "free some space" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.strip() == "[]"
