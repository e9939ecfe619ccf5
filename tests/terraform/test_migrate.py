"""From the predecessor's lock and state to lofty's, on a copy of what it leaves in a directory."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from lofty.terraform.migrate import olds
from tests.aws.account import Account
from tests.aws.conftest import _api, account  # noqa: F401 (fixtures)
from tests.conftest import Lofty

LOCK = """\
# This file is maintained automatically by "terraform init".

provider "registry.terraform.io/hashicorp/random" {
  version = "3.6.0"
  hashes = [
    "h1:aaaa=",
  ]
}

provider "registry.terraform.io/iterative/iterative" {
  version     = "0.11.20"
  constraints = "~> 0.11"
  hashes = [
    "h1:bbbb=",
    "zh:cccc",
  ]
}
"""
TASK = "tpi-test-3z4xlzwq-3u0vweb4"
PRIVATE = base64.b64encode(b'{"e2bfb730-ecaa-11e6-8f88-34363bc7c4c0":{"create":900000000000}}').decode()


def state(*instances: dict[str, Any], kind: str = "iterative_task") -> dict[str, Any]:
    provider = 'provider["registry.terraform.io/iterative/iterative"]'
    resource = {"mode": "managed", "type": kind, "name": "one", "provider": provider, "instances": list(instances)}
    return {
        "version": 4,
        "terraform_version": "1.5.0",
        "serial": 3,
        "lineage": "8f6d8b1e-6c5e-4c64-9a55-0f0a4d6e3c11",
        "outputs": {},
        "resources": [resource],
        "check_results": None,
    }


def instance(cloud: str = "aws", **more: Any) -> dict[str, Any]:
    values = {"id": TASK, "cloud": cloud, "region": "us-east", "script": "#!/bin/sh\n"}
    return {"schema_version": 0, "attributes": values, "private": PRIVATE, **more}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "configuration"
    made.mkdir()
    (made / "main.tf").write_text('resource "iterative_task" "one" {}\n')
    (made / ".terraform.lock.hcl").write_text(LOCK)
    return made


def test_what_is_ours_is_left_alone() -> None:
    ours = base64.b64encode(b'{"driver":"local","region":"here","id":"x","store":"file:///x"}').decode()
    found = list(olds(state(instance(index_key=0), instance(index_key="a", private=ours), instance(index_key="b"))))
    assert [one.address for one in found] == ["iterative_task.one[0]", 'iterative_task.one["b"]']
    assert list(olds({})) == list(olds({"resources": [{"mode": "data"}]})) == []


def test_a_lock_alone(directory: Path, lofty: Lofty) -> None:
    said = lofty.ok("tf", "migrate", directory)
    assert ".terraform.lock.hcl holds version 0.11.20 of the old provider" in said.out
    assert "nothing was changed; try: lofty tf migrate --yes" in said.err
    assert (directory / ".terraform.lock.hcl").read_text() == LOCK
    lofty.ok("tf", "migrate", directory, "--yes")
    left = (directory / ".terraform.lock.hcl").read_text()
    assert "iterative" not in left
    assert "hashicorp/random" in left
    assert (directory / ".terraform.lock.hcl.before-lofty").read_text() == LOCK
    assert "nothing of the old provider's is here" in lofty.ok("tf", "migrate", directory).err


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (state(instance("az")), "it cannot be looked for on az; end it with the old provider: terraform destroy"),
        (state({"attributes": {"id": "x"}}, kind="iterative_cml_runner"), "lofty has no iterative_cml_runner"),
    ],
)
def test_what_cannot_be_looked_for_has_to_be_ended_first(
    directory: Path, lofty: Lofty, found: dict[str, Any], says: str
) -> None:
    (directory / "terraform.tfstate").write_text(json.dumps(found))
    done = lofty("tf", "migrate", directory)
    assert done.code == 1
    assert says in done.out
    done = lofty("tf", "migrate", directory, "--yes")
    assert (done.code, "destroy, then lofty tf migrate again" in done.err) == (2, True)
    assert (directory / ".terraform.lock.hcl").read_text() == LOCK


def test_tasks_in_the_account_are_taken_over_and_those_that_are_gone_forgotten(
    directory: Path,
    account: Account,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from lofty.terraform import migrate

    (directory / "terraform.tfstate").write_text(json.dumps(state(instance())))
    client = account.computer()
    s3 = client.driver("aws")._clients.s3  # type: ignore[attr-defined]
    s3.create_bucket(Bucket=TASK)
    found = migrate.look(directory, client)
    assert not found.blocked
    assert found.verdicts[0].text.startswith("goes on (store; 0 running): lofty shows it from now on")
    s3.delete_bucket(Bucket=TASK)
    found = migrate.look(directory, client)
    assert not found.blocked
    assert "nothing is left of it in us-east" in found.verdicts[0].text
    done = migrate.carry_out(directory, found)
    assert done[0].startswith("taken out of .terraform.lock.hcl: version 0.11.20")


def test_a_folder_without_a_configuration(tmp_path: Path, lofty: Lofty) -> None:
    done = lofty("tf", "migrate", tmp_path)
    assert (done.code, "there is no configuration in" in done.err) == (2, True)
