"""What a person sees in a browser while the machine behind an address is away."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from lofty.store.base import Store
from lofty.store.records import Records

from ..conftest import browser
from .conftest import Site

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def test_an_address_tells_how_its_machine_stands_and_opens_by_itself(site: Site) -> None:
    machine, port = site.lab()
    records = Records(Store(site.store.as_uri()))
    with browser() as chromium:
        page = chromium.new_page()
        page.goto(f"http://127.0.0.1:{port}/project/lab")
        expect(page.locator("body")).to_have_text("first")
        (status,) = records.machines()
        status.state, status.reason = "pending", "its machine was taken away; another one is asked for"
        records.put_machine(status)
        machine.kill()
        shown = page.reload()
        assert shown is not None and shown.status == 503
        expect(page.locator("h1")).to_have_text("project is getting a machine", timeout=15_000)
        expect(page.locator("body")).to_contain_text("another one is asked for")
        status.state, status.reason = "running", ""
        records.put_machine(status)
        site.publish(site.machine("second"))
        expect(page.locator("body")).to_have_text("second", timeout=20_000)
        assert page.url == f"http://127.0.0.1:{port}/project/lab"
