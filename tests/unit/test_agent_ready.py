"""Getting ready on a machine: what does not depend on each other goes on at the same time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from lofty.agent import environment
from lofty.agent.main import Agent
from lofty.errors import EnvironmentFailed
from lofty.model.spec import TOOLS, Need, TaskSpec

SPEC = TaskSpec(
    id="lofty-a-1", name="a", owner="ada", kind="workspace", created=0, on="aws", processes=(), need=Need(),
    tools=TOOLS, kernel=True,
)  # fmt: skip
USER = environment.UserEnvironment(Path("/user/bin/python"), "requirements.txt", None, ())


class Told:
    """The agent's report, kept in memory."""

    def __init__(self) -> None:
        self.stages: list[str] = []

    def stage(self, name: str) -> None:
        self.stages.append(name)

    def end_stage(self, note: str = "") -> None:
        pass


def agent(tmp_path: Path, fetch: Any) -> Any:
    one: Any = Agent.__new__(Agent)
    order = type("Order", (), {"cache": str(tmp_path), "state": str(tmp_path)})
    one._spec, one._order, one._report, one._run_folder = SPEC, order, Told(), tmp_path
    one._fetch_files = fetch
    return one


def test_jupyter_waits_neither_for_files_nor_for_the_users_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def prepared() -> Any:
        tools, user = asyncio.Event(), asyncio.Event()

        async def make_tools(lock: Path, cache: Path) -> Path:
            tools.set()
            await user.wait()
            return Path("/tools/bin/python")

        async def fetch() -> Path:
            await tools.wait()
            return tmp_path

        async def make_user(*_: Any, **__: Any) -> environment.UserEnvironment:
            user.set()
            return USER

        monkeypatch.setattr(environment, "make_tools", make_tools)
        monkeypatch.setattr(environment, "make_user", make_user)
        async with asyncio.timeout(5):
            return await agent(tmp_path, fetch)._prepare()

    assert asyncio.run(prepared()).tools == Path("/tools/bin/python")


def test_what_is_under_way_ends_with_what_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    async def make_tools(lock: Path, cache: Path) -> Path:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("tools")
        raise AssertionError

    async def fetch() -> Path:
        await asyncio.sleep(0)
        raise EnvironmentFailed("the files are not to be had")

    monkeypatch.setattr(environment, "make_tools", make_tools)
    with pytest.raises(EnvironmentFailed, match="not to be had"):
        asyncio.run(agent(tmp_path, fetch)._prepare())
    assert ended == ["tools"]
