"""What a fresh machine unpacks before somebody can work: pinned by hash, and no more than is used. How long it takes
depends on the machine; how much it is does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import lofty
from lofty.model.spec import KERNEL, TOOLS

PACKAGE = Path(lofty.__file__).parent
AGENT = "agent/requirements.lock"


def pins(lock: str) -> dict[str, str]:
    """Versions by name."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (PACKAGE / lock).read_text(), re.MULTILINE))


@pytest.mark.parametrize("lock", [AGENT, TOOLS, KERNEL])
def test_everything_has_a_hash(lock: str) -> None:
    entries = re.split(r"^(?=\S)", (PACKAGE / lock).read_text(), flags=re.MULTILINE)
    entries = [entry for entry in entries if entry and entry[0] not in " #"]
    assert len(entries) > 10
    assert [entry for entry in entries if "==" not in entry or "--hash=sha256:" not in entry] == []


def test_the_agent_starts_with_little() -> None:
    assert len(pins(AGENT)) <= 12
    assert not {"boto3", "botocore"} & set(pins(AGENT)), "2,000 files, for one request at the end"


def test_jupyter_brings_no_kernel_of_its_own() -> None:
    """A kernel runs in the user's environment; in Jupyter's it would be half of the files."""
    assert not {"ipykernel", "ipython", "jedi", "debugpy", "ipywidgets"} & set(pins(TOOLS))
    assert {"ipykernel", "ipywidgets", "pip"} <= set(pins(KERNEL))


def test_the_two_halves_of_a_workspace_fit() -> None:
    tools, kernel = pins(TOOLS), pins(KERNEL)
    both = set(tools) & set(kernel)
    assert {"jupyterlab-widgets", "jupyter-client", "pyzmq"} <= both
    assert {name: tools[name] for name in both} == {name: kernel[name] for name in both}
