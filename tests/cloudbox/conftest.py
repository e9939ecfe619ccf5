"""One cloud for a module: the API alone, or with machines; empty and under default rules for every test."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cloudbox.cloud import Cloudbox
from tests.cloudbox.tools import missing
from tests.conftest import required


@pytest.fixture(scope="module")
def _api() -> Iterator[Cloudbox]:
    with Cloudbox(machines=False) as cloud:
        yield cloud


@pytest.fixture
def api(_api: Cloudbox) -> Iterator[Cloudbox]:
    """The API on loopback. Whatever a test does, the cloud itself does not fail."""
    _api.reset()
    yield _api
    assert _api.problems == []


@pytest.fixture
def scaling(api: Cloudbox) -> Any:
    return api.client("autoscaling")


@pytest.fixture
def ec2(api: Cloudbox) -> Any:
    return api.client("ec2")


@pytest.fixture
def s3(api: Cloudbox) -> Any:
    client = api.client("s3")
    client.create_bucket(Bucket="tasks")
    return client


@pytest.fixture(scope="session")
def machines_here() -> None:
    """Skips, or fails where they are required, without what machines need."""
    if reason := missing():
        (pytest.fail if required("cloudbox") else pytest.skip)(f"machines of a cloud: {reason}")


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one small wheel."""
    folder = tmp_path_factory.mktemp("wheels")
    with zipfile.ZipFile(folder / "tiny_tool-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_tool.py", "print('from the index')\n")
        wheel.writestr("tiny_tool-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-tool\nVersion: 1.0\n")
        wheel.writestr(
            "tiny_tool-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        names = ("tiny_tool.py", "tiny_tool-1.0.dist-info/METADATA", "tiny_tool-1.0.dist-info/WHEEL")
        record = "tiny_tool-1.0.dist-info/RECORD"
        wheel.writestr(record, "".join(f"{name},,\n" for name in (*names, record)))
    return folder


@pytest.fixture(scope="module")
def _cloud(machines_here: None, wheels: Path) -> Iterator[Cloudbox]:
    with Cloudbox(wheels=wheels) as cloud:
        yield cloud


@pytest.fixture
def cloud(_cloud: Cloudbox) -> Cloudbox:
    """The cloud with machines; the test itself is outside of its network."""
    _cloud.reset()
    return _cloud
