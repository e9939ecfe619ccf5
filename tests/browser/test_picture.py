"""The picture in the README: taken from a real workspace, `LOFTY_PICTURE=1 pytest tests/browser/test_picture.py`."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from playwright.sync_api import expect

from ..conftest import ROOT, Lofty
from ..e2e.support import lab
from .conftest import Visit, await_idle


def test_the_quickstart_runs_and_looks_good(lofty: Lofty, visit: Visit, tmp_path: Path) -> None:
    folder = tmp_path / "quickstart"
    shutil.copytree(
        ROOT / "examples" / "quickstart", folder, ignore=shutil.ignore_patterns("runs", "*.executed.*", ".ip*")
    )
    workspace = lab(lofty, folder, "--timeout", "8h")
    page = visit.page(workspace.page("lab/tree/quickstart.ipynb"))
    await_idle(page)
    first = page.locator(".jp-CodeCell .jp-InputPrompt").first
    for _ in range(5):  # as run_cell does: Lab drops what comes before it has joined itself to the kernel
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        with contextlib.suppress(AssertionError):
            expect(first).not_to_have_text("[ ]:", timeout=5_000)
            break
    plot = page.locator(".jp-OutputArea-output img").last
    expect(plot).to_be_visible(timeout=90_000)
    await_idle(page)
    assert plot.evaluate("image => image.naturalWidth") > 400
    assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    expect(page.locator("#lofty-panel")).to_contain_text("left")
    assert list(folder.glob("runs/*/events*")), "TensorBoard has something to draw"
    if os.environ.get("LOFTY_PICTURE") != "1":
        return
    page.keyboard.press("Control+s")
    page.get_by_role("button", name="Refresh the file browser").click()
    page.locator(".jp-DirListing-item", has_text="runs").wait_for()
    plot.evaluate("image => image.scrollIntoView({block: 'end'})")
    page.mouse.move(640, 798)
    expect(page.locator(".jp-DirListing-item", has_text="quickstart.ipynb")).to_contain_text("now")
    expect(page.locator(".jp-Toolbar-kernelStatus, .jp-Notebook-ExecutionIndicator").first).to_be_visible()
    expect(plot).to_be_in_viewport(ratio=0.99)
    expect(page.get_by_text("Saving completed")).to_have_count(0, timeout=15_000)
    page.screenshot(path=ROOT / "docs" / "workspace.png")
