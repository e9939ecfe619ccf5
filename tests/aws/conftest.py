"""An account in the emulated cloud: on the API alone, where nobody waits for what takes time, or with a person's
command line in front of machines that are real."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.aws.account import Account, hurry
from tests.cloudbox.cloud import Cloudbox
from tests.cloudbox.conftest import machines_here  # noqa: F401 (the fixture)
from tests.conftest import CACHE, Lofty


@pytest.fixture(scope="module")
def _api() -> Iterator[Cloudbox]:
    with Cloudbox(machines=False) as cloud:
        yield cloud


@pytest.fixture
def account(_api: Cloudbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    """A person's side of an empty account. Whatever a test does, the cloud itself does not fail."""
    _api.reset()
    hurry(_api)
    yield Account(_api, tmp_path, monkeypatch)
    assert _api.problems == []


@pytest.fixture(scope="module")
def _machines(machines_here: None) -> Iterator[Cloudbox]:  # noqa: F811
    with Cloudbox(wheels=CACHE / "wheels") as cloud:
        yield cloud


@pytest.fixture
def cloud(_machines: Cloudbox) -> Iterator[Cloudbox]:
    """The cloud, empty; the test runs in its network, and leaves nothing but the account's bucket with the agent."""
    _machines.reset()
    with _machines.inside():
        yield _machines
    assert left(_machines) == []


def left(cloud: Cloudbox) -> list[str]:
    """What there is in the account but its bucket and the agents in it."""
    return [one for one in cloud.leftovers() if not one.startswith("bucket lofty-") and "/agents/" not in one]


@pytest.fixture
def person(cloud: Cloudbox, lofty: Lofty) -> Lofty:
    """The command line of somebody with an account, whose cloud is AWS."""
    lofty.environ |= {**cloud.environ, "LOFTY_ON": "aws", "LOFTY_INDEX_URL": cloud.index_url}
    return lofty
