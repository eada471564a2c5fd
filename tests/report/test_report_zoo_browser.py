"""The zoo's page in headless Chromium: offline, quiet, readable without JavaScript, on a phone and on paper."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import sample_zoo
from test_report_browser import Visit, words

from spuraudit.record.folder import write_bytes
from spuraudit.report.zoo_page import render_zoo

pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
pytestmark = pytest.mark.browser

KINDS = ("paper", "plain", "single", "awkward", "hostile")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("zoos")
    out = {}
    for kind in KINDS:
        folder = getattr(sample_zoo, f"{kind}_zoo")(root / kind)
        out[kind] = root / f"{kind}.html"
        write_bytes(out[kind], render_zoo(folder).encode())
    return out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opens_offline_without_request_or_complaint(
    browser: Any, pages: dict[str, Path], kind: str, scheme: str
) -> None:
    with Visit(browser, pages[kind], color_scheme=scheme) as visit:
        visit.scroll_through()
        assert visit.page.locator("#theme").is_visible()
        assert visit.trouble == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [390, 320])
def test_no_sideways_scrolling_on_a_phone(browser: Any, pages: dict[str, Path], kind: str, width: int) -> None:
    with Visit(browser, pages[kind], width=width) as visit:
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


def test_everything_is_there_without_javascript(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["paper"], js=False) as bare:
        text = words(bare.page.inner_text("main"))
        for said in (
            "40 models were evaluated on drawn birds",
            "2 models failed.",
            "Swin-B/4 Window7",
            "40 of 40",
            "Kendall’s τ",
            "features.csv",
        ):
            assert said in text
        assert bare.page.locator("svg[role=img]:visible").count() >= 6 + 40
        assert bare.page.locator("table.zoo-models tbody tr:visible").count() == 42
        assert bare.trouble == []


def test_the_table_of_models_sorts_by_its_numbers(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["paper"]) as visit:
        visit.page.locator("table.zoo-models thead button", has_text="Core, %").click()
        cells = visit.page.locator("table.zoo-models tbody tr td:nth-child(4) strong").all_inner_texts()
        numbers = [float(cell) for cell in cells[:-2]]
        assert numbers == sorted(numbers)
        assert cells[-2:] == ["–", "–"]


def test_the_csv_can_be_saved(browser: Any, pages: dict[str, Path], tmp_path: Path) -> None:
    with Visit(browser, pages["paper"]) as visit:
        with visit.page.expect_download() as waiting:
            visit.page.locator("a[download='zoo.csv']").click()
        assert waiting.value.suggested_filename == "zoo.csv"
        waiting.value.save_as(tmp_path / "zoo.csv")
    with (tmp_path / "zoo.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 42


def test_all_columns_of_models_fit_a_desktop(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["paper"], width=1200) as visit:
        box = visit.page.locator(".scroll:has(table.zoo-models)")
        assert box.evaluate("box => box.scrollWidth - box.clientWidth") == 0


def test_a_table_that_goes_on_has_a_shadow_at_its_edge(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["paper"], width=390) as visit:
        box = visit.page.locator(".scroll:has(table.zoo-models)")
        assert box.evaluate("box => box.scrollWidth > box.clientWidth")
        assert "scroll" in box.evaluate("box => getComputedStyle(box).backgroundAttachment")


@pytest.mark.parametrize("kind", ["plain", "paper"])
def test_paper_is_not_widened_by_charts_and_tables(browser: Any, pages: dict[str, Path], kind: str) -> None:
    with Visit(browser, pages[kind], width=688) as visit:
        visit.page.emulate_media(media="print")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 688
