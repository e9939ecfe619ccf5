"""The panel: how it stands, how long it will, and the end; and what an open page does over a stop and a start."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from ..conftest import Lofty, eventually
from ..e2e.support import Workspace, lab, listed, make_folder, port_free, printed, processes, write_notebook
from .conftest import Visit, run_cell

GONE = (
    r"ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|NetworkError|Failed to fetch|WebSocket connection"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a notebook."""
    made = make_folder(tmp_path, "digits")
    write_notebook(made / "book.ipynb", "print('before')")
    return made


def seconds_left(item: Locator) -> int:
    """What the panel says, as a number."""
    found = re.search(r"(?:(\d+):)?(\d+):(\d\d)", item.inner_text())
    assert found, item.inner_text()
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


def assert_ended(lofty: Lofty, workspace: Workspace) -> None:
    """It has really stopped, and says why."""
    eventually(lambda: listed(lofty, workspace.name)["state"] == "stopped", 20)
    assert listed(lofty, workspace.name)["reason"] == "stopped from the panel"
    eventually(lambda: not processes(lofty), 5)
    assert port_free(workspace.port)


def test_the_status_bar_tells_how_it_stands_and_for_how_long(lofty: Lofty, visit: Visit, folder: Path) -> None:
    workspace = lab(lofty, folder, "--timeout", "1h")
    item = visit.page(workspace.url).locator("#lofty-panel")
    expect(item).to_contain_text("running", timeout=30_000)
    expect(item).to_contain_text("left")
    expect(item).to_contain_text("$0.00")
    first, began = seconds_left(item), time.monotonic()
    assert 3500 < first <= 3600
    eventually(lambda: seconds_left(item) <= first - 3, 10)
    passed = time.monotonic() - began
    assert abs((first - seconds_left(item)) - passed) < 2.5, "a second on the panel is a second"
    lofty.ok("extend", workspace.name, "10m")
    eventually(lambda: 500 < seconds_left(item) <= 600, 15)


def test_without_a_limit_there_is_no_time_left(lofty: Lofty, visit: Visit, folder: Path) -> None:
    item = visit.page(lab(lofty, folder).url).locator("#lofty-panel")
    expect(item).to_have_text("● running · $0.00", timeout=30_000)


def test_stop_in_lab(lofty: Lofty, visit: Visit, folder: Path) -> None:
    visit.expect(GONE)
    workspace = lab(lofty, folder)
    page = visit.page(workspace.page("lab/tree/book.ipynb"))
    run_cell(page, "print('unsaved')", "unsaved")
    page.locator("#lofty-panel").click()
    dialog = page.locator(".jp-Dialog")
    expect(dialog).to_contain_text("Workspace digits")
    dialog.get_by_role("button", name="Stop…").click()
    expect(dialog).to_contain_text("Stop this workspace?")
    dialog.get_by_role("button", name="Cancel").click()
    expect(dialog).to_have_count(0)
    assert workspace.answers(), "Cancel stops nothing"

    page.locator("#lofty-panel").click()
    dialog.get_by_role("button", name="Stop…").click()
    dialog.get_by_role("button", name="Stop workspace").click()
    expect(page.locator("body")).to_contain_text("This workspace has ended", timeout=30_000)
    expect(page.locator("body")).to_contain_text("lofty start digits")
    assert_ended(lofty, workspace)
    assert printed(folder / "book.ipynb") == ["unsaved\n"], "what was open was saved before"


def test_stop_from_the_plain_page_that_notebook_leads_to(lofty: Lofty, visit: Visit, folder: Path) -> None:
    visit.expect(GONE)
    workspace = lab(lofty, folder, "--timeout", "2h")
    classic = visit.page(workspace.notebook_url)
    item = classic.locator("#lofty-panel")
    expect(item).to_contain_text("running", timeout=30_000)
    with visit.context.expect_page() as opened:
        item.click()
    page = opened.value
    assert page.url.startswith(f"{workspace.site}/lofty/")
    expect(page.locator("#state")).to_have_text("running")
    first = seconds_left(page.locator("#left"))
    assert 7000 < first <= 7200
    eventually(lambda: seconds_left(page.locator("#left")) < first, 5)
    page.locator("#stop").click()
    page.locator("#no").click()
    assert workspace.answers(), "Cancel stops nothing"
    page.locator("#stop").click()
    page.locator("#yes").click()
    expect(page.locator("#ended")).to_contain_text("This workspace has ended", timeout=30_000)
    assert_ended(lofty, workspace)


def test_an_open_page_lives_on_over_stop_and_start(lofty: Lofty, visit: Visit, folder: Path) -> None:
    visit.expect(GONE)
    visit.expect(r"40[0-9]|50[0-9]|Kernel|kernel|Session")  # while it is away, and for the kernel that is gone
    workspace = lab(lofty, folder)
    page = visit.page(workspace.page("lab/tree/book.ipynb"))
    run_cell(page, "print('before the stop')", "before the stop")
    page.keyboard.press("Escape")
    page.keyboard.press("Control+s")
    eventually(lambda: "before the stop" in (folder / "book.ipynb").read_text())

    lofty.ok("stop", workspace.name)
    assert not workspace.answers()
    again = lofty.ok("start", workspace.name, "--json").json()
    assert again["url"] == workspace.url

    assert printed(folder / "book.ipynb") == ["before the stop\n"]
    revive(page)
    run_cell(page, "print('after the start')", "after the start")
    assert "login" not in page.url
    fresh = visit.page(f"{workspace.site}/tree")
    expect(fresh.locator(".jp-DirListing-item", has_text="book.ipynb")).to_be_visible()


def revive(page: Page) -> None:
    """What a person does with the page they left open: close what it complains of, and choose a kernel again, for the
    old one went with the machine."""
    expect(page.locator("#lofty-panel")).to_contain_text("running", timeout=30_000)
    dialog, light = page.locator(".jp-Dialog"), page.locator(".jp-Notebook-ExecutionIndicator:visible").first
    for _ in range(4):
        while dialog.count():
            dialog.last.locator("button", has_text=re.compile("Close|Ok|Cancel")).first.click()
        if light.get_attribute("data-status") == "idle":
            return
        page.locator(".jp-Toolbar-kernelName:visible").click()
        dialog.locator("button.jp-mod-accept").click()
        with contextlib.suppress(AssertionError):
            expect(light).to_have_attribute("data-status", "idle", timeout=6_000)
