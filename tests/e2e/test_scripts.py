"""The text of a script as a job, from Python: on a copy of a directory or in an empty one, and what comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from lofty import Client
from lofty.bringing import Bringing
from lofty.errors import Conflict, LoftyError, SpecError
from lofty.store.files.predecessor import from_predecessor
from tests.conftest import Lofty


@pytest.fixture
def client(lofty: Lofty) -> Client:
    return Client(lofty.environ)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "shared"
    (made / "data").mkdir(parents=True)
    (made / "data" / "in.txt").write_text("here\n")
    (made / ".gitignore").write_text("data\n")
    return made


def text_of(job: object) -> str:
    return "".join(line.text + line.end for line in job.logs() if line.stream != "sys")  # type: ignore[attr-defined]


def test_a_script_works_on_a_copy_and_a_part_comes_back(client: Client, folder: Path) -> None:
    script = "#!/bin/sh\ncat data/in.txt; rm data/in.txt; mkdir -p out/deep; echo made >out/deep/x; echo no >other\n"
    job = client.script(script, workdir=folder, name="copied")
    assert job.wait(60) == 0
    assert text_of(job) == "here\n"
    assert sorted(path.name for path in folder.iterdir()) == [".gitignore", "data"]
    job.pull(how=Bringing("out", keep=True))
    assert (folder / "out" / "deep" / "x").read_text() == "made\n"
    assert not (folder / "other").exists()
    job.pull(how=Bringing(keep=True))
    assert ((folder / "other").read_text(), (folder / "data" / "in.txt").read_text()) == ("no\n", "here\n")
    (folder / "out" / "deep" / "x").unlink()
    job.down(how=Bringing("out", keep=True))
    assert client.tasks() == []
    assert (folder / "data" / "in.txt").exists()


def test_a_script_has_its_words_its_variables_and_an_empty_directory(client: Client, tmp_path: Path) -> None:
    script = '#!/bin/bash -e\nls -A; echo "$KEY $((1+1)) {run} ${0##*/}"; command -v pip3 python3; exit 7\n'
    job = client.script(script, variables={"KEY": "s3cr3t"})
    assert (job.name, job.wait(60)) == ("script-1", 7)
    said = text_of(job).splitlines()
    assert said[0] == "s3cr3t 2 {run} script"
    assert all("/envs/user-" in line for line in said[1:])  # installing into it harms nobody
    place = Path(said[1]).parent
    assert "s3cr3t" not in str(job.records.spec())
    with pytest.raises(LoftyError, match="not brought: no directory here belongs to 'script-1'"):
        job.down()
    job.down(discard=True)
    assert not place.exists()


def test_the_predecessors_rules_bring_a_secret_along_where_they_say_so(client: Client, folder: Path) -> None:
    (folder / ".env").write_text("A=1\n")
    (folder / "left.pyc").write_text("x")
    script = "#!/bin/sh\nls -A\n"
    plain = client.script(script, workdir=folder, name="plain")
    asked = client.script(script, workdir=folder, name="asked", exclude=from_predecessor(["+ .env"]))
    assert (plain.wait(60), asked.wait(60)) == (0, 0)
    assert text_of(plain).split() == [".gitignore", "data"]
    assert text_of(asked).split() == [".env", ".gitignore", "data"]
    for job in (plain, asked):
        job.down(discard=True)


def test_the_same_name_is_the_same_script(client: Client, folder: Path) -> None:
    one = client.script("#!/bin/sh\nsleep 600\n", workdir=folder, name="once", wait=False)
    other = client.script("#!/bin/sh\nsleep 600\n", workdir=folder, name="once", wait=False)
    assert one.handle == other.handle
    assert other.state in ("starting", "running")
    with pytest.raises(Conflict, match="another script") as error:
        client.script("#!/bin/sh\nsleep 601\n", workdir=folder, name="once")
    assert error.value.hint == "lofty down once, or another name"
    with pytest.raises(Conflict, match="another number of machines"):
        client.script("#!/bin/sh\nsleep 600\n", workdir=folder, name="once", parallelism=2)
    one.down(discard=True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("echo", "does not say what runs it"),
        ("#!/bin/sh\r\necho\r\n", "as on Windows"),
        ("#! bash\n", "names no program"),
    ],
)
def test_a_script_that_nothing_can_run_is_refused(client: Client, text: str, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        client.script(text)
    assert client.tasks() == []


def test_half_made_is_finished(client: Client, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Died(BaseException):
        """As if the power had failed: nothing after it runs."""

    def dies(*_: object, **__: object) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr("lofty.task.Task.push", dies)
        patch.setattr("lofty.task.Task.down", lambda *_, **__: None)
        with pytest.raises(Died):
            client.script("#!/bin/sh\ncat data/in.txt\n", workdir=folder, name="half")
    assert client.get("half").state == "pending"
    job = client.script("#!/bin/sh\ncat data/in.txt\n", workdir=folder, name="half")
    assert (job.wait(60), text_of(job)) == (0, "here\n")
    job.down()
