"""`lofty tf`: where terraform finds lofty, that a lock holds, and what `check` sees."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lofty.terraform import install
from lofty.terraform.install import LAUNCHER, PLATFORMS, SOURCES
from lofty.terraform.settings import methods

from ..conftest import Lofty, Result
from .client import Plugin
from .conftest import Terraform, program

CONFIGURATION = """\
terraform {
  required_providers {
    iterative = {
      source  = "iterative/iterative"
      version = "%s"
    }
    lofty = { source = "lofty/lofty" }
  }
}
provider "iterative" {}
provider "lofty" {}
"""


class Person:
    """Somebody with a home, a folder with a configuration, and lofty on PATH."""

    def __init__(self, environ: dict[str, str], directory: Path, programs: Path) -> None:
        self.home, self.directory, self.programs = Path(environ["HOME"]), directory, programs
        self.environ = {**environ, "PATH": f"{programs}:{environ['PATH']}"}
        self.lofty_is(f"exec {sys.executable} -m lofty")
        self.write("~> 0.11")
        self.plugins = install.plugins(self.home)

    def lofty_is(self, line: str) -> None:
        """What `lofty` on PATH does."""
        script = self.programs / "lofty"
        script.write_text(f'#!/bin/sh\n{line} "$@"\n')
        script.chmod(0o755)

    def write(self, version: str) -> None:
        (self.directory / "main.tf").write_text(CONFIGURATION % version)

    def tf(self, *words: str, **environ: str) -> Result:
        return Lofty(self.home, {**self.environ, **environ})("tf", *words, cwd=self.directory)

    def check(self, **environ: str) -> list[tuple[str, str]]:
        """What is wrong, and what to do."""
        said = self.tf("check", "--json", **environ)
        found: list[dict[str, Any]] = said.json()
        assert said.code == int(any(not one["ok"] for one in found))
        assert said.err == ""
        return [(one["what"], one["hint"]) for one in found if not one["ok"]]

    def terraform(self) -> Terraform:
        return Terraform(program(), self.directory, self.environ)


@pytest.fixture
def person(environ: dict[str, str], tmp_path: Path) -> Person:
    for name in ("bin", "work"):
        (tmp_path / name).mkdir()
    return Person(environ, tmp_path / "work", tmp_path / "bin")


def test_the_launcher_never_changes() -> None:
    """A lock file in somebody's repository holds these: a change here breaks every one of them."""
    assert [(one.short, one.version, one.hash) for one in SOURCES] == [
        ("iterative/iterative", "0.11.100", "h1:JOYadAm51JJjGdnTd88zH+/avp9znR5x4/qAaexDCvI="),
        ("lofty/lofty", "1.0.0", "h1:XsGsk7oFO7Ph2SVbXFszky+/je4ahDeEhDZV+X0K7yc="),
    ]


def test_installed_and_taken_away(person: Person) -> None:
    made = person.tf("install")
    assert made.code == 0
    files = made.out.split()
    assert len(files) == len(PLATFORMS) * len(SOURCES)
    for file in files:
        assert Path(file).read_bytes() == LAUNCHER
        assert stat.S_IMODE(Path(file).stat().st_mode) == 0o755
    assert 'terraform finds "iterative/iterative" 0.11.100 now' in made.err
    assert sorted(str(path) for path in person.plugins.rglob("*") if path.is_file()) == sorted(files)
    assert person.tf("install").out == ""  # nothing to do, and nothing touched
    other = person.plugins / "registry.terraform.io/hashicorp/aws/1.0.0"
    other.mkdir(parents=True)
    assert sorted(person.tf("uninstall").out.split()) == sorted(files)
    assert other.is_dir()
    assert [path.name for path in (person.plugins / "registry.terraform.io").iterdir()] == ["hashicorp"]
    again = person.tf("uninstall")
    assert (again.code, again.out, again.err) == (0, "", "nothing of lofty's is installed there\n")


def test_another_provider_there_is_left_alone(person: Person) -> None:
    wanted = SOURCES[0].programs(person.plugins)[2]
    wanted.parent.mkdir(parents=True)
    wanted.write_text("another")
    said = person.tf("install")
    assert said.code == 2
    assert "another provider is installed there" in said.err
    assert "  try: move " in said.err
    assert [path for path in person.plugins.rglob("*") if path.is_file()] == [wanted]
    assert person.tf("uninstall").out == ""
    assert wanted.read_text() == "another"
    assert any("another program lies there" in what for what, _ in person.check())


@pytest.mark.parametrize("version", ["~> 0.11", "~> 0.11.0", ">= 0.10.0", "0.11.100"])
def test_plain_terraform_finds_it(person: Person, version: str) -> None:
    person.tf("install")
    person.write(version)
    terraform = person.terraform()
    terraform.ok("init")
    schemas = json.loads(terraform.ok("providers", "schema", "-json").out)["provider_schemas"]
    assert set(schemas) == {one.address for one in SOURCES}
    assert terraform.ok("plan").code == 0
    lock = (person.directory / ".terraform.lock.hcl").read_text()
    assert all(one.hash in lock for one in SOURCES)
    assert person.check() == []


def test_a_lock_holds_when_lofty_is_upgraded(person: Person) -> None:
    """Another program behind the same launcher, installed again: init, plan and the lock are as before."""
    person.tf("install")
    terraform = person.terraform()
    terraform.ok("init")
    lock = (person.directory / ".terraform.lock.hcl").read_text()
    person.lofty_is(f"LATER=1 exec {sys.executable} -X dev -m lofty")
    person.tf("uninstall")
    person.tf("install")
    terraform.ok("init")
    terraform.ok("plan")
    terraform.ok("init", "-upgrade")
    assert (person.directory / ".terraform.lock.hcl").read_text() == lock
    # And the same would not hold for a launcher that is changed by one byte.
    for file in SOURCES[0].programs(person.plugins):
        file.write_bytes(LAUNCHER + b"\n")
    assert terraform("plan").code == 1


def test_a_lock_of_the_provider_before(person: Person) -> None:
    person.tf("install")
    lock = person.directory / ".terraform.lock.hcl"
    entry = (
        'provider "registry.terraform.io/iterative/iterative" {\n  version = "%s"\n  hashes = [\n    "%s",\n  ]\n}\n'
    )
    lock.write_text(entry % ("0.11.20", "h1:aaaa"))
    ((what, hint),) = person.check()
    assert "locks iterative/iterative 0.11.20, lofty is 0.11.100" in what
    assert hint == "terraform init -upgrade"
    terraform = person.terraform()
    assert terraform("init").code == 1
    terraform.ok(*hint.split()[1:])
    assert person.check() == []
    lock.write_text(entry % ("0.11.100", "h1:aaaa"))
    ((what, hint),) = person.check()
    assert "locks another iterative/iterative 0.11.100" in what
    assert terraform("init").code == 1
    lock.unlink()
    terraform.ok("init")
    lock.write_text(entry % ("0.11.100", "zh:" + "0" * 64))
    assert person.check() == []
    terraform.ok("init")


def test_lofty_is_not_on_path(person: Person) -> None:
    person.tf("install")
    terraform = person.terraform()
    terraform.ok("init")
    (person.programs / "lofty").unlink()
    said = terraform("plan", "-no-color", PATH="/usr/bin:/bin")
    assert said.code == 1
    assert "lofty is not on the PATH that terraform was started with" in " ".join(said.err.split())
    checked = Lofty(person.home, {**person.environ, "PATH": "/usr/bin:/bin"})
    found = checked("tf", "check", "--json", cwd=person.directory).json()
    wrong = [(one["what"], one["hint"]) for one in found if not one["ok"]]
    assert (
        "lofty is not on the PATH that terraform was started with",
        "open the environment where lofty is installed",
    ) in wrong


def test_another_lofty_on_path(person: Person) -> None:
    person.tf("install")
    person.lofty_is("echo usage; exit 2; :")
    assert ("usage", "install the same lofty where terraform finds it") in person.check()
    person.lofty_is("exit 2; :")
    ((what, _),) = person.check()
    assert what.endswith("/lofty does not serve terraform")


def test_nothing_is_installed(person: Person) -> None:
    wrong = person.check()
    assert wrong == [
        ("iterative/iterative: not installed", "lofty tf install"),
        ("lofty/lofty: not installed", "lofty tf install"),
    ]
    said = person.tf("check")
    assert said.code == 1
    assert "NO  iterative/iterative: not installed\n     try: lofty tf install\n" in said.out


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ('echo \'{"terraform_version": "0.14.11"}\'', "terraform 0.14.11 is too old"),
        ("echo nonsense", "does not tell its version"),
        ("exit 1", "does not tell its version"),
    ],
)
def test_a_terraform_that_will_not_do(person: Person, script: str, words: str) -> None:
    fake = person.programs / "terraform"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    found = [(what, hint) for what, hint in person.check() if words in what]
    assert [hint for _, hint in found] == ["install terraform 1.0 or newer"]


def test_no_terraform(person: Person) -> None:
    found = Lofty(person.home, {**person.environ, "PATH": str(person.programs)})("tf", "check", "--json").json()
    assert found[0] == {"ok": False, "what": "terraform is not on PATH", "hint": "install terraform 1.0 or newer"}


OWN = 'filesystem_mirror {{ path = "{plugins}" }}'


@pytest.mark.parametrize(
    ("settings", "hidden"),
    [
        ("", []),
        ('plugin_cache_dir = "/tmp/x"\ncredentials "a.b" { token = "}" }', []),
        ("provider_installation {\n  direct {}\n}", ["iterative/iterative", "lofty/lofty"]),
        ('provider_installation {\n  network_mirror { url = "https://x/" }\n}', ["iterative/iterative", "lofty/lofty"]),
        (f'provider_installation {{{{\n  {OWN}\n  direct {{{{ exclude = ["*/*"] }}}}\n}}}}', []),
        (f'provider_installation {{{{ {OWN[:-2]}\n include = ["iterative/*"] }}}} }}}}', ["lofty/lofty"]),
        (f'provider_installation {{{{ {OWN[:-2]}\n exclude = ["*/lofty"] }}}} }}}}', ["lofty/lofty"]),
        ("# provider_installation {\n# direct {}\n# }\n/* provider_installation { } */", []),
        ('provider_installation {\n  dev_overrides {\n    "iterative/iterative" = "/x"\n  }\n  direct {}\n}', None),
    ],
)  # fmt: skip
def test_settings_that_hide_it(person: Person, settings: str, hidden: list[str] | None) -> None:
    person.tf("install")
    text = settings.format(plugins=person.plugins) if "{plugins}" in settings else settings
    (person.home / ".terraformrc").write_text(text)
    wrong = person.check()
    if hidden is None:
        assert any("overrides iterative/iterative (dev_overrides)" in what for what, _ in wrong)
        return
    assert [what.rpartition(" ")[2] for what, _ in wrong] == hidden
    assert all("filesystem_mirror" in hint for _, hint in wrong)
    assert (person.terraform()("init").code == 0) == (hidden == [])


def test_the_hint_about_settings_works(person: Person) -> None:
    person.tf("install")
    rc = person.home / "other.rc"
    rc.write_text("provider_installation {\n}\n")
    hints = [hint for _, hint in person.check(TF_CLI_CONFIG_FILE=str(rc))]
    lines = [hint.split(": ", 1)[1] for hint in hints]
    rc.write_text("provider_installation {\n" + "\n".join(lines) + "\n}\n")
    assert person.check(TF_CLI_CONFIG_FILE=str(rc)) == []
    person.environ["TF_CLI_CONFIG_FILE"] = str(rc)
    person.terraform().ok("init")


@pytest.mark.parametrize("text", ["}", "{", "provider_installation", 'provider_installation { "', "{{{}}}}", "a = {}"])
def test_settings_that_are_broken(text: str) -> None:
    """Terraform itself says what is wrong with them."""
    assert methods(text) in (None, [])


def test_a_folder_beside_the_configuration_comes_first(person: Person) -> None:
    person.tf("install")
    (person.directory / "terraform.d/plugins/registry.terraform.io/iterative/iterative/0.11.20").mkdir(parents=True)
    ((what, hint),) = person.check()
    assert what.endswith("comes before lofty's own place")
    assert hint.startswith("move ")


def test_a_higher_version_beside_it(person: Person) -> None:
    person.tf("install")
    there = person.plugins / "registry.terraform.io/iterative/iterative/0.12.0"
    there.mkdir()
    ((what, _),) = person.check()
    assert what == "iterative/iterative 0.12.0 lies beside lofty's 0.11.100"


def test_the_real_provider_answers(start: Callable[..., Plugin]) -> None:
    plugin = start(sys.executable, "-m", "lofty", "tf", "serve")
    assert plugin.ask("GetProviderSchema")["diagnostics"] == []
    assert plugin.end() == 0
