"""A person's first ten minutes: Lab, the classic page, TensorBoard; and what happens without the token."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from ..conftest import Lofty, eventually
from ..e2e.support import Workspace, lab, listed, make_folder, websocket, write_notebook
from .conftest import Visit


COLOURED = """canvas => {
  const copy = document.createElement("canvas");
  [copy.width, copy.height] = [canvas.width, canvas.height];
  const context = copy.getContext("2d");
  context.drawImage(canvas, 0, 0);
  const {data} = context.getImageData(0, 0, copy.width, copy.height);
  return data.filter((value, index) => index % 4 === 3 && value > 0).length;
}"""
"""How many points of a canvas are painted."""


def run_cell(page: Page, code: str, result: str) -> None:
    """Type into the last cell of the notebook in front, run it, and read what it says."""
    idle = page.locator(".jp-Notebook-ExecutionIndicator:visible").first
    expect(idle).to_have_attribute("data-status", "idle", timeout=40_000)
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
    expect(card).to_contain_text("0.9856")  # the last point's value, in the table beneath the curve
    expect(card.locator("line-chart .y-axis .ticks text").first).to_be_visible()
    eventually(lambda: card.locator("line-chart canvas").evaluate(COLOURED) > 200, 20)
