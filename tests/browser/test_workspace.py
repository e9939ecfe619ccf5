"""A person's first ten minutes: Lab, the classic page, TensorBoard; and what happens without the token."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, expect

from ..conftest import Lofty, eventually
from ..e2e.support import Workspace, lab, make_folder, websocket, write_notebook
from .conftest import COLOURED, Visit, run_cell


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
    # The list of files looks again every ten seconds.
    expect(page.locator(".jp-DirListing-item[title*='answer.ipynb']")).to_be_visible(timeout=20_000)
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


def test_a_notebook_is_opened_by_its_name(lofty: Lofty, visit: Visit, tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "work")
    (folder / "more").mkdir()
    book = write_notebook(folder / "more/my book.ipynb", "6*7")
    facts = lofty.ok("notebook", book, "-d", "--json", cwd=folder).json()
    assert facts["directory"] == str(folder)
    page = visit.page(facts["url"])
    expect(page.locator(".jp-Notebook:visible .jp-CodeCell .cm-content")).to_have_text("6*7", timeout=40_000)
    classic = visit.page(facts["notebook_url"])
    run_cell(classic, "print(6*7)", "42")
    again = lofty.ok("lab", folder, "-d", "--json").json()
    assert again["id"] == facts["id"], "the same workspace"


PAGES = ("lab", "tree", "tensorboard/", "lofty/")
CONTENT = ("jupyter-config-data", "tf-tensorboard", "tensorboard.css", "lofty-panel", "answer.ipynb")


def test_no_page_shows_anything_without_the_token(lofty: Lofty, stranger: BrowserContext, curves: Path) -> None:
    workspace = lab(lofty, curves)
    wrong = lab(lofty, make_folder(curves.parent, "other"))
    await_board(workspace)
    for query in ("", "?token=wrong", f"?token={wrong.token}"):
        for path in PAGES:
            page = stranger.new_page()
            answer = page.goto(f"{workspace.site}/{path}{query}")
            assert answer is not None
            assert re.fullmatch(rf"{workspace.site}/login\?next=.*", page.url), page.url
            expect(page.locator("#password_input")).to_be_visible()
            text = page.content()
            assert not [word for word in CONTENT if word in text], path
            page.close()
    cookies = {cookie.get("name", "") for cookie in stranger.cookies()}
    assert not [name for name in cookies if name.startswith("username-")], "a login without a token"


def await_board(workspace: Workspace) -> None:
    """Until TensorBoard itself answers."""
    eventually(lambda: workspace.ask("GET", "tensorboard/data/runs").body.startswith(b"["), 60)


REFUSED = (
    ("GET", "lab", 302),
    ("GET", "tree", 302),
    ("GET", "tensorboard/", 302),
    ("GET", "tensorboard/data/runs", 302),
    ("GET", "tensorboard/data/plugins_listing", 302),
    ("POST", "tensorboard/data/plugin/timeseries/timeSeries", 403),
    ("GET", "proxy/1/", 302),
    ("GET", "lofty/", 302),
    ("GET", "lofty/api/status", 403),
    ("GET", "lofty/api/activity", 403),
    ("POST", "lofty/api/stop", 403),
    ("POST", "lofty/api/keep", 403),
    ("POST", "api/shutdown", 403),
    ("GET", "api/status", 403),
    ("GET", "api/contents", 403),
    ("GET", "files/secret.txt", 302),
    ("POST", "api/kernels", 403),
    ("POST", "api/terminals", 403),
    ("PUT", "api/contents/evil.txt", 403),
    ("DELETE", "api/contents/secret.txt", 403),
)


def test_no_request_is_answered_without_the_token(lofty: Lofty, curves: Path) -> None:
    (curves / "secret.txt").write_text("do not show me")
    workspace = lab(lofty, curves)
    other = lab(lofty, make_folder(curves.parent, "other"))
    await_board(workspace)
    kernel, terminal = workspace.kernel(), workspace.ask("POST", "api/terminals").json()["name"]
    sockets = (f"api/kernels/{kernel.id}/channels", f"terminals/websocket/{terminal}", "api/events/subscribe")
    for token in (None, "wrong", other.token, workspace.token[:-1], workspace.token.swapcase()):
        for method, path, status in REFUSED:
            answer = workspace.ask(method, path, token=token, body={} if method in ("POST", "PUT") else None)
            assert answer.status == status, (method, path, token, answer)
            if status == 302:
                assert answer.headers["location"].startswith(f"/{workspace.name}/login?next="), answer
            for word in (b"do not show me", b"runs/first", workspace.token.encode()):
                assert word not in answer.body, (method, path)
        for path in sockets:
            assert websocket(workspace.port, f"/{workspace.name}/{path}", token) == 403, path
    made = websocket(workspace.port, f"/{workspace.name}/{sockets[0]}", workspace.token)
    assert not isinstance(made, int), "with the token it opens: the refusals above mean something"
    made.close()
    assert workspace.answers(), "something above has stopped it"
    assert (curves / "secret.txt").exists()
    assert not (curves / "evil.txt").exists()
    assert len(workspace.ask("GET", "api/kernels").json()) == 1


def test_a_login_is_not_enough_to_stop_from_another_site(lofty: Lofty, visit: Visit, curves: Path) -> None:
    """What a malicious page could make the browser send: the cookies, without the XSRF token."""
    workspace = lab(lofty, curves)
    visit.page(workspace.url)
    cookies = visit.context.cookies()
    header = "; ".join(f"{cookie.get('name')}={cookie.get('value')}" for cookie in cookies)
    assert workspace.ask("GET", "api/status", token=None, Cookie=header).status == 200, "the cookies are a login"
    for path in ("lofty/api/stop", "lofty/api/keep", "api/shutdown"):
        evil = "http://evil.example"
        answer = workspace.ask("POST", path, token=None, Cookie=header, Origin=evil, Referer=f"{evil}/")
        assert answer.status in (403, 404), path
        assert workspace.ask("POST", path, token=None, Cookie=header).status == 403, path
    assert workspace.answers()


def test_two_workspaces_side_by_side_in_one_browser(lofty: Lofty, visit: Visit, tmp_path: Path) -> None:
    """Browsers keep one set of cookies for all ports of an address."""
    pages = []
    for name in ("left", "right"):
        folder = make_folder(tmp_path, name)
        write_notebook(folder / "book.ipynb", "1")
        workspace = lab(lofty, folder)
        pages.append((workspace, visit.page(workspace.page("lab/tree/book.ipynb")), folder))
    for turn in range(2):
        for workspace, page, folder in pages:
            run_cell(page, f"print('{workspace.name}', 6*{turn})", f"{workspace.name} {6 * turn}")
            page.keyboard.press("Escape")
            page.keyboard.press("Control+s")  # a PUT, which the XSRF cookie of the right workspace has to allow
            saved = folder / "book.ipynb"
            eventually(functools.partial(holds, saved, f"6*{turn})"), 20)
            assert page.evaluate(KEEP, f"/{workspace.name}/lofty/api/keep") == 200
            page.reload()
    for workspace, page, _ in pages:
        assert page.url.startswith(workspace.site), page.url
        assert workspace.answers()


def holds(path: Path, text: str) -> bool:
    """Whether a file has come to hold a text."""
    return text in path.read_text()


KEEP = """async path => {
  const xsrf = document.cookie.split("; ").find(each => each.startsWith("_xsrf="))?.slice(6);
  return (await fetch(path, {method: "POST", headers: {"X-XSRFToken": xsrf}})).status;
}"""
