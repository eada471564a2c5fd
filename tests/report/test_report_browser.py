"""The page in headless Chromium: offline, quiet, readable without JavaScript, on a phone and on paper."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import sample_run

from spuraudit.report import write

pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
pytestmark = pytest.mark.browser

KINDS = ("birds", "digits", "adaptive", "healthy", "hostile")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pages")
    runs = {
        "birds": sample_run.birds_run(root / "birds", sample_run.verdict("fail", "pass")),
        "digits": sample_run.digits_run(root / "digits"),
        "adaptive": sample_run.adaptive_run(root / "adaptive"),
        "healthy": sample_run.healthy_run(root / "healthy", sample_run.verdict("pass")),
        "hostile": sample_run.hostile_run(root / "hostile"),
        "thousand": sample_run.thousand_run(root / "thousand"),
    }
    return {name: write(run, root / f"{name}.html") for name, run in runs.items()}


class Visit:
    """A page opened with the network off, and everything it asked for or complained about."""

    def __init__(self, browser: Any, file: Path, *, width: int = 1280, js: bool = True, **options: Any) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, java_script_enabled=js, offline=True, **options
        )
        self.page = self.context.new_page()
        self.trouble: list[str] = []
        self.page.on("console", lambda message: self.trouble.append(f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self.trouble.append(f"error: {error}"))
        self.page.on("dialog", lambda dialog: self._dialog(dialog))
        self.page.on("request", lambda request: self._request(request.url, file))
        self.page.goto(file.as_uri())

    def _request(self, url: str, file: Path) -> None:
        if url != file.as_uri() and not url.startswith(("data:", "blob:")):
            self.trouble.append(f"request: {url}")

    def _dialog(self, dialog: Any) -> None:
        self.trouble.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def scroll_through(self) -> None:
        """Charts draw when they come into view."""
        for y in range(0, self.page.evaluate("document.documentElement.scrollHeight"), 700):
            self.page.evaluate("y => scrollTo({top: y, behavior: 'instant'})", y)
            self.page.wait_for_timeout(30)
        self.page.wait_for_timeout(400)

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


def words(text: str) -> str:
    return re.sub(r"\s+", " ", text.replace("\u202f", " "))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_opens_offline_without_request_or_complaint(
    browser: Any, pages: dict[str, Path], kind: str, scheme: str
) -> None:
    with Visit(browser, pages[kind], color_scheme=scheme) as visit:
        visit.scroll_through()
        assert visit.trouble == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [390, 320])
def test_no_sideways_scrolling_on_a_phone(browser: Any, pages: dict[str, Path], kind: str, width: int) -> None:
    with Visit(browser, pages[kind], width=width) as visit:
        visit.page.evaluate("document.querySelectorAll('details').forEach(node => { node.open = true; })")
        visit.scroll_through()
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


def test_everything_is_there_without_javascript(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["birds"], js=False) as bare, Visit(browser, pages["birds"]) as full:
        text = words(bare.page.inner_text("main"))
        for said in (
            "The model fails 1 of 2 gates.",
            "73.1 %",
            "Background of waterbird",
            "Gap 54.8 points.",
            "14 of 42 published models",
            "Lowest at cell 46 (lower middle)",
            "640 of 680 available images were audited.",
            "take scan.json from the run folder",
        ):
            assert said in text
        assert bare.page.locator("svg[role=img]:visible").count() > 20
        assert bare.page.locator(".strip svg.small-curve:visible").count() == 7
        assert not bare.page.locator("#theme").is_visible()
        assert bare.page.locator("[data-live=zoo] svg.wide").is_visible()
        whole = words(full.page.locator("main").evaluate("node => node.textContent"))
        assert "Among published models" in whole
        assert bare.trouble == []


def test_charts_answer_and_replace_the_drawing(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["birds"]) as visit:
        visit.scroll_through()
        page = visit.page
        assert page.locator("[data-live=zoo] .js-plotly-plot .point").count() == 42 + 1
        assert not page.locator("[data-live=zoo] svg.wide").is_visible()
        kinds = page.evaluate(
            "[...document.querySelectorAll('.js-plotly-plot')].map(p => p._fullData.map(t => t.type))"
        )
        assert kinds[0] == ["heatmap"]
        assert kinds[1] == ["scatter"] * len(kinds[1])
        page.select_option("[data-live=patches] select", "1")
        lost = page.evaluate("document.querySelector('[data-live=patches] .js-plotly-plot').data[0].z")
        assert len(lost) == 7
        assert max(max(row) for row in lost) == pytest.approx(0.974 - 0.83, abs=0.001)
        assert lost[0][3] == max(max(row) for row in lost)


@pytest.mark.parametrize("width", [1280, 390, 320])
def test_curves_of_source_images_can_be_read_at_any_width(browser: Any, pages: dict[str, Path], width: int) -> None:
    with Visit(browser, pages["adaptive"], width=width) as visit:
        boxes = visit.page.evaluate(
            "[...document.querySelectorAll('.strip')].map(strip => [...strip.querySelectorAll('svg')].map(svg => "
            "{ const box = svg.getBoundingClientRect(); return [box.left, box.right, box.width]; }))"
        )
        assert len(boxes) == 12
        for strip in boxes:
            assert all(left >= 0 and right <= width and size > 100 for left, right, size in strip)
            assert strip[0][1] <= strip[1][0]
        letters = visit.page.evaluate(
            "[...document.querySelectorAll('.small-curve text')].map(node => node.getBoundingClientRect().height)"
        )
        assert min(letters) >= 9


def test_paper_is_not_widened_by_the_table_of_sweeps(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["birds"], width=688) as visit:
        visit.page.emulate_media(media="print")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 688


def test_tables_sort_and_filter(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["digits"]) as visit:
        table = visit.page.locator("table.classes")
        first = table.locator("tbody th").first
        button = table.locator("thead button", has_text="Class")
        button.focus()
        visit.page.keyboard.press("Enter")
        assert first.inner_text() == "eight"
        visit.page.keyboard.press("Enter")
        assert first.inner_text() == "zero"
        assert table.locator("thead th").first.get_attribute("aria-sort") == "descending"
        visit.page.locator("#classes input[type=search]").fill("seven")
        assert table.locator("tbody tr:visible").count() == 1
        assert visit.page.locator("#classes [role=status]").inner_text() == "1 of 10 rows"


def test_numbers_sort_as_numbers(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["thousand"]) as visit:
        visit.page.locator("table.classes thead button", has_text="RCS").click()
        cells = visit.page.locator("table.classes tbody tr td:nth-child(8)").all_inner_texts()
        values = [float(cell.replace("\u2212", "-").rstrip("*")) for cell in cells]
        assert len(values) == 1000
        assert values == sorted(values)


def test_the_record_can_be_saved(browser: Any, pages: dict[str, Path], tmp_path: Path) -> None:
    with Visit(browser, pages["birds"], accept_downloads=True) as visit:
        with visit.page.expect_download() as waiting:
            visit.page.locator("#save-record").click()
        waiting.value.save_as(tmp_path / "scan.json")
        assert waiting.value.suggested_filename == "scan.json"
        stored = json.loads((pages["birds"].parent / "birds" / "scan.json").read_bytes())
        assert json.loads((tmp_path / "scan.json").read_bytes()) == stored
        assert visit.trouble == []


def test_theme_button_changes_the_page_and_its_charts(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["birds"], color_scheme="light") as visit:
        visit.scroll_through()
        paper = "getComputedStyle(document.body).backgroundColor"
        axis = "document.querySelector('[data-live=zoo] .js-plotly-plot').layout.font.color"
        light = (visit.page.evaluate(paper), visit.page.evaluate(axis))
        visit.page.locator("#theme").click()
        visit.page.locator("#theme").click()
        assert visit.page.locator("#theme-name").inner_text() == "dark"
        dark = (visit.page.evaluate(paper), visit.page.evaluate(axis))
        assert light[0] != dark[0]
        assert light[1] != dark[1]


def test_keyboard_reaches_the_content_first(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["birds"]) as visit:
        visit.page.keyboard.press("Tab")
        assert visit.page.evaluate("document.activeElement.className") == "skip"
        visit.page.keyboard.press("Enter")
        assert visit.page.evaluate("document.activeElement.id") == "main"


@pytest.mark.parametrize("js", [True, False])
def test_paper_holds_several_pages_and_the_folded_parts(
    browser: Any, pages: dict[str, Path], js: bool, tmp_path: Path
) -> None:
    with Visit(browser, pages["birds"], js=js) as visit:
        content = visit.page.pdf(prefer_css_page_size=True, print_background=True)
        visit.page.emulate_media(media="print")
        assert not visit.page.locator(".contents").is_visible()
        assert visit.page.locator("[data-live=zoo] svg.wide").is_visible()
    assert content.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page[^s]", content)) >= 5
    if shutil.which("pdftotext"):
        import subprocess

        (tmp_path / "page.pdf").write_bytes(content)
        command = ["pdftotext", "-layout", str(tmp_path / "page.pdf"), "-"]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        assert "The model fails 1 of 2 gates." in " ".join(text.split())
        assert "F005" in text


def test_a_thousand_classes_open_quickly(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["thousand"]) as visit:
        loaded = visit.page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        assert loaded < 8_000
        assert visit.trouble == []
