"""Who reads the page otherwise: with a screen reader, in the dark, by keyboard, without motion, on paper."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import sample_run
from test_report_browser import Visit, words

from spuraudit.report import make_edition, write

pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
pytestmark = pytest.mark.browser

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
THEMES = ("_light.css.j2", "_dark.css.j2")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pages")
    (root / "notes.md").write_text(
        "# To know\n\nAsked by the [guide](https://example.org).\n\n- one\n", encoding="utf-8"
    )
    (root / "logo.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M0 0h9v9z"/></svg>'
    )
    handed_on = make_edition(notes=root / "notes.md", logo=root / "logo.svg")
    birds = sample_run.birds_run(root / "birds", sample_run.verdict("fail", "pass"))
    return {
        "birds": write(birds, root / "birds.html", charts=False, edition=handed_on),
        "redacted": write(birds, root / "redacted.html", charts=False, edition=make_edition(redact=True)),
        "hostile": write(sample_run.hostile_run(root / "hostile"), root / "hostile.html", charts=False),
        "thousand": write(sample_run.thousand_run(root / "thousand"), root / "thousand.html", charts=False),
    }


def axe_source() -> str:
    """axe-core as the package axe-playwright-python ships it."""
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None or found.origin is None:
        pytest.skip("needs the Python package axe-playwright-python")
    return (Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["birds", "redacted", "hostile"])
def test_axe_finds_nothing(browser: Any, pages: dict[str, Path], kind: str, scheme: str) -> None:
    code = axe_source()
    with Visit(browser, pages[kind], color_scheme=scheme, bypass_csp=True) as visit:
        visit.page.evaluate("document.querySelectorAll('details').forEach(node => { node.open = true; })")
        visit.page.evaluate(code)
        found = visit.page.evaluate("options => axe.run(document, options)", RULES)
        assert [(item["id"], item["nodes"][0]["html"][:200]) for item in found["violations"]] == []
        looked_at = {item["id"] for item in found["passes"]}
        assert {"color-contrast", "heading-order", "th-has-data-cells", "landmark-one-main"} <= looked_at
        assert ("image-alt" in looked_at) == (kind != "redacted")


@pytest.mark.parametrize("theme", THEMES)
def test_inks_stand_out_from_every_ground(theme: str) -> None:
    from spuraudit.report.templating import source

    tones = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", source(f"style/{theme}")))
    grounds = [name for name in tones if name in {"paper", "surface", "callout"} or name.endswith("-wash")]
    assert len(grounds) == 7
    for ink in ("ink", "muted", "link", "pass", "fail", "unknown", "core", "spurious", "accent"):
        for ground in grounds:
            assert contrast(tones[ink], tones[ground]) >= 4.5, (ink, ground)


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio of two colours."""
    lights = []
    for colour in (one, other):
        channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_classes_are_sorted_searched_and_narrowed_by_keyboard_alone(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["thousand"]) as visit:
        page = visit.page
        page.locator("#classes .filter input[type=search]").focus()
        page.keyboard.type("class 0007")
        assert page.locator("table.classes tbody tr:visible").count() == 1
        assert page.locator("#classes [role=status]").inner_text() == "1 of 1000 rows"
        page.keyboard.press("Control+A")
        page.keyboard.press("Delete")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.type") == "checkbox"
        page.keyboard.press("Space")
        counts = page.locator("table.classes tbody tr:visible td:nth-child(2)").all_inner_texts()
        assert 0 < len(counts) < 1000
        assert all(int(count) > 0 for count in counts)
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "scroll"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Class"
        page.keyboard.press("Enter")
        names = page.locator("table.classes tbody tr:visible th").all_inner_texts()
        assert names == sorted(names)
        assert len(names) == len(counts)
        assert visit.trouble == []


FOCUS = """() => {
  const node = document.activeElement;
  if (node === document.body) return true;
  (window.seen ??= new Set()).add(node);
  return getComputedStyle(node).outlineStyle !== "none" || node.className === "skip";
}"""


def test_every_control_can_be_reached_and_shows_where_the_focus_is(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["birds"]) as visit:
        page = visit.page
        wanted = page.evaluate(
            "[...document.querySelectorAll('a[href], button, input, summary, select, [tabindex=\"0\"]')]"
            ".filter(node => node.checkVisibility()).length"
        )
        for _ in range(wanted + 3):
            page.keyboard.press("Tab")
            assert page.evaluate(FOCUS)
        assert page.evaluate("window.seen.size") >= wanted > 20


def test_nothing_moves_where_motion_is_unwanted(browser: Any, pages: dict[str, Path]) -> None:
    moving = (
        "[getComputedStyle(document.documentElement).scrollBehavior, document.getAnimations().length, "
        "[...document.querySelectorAll('*')]"
        ".filter(node => parseFloat(getComputedStyle(node).transitionDuration) > 0).length]"
    )
    with Visit(browser, pages["birds"], reduced_motion="reduce") as visit:
        assert visit.page.evaluate(moving) == ["auto", 0, 0]


def test_redacted_page_is_whole_without_javascript_and_asks_for_nothing(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["redacted"], js=False) as visit:
        text = words(visit.page.inner_text("main"))
        assert "Pictures were withheld from this copy of the report." in text
        assert "Picture withheld. A waterbird on water." in text
        assert visit.page.locator("img").count() == 0
        assert visit.trouble == []


@pytest.mark.parametrize("width", [390, 320])
@pytest.mark.parametrize("kind", ["birds", "redacted"])
def test_no_sideways_scrolling_on_a_phone(browser: Any, pages: dict[str, Path], kind: str, width: int) -> None:
    with Visit(browser, pages[kind], width=width) as visit:
        visit.page.evaluate("document.querySelectorAll('details').forEach(node => { node.open = true; })")
        visit.page.wait_for_timeout(100)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


def test_paper_holds_logo_and_notes_and_no_controls(browser: Any, pages: dict[str, Path]) -> None:
    with Visit(browser, pages["birds"]) as visit:
        content = visit.page.pdf(prefer_css_page_size=True, print_background=True)
        assert content.startswith(b"%PDF-")
        assert 5 <= len(re.findall(rb"/Type\s*/Page[^s]", content)) <= 30
        visit.page.emulate_media(media="print")
        assert visit.page.locator(".logo").is_visible()
        assert visit.page.locator(".notes").is_visible()
        assert not visit.page.locator(".filter").first.is_visible()
