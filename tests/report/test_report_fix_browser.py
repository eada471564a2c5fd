"""The page of a fix in headless Chromium: offline, quiet, on a phone, in the dark, on paper, without JavaScript."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import toy_fix
from test_report_browser import Visit, words

from spuraudit.record.folder import write_bytes
from spuraudit.report.fix_page import render_fix

pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fix")
    toy_fix.write_fix(root / "fix", toy_fix.draw(root / "data"))
    write_bytes(root / "fix/report.html", render_fix(root / "fix").encode())
    return root / "fix/report.html"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opens_offline_without_request_or_complaint(browser: Any, page: Path, scheme: str) -> None:
    with Visit(browser, page, color_scheme=scheme) as visit:
        visit.scroll_through()
        assert visit.trouble == []


@pytest.mark.parametrize("width", [1024, 390, 320])
def test_no_sideways_scrolling(browser: Any, page: Path, width: int) -> None:
    with Visit(browser, page, width=width) as visit:
        visit.page.evaluate("document.querySelectorAll('details').forEach(node => { node.open = true; })")
        visit.scroll_through()
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


def test_what_got_worse_is_on_the_first_screen(browser: Any, page: Path) -> None:
    with Visit(browser, page) as visit:
        box = visit.page.locator(".got-worse").bounding_box()
        assert box["y"] + box["height"] < 900
        assert visit.page.locator(".got-worse li").count() == 3


def test_everything_is_there_without_javascript(browser: Any, page: Path) -> None:
    with Visit(browser, page, js=False) as visit:
        text = words(visit.page.inner_text("main"))
        for said in ("Verdict: gained", "Worse", "Worst-group accuracy", "blue/red", "What it cost", "fix.json"):
            assert said in text
        assert visit.page.locator("#training svg[role=img]:visible").count() == 3
        assert visit.trouble == []


def test_on_a_phone_every_number_has_its_arm_beside_it(browser: Any, page: Path) -> None:
    with Visit(browser, page, width=390) as visit:
        names = visit.page.evaluate(
            "[...document.querySelector('.fix-rows tbody tr').querySelectorAll('td.num')]"
            ".map(cell => getComputedStyle(cell, '::before').content)"
        )
        assert names == ['"before"', '"control"', '"fixed"', '"beyond control"', '"n ="']


def test_the_record_can_be_saved(browser: Any, page: Path, tmp_path: Path) -> None:
    with Visit(browser, page, accept_downloads=True) as visit:
        with visit.page.expect_download() as waiting:
            visit.page.locator(".downloads a").click()
        waiting.value.save_as(tmp_path / "fix.json")
        assert waiting.value.suggested_filename == "fix.json"
    assert (tmp_path / "fix.json").read_bytes() == page.with_name("fix.json").read_bytes()


def test_paper_is_not_widened(browser: Any, page: Path) -> None:
    with Visit(browser, page, width=688) as visit:
        visit.page.emulate_media(media="print")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 688
