"""What `lab` and `run` mean: directories, outputs, and when a second request is the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lofty import config, request
from lofty.errors import Conflict, SpecError, UsageError
from lofty.jupyter import job, workspace
from lofty.model.spec import TaskSpec

NOTEBOOK = json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def asked(verb: str, folder: Path, **options: Any) -> config.Options:
    return config.resolve(verb, folder, options, {})


def who(*, in_place: bool = True, environ: Mapping[str, str] | None = None) -> request.Identity:
    return request.Identity("me", "one", 1.0, environ or {}, in_place=in_place)


def notebook(folder: Path, name: str = "nb.ipynb") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(NOTEBOOK)
    return folder / name


def job_of(file: Path, source: Path, *, in_place: bool = True, args: tuple[str, ...] = (), **options: Any) -> TaskSpec:
    return request.job_spec(file, source, asked("run", source, **options), who(in_place=in_place), args, {})


# --- which directory ------------------------------------------------------------------------------------------


def test_the_current_directory_when_the_file_lies_beneath_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = notebook(tmp_path / "a" / "b")
    monkeypatch.chdir(tmp_path)
    assert request.workdir(file, None) == tmp_path
    monkeypatch.chdir(tmp_path / "a" / "b")
    assert request.workdir(file, None) == tmp_path / "a" / "b"


def test_the_files_own_directory_when_it_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = notebook(tmp_path / "a")
    (tmp_path / "ab").mkdir()  # the beginning of a name is no parent
    monkeypatch.chdir(tmp_path / "ab")
    assert request.workdir(file, None) == tmp_path / "a"


def test_a_workspace_on_a_notebook_is_one_on_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = notebook(tmp_path / "home" / "a" / "b")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "home" / "a")
    assert request.opened("b/nb.ipynb") == (tmp_path / "home" / "a", "b/nb.ipynb")
    monkeypatch.chdir(tmp_path)
    assert request.opened("~/a/b/nb.ipynb") == (tmp_path, "home/a/b/nb.ipynb")
    monkeypatch.chdir(tmp_path / "home")
    assert request.opened(file) == (file.parent, "nb.ipynb"), "nobody means all that is theirs"
    for other in ("a", "b/none.ipynb", "a/b/train.py", "."):
        assert request.opened(other) == (other, "")


def test_a_notebook_in_front_whatever_its_name() -> None:
    place = workspace.addresses("http://127.0.0.1:80", "ws", "tok").at("a b/c#?.ipynb")
    assert place.lab == "http://127.0.0.1:80/ws/lab/tree/a%20b/c%23%3F.ipynb?token=tok"
    assert place.notebook == "http://127.0.0.1:80/ws/notebooks/a%20b/c%23%3F.ipynb?token=tok"


def test_the_directory_named_has_to_hold_the_file(tmp_path: Path) -> None:
    file = notebook(tmp_path / "a" / "b")
    assert request.workdir(file, str(tmp_path / "a")) == tmp_path / "a"
    (tmp_path / "c").mkdir()
    with pytest.raises(UsageError, match="does not lie in") as caught:
        request.workdir(file, str(tmp_path / "c"))
    assert caught.value.hint == f"--workdir {file.parent}"
    with pytest.raises(UsageError, match="there is no directory"):
        request.workdir(file, str(tmp_path / "none"))


def test_a_folder_that_is_not_there_is_named_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    with pytest.raises(UsageError) as caught:
        request.folder(tmp_path / "notebook")
    assert caught.value.hint == f"lofty lab {tmp_path / 'notebooks'}"
    with pytest.raises(UsageError) as caught:
        request.folder(tmp_path / "zzz")
    assert caught.value.hint == f"mkdir -p {tmp_path / 'zzz'}"


def test_a_file_is_no_folder_and_the_hint_runs_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        request.folder(notebook(tmp_path))
    assert caught.value.hint == f"lofty run {tmp_path / 'nb.ipynb'}"
    (tmp_path / "data.csv").touch()
    with pytest.raises(UsageError) as caught:
        request.folder(tmp_path / "data.csv")
    assert caught.value.hint == f"lofty lab {tmp_path}"


def test_a_folder_behind_a_link_is_the_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert request.folder(tmp_path / "link") == tmp_path / "real"


# --- which output ---------------------------------------------------------------------------------------------


def test_the_executed_copy_lies_beside_the_notebook(tmp_path: Path) -> None:
    spec = job_of(notebook(tmp_path / "a"), tmp_path)
    assert spec.outputs == ("a/nb.executed.ipynb",)
    assert spec.processes[0].args == ("a/nb.ipynb", "a/nb.executed.ipynb")


def test_or_where_the_person_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = notebook(tmp_path / "a")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    assert job_of(file, tmp_path, output="other.ipynb").outputs == ("other.ipynb",)
    assert job_of(file, tmp_path, output=str(tmp_path / "out")).outputs == ("out/nb.executed.ipynb",)
    outside = job_of(file, tmp_path / "a", output="out/x.ipynb")
    assert outside.outputs == (str(tmp_path / "out" / "x.ipynb"),)
    assert Path(outside.source, outside.outputs[0]) == tmp_path / "out" / "x.ipynb"


def test_never_over_the_notebook_itself(tmp_path: Path) -> None:
    file = notebook(tmp_path)
    (tmp_path / "alias.ipynb").symlink_to("nb.ipynb")
    for output in (file, tmp_path / "alias.ipynb", tmp_path / "x" / ".." / "nb.ipynb"):
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(SpecError, match="is the notebook itself"):
            job_of(file, tmp_path, output=str(output))


def test_an_output_that_cannot_be_is_refused(tmp_path: Path) -> None:
    file = notebook(tmp_path / "a")
    with pytest.raises(SpecError, match="there is no directory"):
        job_of(file, tmp_path, output=str(tmp_path / "none" / "x.ipynb"))
    with pytest.raises(SpecError, match="with --copy"):
        job_of(file, tmp_path / "a", output=str(tmp_path / "x.ipynb"), copy=True)


def test_scripts_have_no_output_of_ours(tmp_path: Path) -> None:
    (tmp_path / "x.py").touch()
    assert job_of(tmp_path / "x.py", tmp_path).outputs == ()


# --- what runs ------------------------------------------------------------------------------------------------


def test_in_the_directory_itself_only_where_the_machine_is_this_computer(tmp_path: Path) -> None:
    (tmp_path / "x.py").touch()
    assert job_of(tmp_path / "x.py", tmp_path).workdir == str(tmp_path)
    assert job_of(tmp_path / "x.py", tmp_path, copy=True).workdir == ""
    assert job_of(tmp_path / "x.py", tmp_path, in_place=False).workdir == ""


def test_every_kind_of_file_gets_its_interpreter(tmp_path: Path) -> None:
    texts = {"a.py": "", "b.sh": "", "c.sh": "#!/bin/zsh -e\n", "d": "#!/usr/bin/env perl\n", "e": "\x7fELF"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "e").chmod(0o755)
    lines = {name: job_of(tmp_path / name, tmp_path, args=("-x", "{y}")).processes[0] for name in texts}
    words = {name: (*one.argv, *one.args) for name, one in lines.items()}
    assert words == {
        "a.py": ("{python}", "-u", "a.py", "-x", "{y}"),
        "b.sh": ("bash", "b.sh", "-x", "{y}"),
        "c.sh": ("/bin/zsh", "-e", "c.sh", "-x", "{y}"),
        "d": ("/usr/bin/env", "perl", "d", "-x", "{y}"),
        "e": ("./e", "-x", "{y}"),
    }
    assert all("{y}" not in one.argv for one in lines.values()), "a person's braces are not filled"


def test_what_cannot_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("1,2")
    with pytest.raises(UsageError) as caught:
        job_of(tmp_path / "data.csv", tmp_path)
    assert caught.value.hint == f"chmod +x {tmp_path / 'data.csv'}"


def test_parameters_are_for_notebooks_and_arguments_for_scripts(tmp_path: Path) -> None:
    (tmp_path / "x.py").touch()
    with pytest.raises(SpecError, match="-p is for notebooks"):
        request.job_spec(tmp_path / "x.py", tmp_path, asked("run", tmp_path), who(), (), {"lr": 1})
    with pytest.raises(SpecError, match="not arguments"):
        job_of(notebook(tmp_path), tmp_path, args=("x",))


def test_the_values_of_secrets_are_not_in_the_spec(tmp_path: Path) -> None:
    (tmp_path / "x.py").touch()
    environ = {"KEY": "s3cr3t", "OPEN": "1"}
    chosen = config.resolve("run", tmp_path, {"secret": ("KEY",), "env": ("OPEN",)}, environ)
    spec = request.job_spec(tmp_path / "x.py", tmp_path, chosen, who(environ=environ), (), {})
    assert spec.secrets == ("KEY",)
    assert spec.env == {"OPEN": "1"}
    assert b"s3cr3t" not in msgspec.json.encode(spec)


def test_the_active_environment_goes_along_only_to_this_computer(tmp_path: Path) -> None:
    (tmp_path / "x.py").touch()
    python = tmp_path / "env" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    environ = {"VIRTUAL_ENV": str(tmp_path / "env")}
    found = [
        request.job_spec(
            tmp_path / "x.py", tmp_path, asked("run", tmp_path), who(in_place=here, environ=environ), (), {}
        ).python
        for here in (True, False)
    ]
    assert found == [str(python), ""]


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"cells": 3}', "null", '{"cells": null}', "\x00"], ids=lambda text: repr(text)
)
def test_a_broken_notebook_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "nb.ipynb").write_text(text)
    with pytest.raises(UsageError, match="is not a notebook"):
        job.check_file(tmp_path / "nb.ipynb")


def test_a_missing_file_is_named_with_the_nearest(tmp_path: Path) -> None:
    notebook(tmp_path, "train.ipynb")
    with pytest.raises(UsageError) as caught:
        job.check_file(tmp_path / "tran.ipynb")
    assert caught.value.hint == f"lofty run {tmp_path / 'train.ipynb'}"
    with pytest.raises(UsageError, match="there is no file"):
        job.check_file(tmp_path / "no" / "such" / "x.py")
    with pytest.raises(UsageError) as caught:
        job.check_file(tmp_path)
    assert caught.value.hint == f"lofty lab {tmp_path}"


# --- the same, or another -------------------------------------------------------------------------------------


def lab(source: Path, **options: Any) -> TaskSpec:
    return request.workspace_spec(source, asked("lab", source, **options), who())


def test_the_same_request_again_is_the_same(tmp_path: Path) -> None:
    present = lab(tmp_path, timeout="1h", idle="5m")
    request.check_same(present, lab(tmp_path, timeout="1h"))
    request.check_same(present, lab(tmp_path))


@pytest.mark.parametrize(
    ("change", "said"),
    [({"timeout": "2h"}, "--timeout"), ({"max_price": 1}, "--max-price"), ({"env": ("A=1",)}, "--env")],
)
def test_other_options_are_named(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(Conflict, match=f"another {said}") as caught:
        request.check_same(lab(tmp_path, timeout="1h"), lab(tmp_path, **change))
    assert caught.value.hint == "lofty down one first, or add --name one-2"


def test_another_place_or_kind_is_another_task(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with pytest.raises(Conflict, match=f"already a workspace of {tmp_path}"):
        request.check_same(lab(tmp_path), lab(tmp_path / "b"))
    moved = msgspec.structs.replace(lab(tmp_path), on="aws")
    with pytest.raises(Conflict, match="already there on aws"):
        request.check_same(moved, lab(tmp_path))


def test_a_fallback_is_one_from_spot(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        lab(tmp_path, fallback=True)
    assert caught.value.hint == "add --spot"
    need = lab(tmp_path, fallback=True, spot=True).need
    assert (need.spot, need.fallback) == (True, True)
