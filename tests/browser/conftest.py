"""A real Chromium, driven as a person drives it, that keeps count of whom it asked and what it complained about."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    WebSocket,
    expect,
)

from ..e2e.conftest import lofty  # noqa: F401 (the fixture)

HARMLESS = (
    r"font-roboto/",  # TensorBoard's page asks for some fonts that its package lacks
    r"Cannot read properties of undefined \(reading 'schema'\)",  # Notebook 7.6 by itself, on every page
    r"Cannot read properties of null \(reading 'updateRenderOption'\)",  # likewise
    r"Command 'filebrowser:open-path' not registered",  # Notebook, where Lab has the notebook open in another tab
    r"Comm not found for comm id",  # two pages on one kernel
    # Jupyter lists a folder file by file, and gives up when one is renamed meanwhile; Lab asks again by itself.
    r"status of 404 \(Not Found\) \(\S+/api/contents\?content=1",
    r"Directory not found: \"\"",
)
"""What the same pages complain of when served by a bare `jupyter lab`; looked at one by one."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder drives the browser."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.xdist_group("browser"))


COLOURED = """canvas => {
  const copy = document.createElement("canvas");
  [copy.width, copy.height] = [canvas.width, canvas.height];
  const context = copy.getContext("2d");
  context.drawImage(canvas, 0, 0);
  const {data} = context.getImageData(0, 0, copy.width, copy.height);
  return data.filter((value, index) => index % 4 === 3 && value > 0).length;
}"""
"""How many points of a canvas are painted."""


def await_idle(page: Page) -> None:
    """The notebook in front has a kernel that waits for work."""
    # Without a kernel the light says idle too.
    expect(page.locator(".jp-Toolbar-kernelName:visible").first).to_contain_text("Python 3", timeout=40_000)
    light = page.locator(".jp-Notebook-ExecutionIndicator:visible").first
    expect(light).to_have_attribute("data-status", "idle", timeout=40_000)


def run_cell(page: Page, code: str, result: str) -> None:
    """Type into the last cell of the notebook in front, run it, and read what it says."""
    await_idle(page)
    cell = page.locator(".jp-Notebook:visible .jp-CodeCell").last
    prompt = cell.locator(".jp-InputPrompt").first
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(code)
    before = prompt.inner_text()
    for _ in range(5):  # the page may still be joining itself to the kernel, and then drops the key
        page.keyboard.press("Control+Enter")
        try:
            expect(prompt).not_to_have_text(before, timeout=4_000)
            break
        except AssertionError:
            continue
    expect(cell.locator(".jp-OutputArea-output").last).to_have_text(result, timeout=30_000)


class Visit:
    """One browser profile, and what its pages did."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.asked: set[str] = set()
        """Hosts."""
        self.complaints: list[str] = []
        self._expected = list(HARMLESS)
        context.set_default_timeout(30_000)
        context.on("request", self._request)
        context.on("console", self._console)
        context.on("response", self._response)
        context.on("weberror", lambda error: self.complaints.append(f"uncaught: {error.error}"))
        context.on("page", lambda page: page.on("websocket", self._websocket))

    def _request(self, request: Request) -> None:
        if urlsplit(request.url).scheme in ("http", "https"):
            self.asked.add(urlsplit(request.url).hostname or request.url)

    def _response(self, response: Response) -> None:
        if response.status >= 500:
            self.complaints.append(f"{response.status} {response.request.method} {response.url}")

    def _websocket(self, socket: WebSocket) -> None:
        self.asked.add(urlsplit(socket.url).hostname or socket.url)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} ({message.location['url']})")

    def expect(self, pattern: str) -> None:
        """From now on, and looking back, a complaint that fits means nothing: the test caused it."""
        self._expected.append(pattern)

    def page(self, url: str) -> Page:
        """A new tab."""
        page = self.context.new_page()
        page.goto(url)
        return page

    def check(self) -> None:
        """No other host was asked, and no complaint matters."""
        assert self.asked <= {"127.0.0.1"}, self.asked
        serious = [text for text in self.complaints if not any(re.search(one, text) for one in self._expected)]
        assert not serious, "\n".join(serious)


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Visit]:
    """A fresh profile; whatever the test does, its pages may ask nobody else and must not break."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    made = Visit(context)
    yield made
    context.close()
    made.check()


@pytest.fixture
def stranger(chromium: Browser) -> Iterator[BrowserContext]:
    """A profile that has never seen a token."""
    context = chromium.new_context()
    context.set_default_timeout(15_000)
    yield context
    context.close()


WRITER = """
import sys
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
writer = EventFileWriter(sys.argv[1])
for step in range(20):
    value = Summary.Value(tag="accuracy", simple_value=1 - 0.8 ** step)
    writer.add_event(Event(step=step, wall_time=1700000000 + step, summary=Summary(value=[value])))
writer.close()
"""


@pytest.fixture
def curves(jupyter_python: Path, tmp_path: Path) -> Path:
    """A folder with the notes of a training, as TensorBoard reads them."""
    folder = tmp_path / "digits"
    (folder / "runs").mkdir(parents=True)
    subprocess.run([jupyter_python, "-c", WRITER, str(folder / "runs" / "first")], check=True, timeout=60)
    return folder
