"""Pages of comparisons in headless Chromium: offline, quiet, on a phone, in the dark, on paper, without JavaScript."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from test_report_browser import Visit, words
from test_report_compare import scan_readers

from spuraudit.record.folder import to_json, write_bytes
from spuraudit.report.compare_page import render_many, render_pair
from spuraudit.report.views.compare_pair import gather_pair

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("compared")
    scan_readers(root)
    pair = gather_pair(root / "frame", root / "tag")
    write_bytes(root / "comparison.json", to_json(pair.comparison))
    write_bytes(root / "pair.html", render_pair(pair).encode())
    runs = [root / name for name in ("frame", "object", "tag", "lonely")]
    write_bytes(root / "many.html", render_many(runs).encode())
    return {"pair": root / "pair.html", "many": root / "many.html"}


@pytest.mark.parametrize("kind", ["pair", "many"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opens_offline_without_request_or_complaint(
    browser: Any, pages: dict[str, Path], kind: str, scheme: str
) -> None:
    with Visit(browser, pages[kind], color_scheme=scheme) as visit:
        visit.scroll_through()
        assert visit.trouble == []


@pytest.mark.parametrize("kind", ["pair", "many"])
@pytest.mark.parametrize("width", [1024, 390, 320])
def test_no_sideways_scrolling(browser: Any, pages: dict[str, Path], kind: str, width: int) -> None:
    with Visit(browser, pages[kind], width=width) as visit:
        visit.page.evaluate("document.querySelectorAll('details').forEach(node => { node.open = true; })")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_first_screen_says_what_changed_and_which_is_which(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["pair"]) as visit:
        box = visit.page.locator(".sides").bounding_box()
        assert box["y"] + box["height"] < 900
        text = words(visit.page.inner_text("#verdict"))
        assert "B (tag-reader) relies less on" in text
        assert "A frame-reader" in text


def test_everything_is_there_without_javascript(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["pair"], js=False) as visit:
        text = words(visit.page.inner_text("main"))
        for part in ("+25.0 points", "Worse", "tag of red", "red/green", "What was not compared", "comparison.json"):
            assert part in text
        assert visit.page.locator(".pair-maps svg[role=img]:visible").count() >= 2
        assert visit.trouble == []


def test_classes_sort_by_keyboard(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["pair"]) as visit:
        head = visit.page.locator("#classes th", has_text="Class").first
        head.locator("button").focus()
        visit.page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "ascending"
        assert visit.page.locator("#classes tbody th").all_inner_texts() == ["blue", "green", "red"]


def test_on_a_phone_every_number_has_its_run_beside_it(browser: Any, pages: dict[str, Path]) -> None:
    names = (
        "[...document.querySelector('.fix-rows tbody tr').querySelectorAll('td.num')]"
        ".map(cell => getComputedStyle(cell, '::before').content)"
    )
    with Visit(browser, pages["pair"], width=390) as visit:
        assert visit.page.evaluate(names) == ['"A"', '"B"', '"change"', '"q"', '"n"']
    with Visit(browser, pages["many"], width=390) as visit:
        assert visit.page.evaluate(names) == ['"A"', '"B"', '"C"', '"n"']


def test_the_record_can_be_saved(browser: Any, pages: dict[str, Path], tmp_path: Path) -> None:
    with Visit(browser, pages["pair"], accept_downloads=True) as visit:
        with visit.page.expect_download() as waiting:
            visit.page.locator(".downloads a").first.click()
        waiting.value.save_as(tmp_path / "comparison.json")
    assert (tmp_path / "comparison.json").read_bytes() == pages["pair"].with_name("comparison.json").read_bytes()


def test_paper_is_not_widened(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["pair"], width=688) as visit:
        visit.page.emulate_media(media="print")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 688
