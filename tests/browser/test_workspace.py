"""A person's first ten minutes: Lab, the classic page, TensorBoard; and what happens without the token."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from ..conftest import Lofty
from ..e2e.support import Workspace, lab, listed, make_folder, websocket, write_notebook
from .conftest import Visit


def run_cell(page: Page, code: str, result: str) -> None:
    """Type into the active cell of the notebook in front, run it, and read what it says."""
    expect(page.locator(".jp-Notebook-ExecutionIndicator:visible").first).to_have_attribute(
        "data-status", "idle", timeout=40_000
    )
    cell = page.locator(".jp-Notebook:visible .jp-CodeCell").last
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.type(code)
    page.keyboard.press("Control+Enter")
    expect(cell.locator(".jp-OutputArea-output").last).to_have_text(result, timeout=30_000)


def save_as(page: Page, name: str) -> None:
    """Save a new notebook; Lab asks for its name."""
    page.keyboard.press("Escape")
    page.keyboard.press("Control+s")
    dialog = page.locator(".jp-Dialog")
    dialog.get_by_role("textbox").fill(name)
    dialog.locator(".jp-mod-accept").click()
    expect(dialog).to_have_count(0)


def test_lab_notebook_and_tensorboard_at_one_address(lofty: Lofty, visit: Visit, curves: Path) -> None:
    workspace = lab(lofty, curves)

    page = visit.page(workspace.url)
    page.locator('.jp-LauncherCard[data-category="Notebook"]').first.click()
    run_cell(page, "print(6*7)", "42")
    save_as(page, "answer.ipynb")
    saved = curves / "answer.ipynb"
    expect(page.locator(".jp-DirListing-item[title*='answer.ipynb']")).to_be_visible()
    assert json.loads(saved.read_text())["cells"][0]["outputs"][0]["text"] == ["42\n"]

    tree = visit.page(workspace.notebook_url)
    with visit.context.expect_page() as opened:
        tree.locator(".jp-DirListing-item", has_text="answer.ipynb").dblclick()
    classic = opened.value
    run_cell(classic, "print(6*8)", "48")

    board = visit.page(workspace.tensorboard_url)
    card = board.locator("scalar-card").first
    expect(card).to_contain_text("accuracy", timeout=60_000)
    card.scroll_into_view_if_needed()
    curve = card.locator("line-chart canvas, line-chart svg.chart-view, line-chart").first
    expect(curve).to_be_visible()
    import os
    if os.environ.get("X"):
        board.wait_for_timeout(2000)
        board.screenshot(path="/tmp/tb.png")
        open("/tmp/tb.html","w").write(card.evaluate("e => e.outerHTML"))
        page.screenshot(path="/tmp/lab.png"); classic.screenshot(path="/tmp/nb.png"); tree.screenshot(path="/tmp/tree.png")
    drawn = curve.screenshot()
    assert len(set(drawn)) > 50
    assert "first" in board.locator("body").inner_text()
