"""Answering in headless Chromium: keys, taps, reload, export, import; offline and without complaint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import sample_annotate
from sample_annotate import HOSTILE, IDS
from test_report_browser import Visit

from spuraudit.record.annotation_tables import NeuronAnswer, Place, read_answers, read_neuron_answers

pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright")
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return sample_annotate.write_pages(tmp_path_factory.mktemp("pages"))


def pressed(visit: Visit, *keys: str) -> None:
    for key in keys:
        visit.page.keyboard.press(key)


def shown(visit: Visit) -> str:
    """The image that is asked about."""
    return str(visit.page.locator(".item.current .image-id").inner_text())


def progress(visit: Visit) -> str:
    return str(visit.page.locator("#said").inner_text())


def exported(visit: Visit, folder: Path) -> Path:
    with visit.page.expect_download() as waiting:
        visit.page.locator("#export").click()
    file = folder / waiting.value.suggested_filename
    waiting.value.save_as(file)
    return file


def test_answers_by_key_survive_a_reload_and_come_out_as_csv(
    browser: Any, pages: tuple[Path, Path], tmp_path: Path
) -> None:
    with Visit(browser, pages[0], accept_downloads=True) as visit:
        assert progress(visit) == "0 of 4 answered: 0 yes, 0 no, 0 maybe"
        assert IDS[0] in shown(visit)
        pressed(visit, "y", "n", "Space")
        assert progress(visit) == "3 of 4 answered: 1 yes, 1 no, 1 maybe"
        assert IDS[3] in shown(visit)
        pressed(visit, "ArrowLeft", "b")
        assert IDS[1] in shown(visit)
        assert visit.page.locator(".answers .no").get_attribute("aria-pressed") == "true"
        pressed(visit, "y")  # changes an answer, and goes on with the next open question
        assert IDS[3] in shown(visit)
        visit.page.reload()
        assert progress(visit) == "3 of 4 answered: 2 yes, 0 no, 1 maybe"
        assert IDS[3] in shown(visit)
        pressed(visit, "N")
        assert progress(visit) == "All 4 answered: 2 yes, 1 no, 1 maybe"
        file = exported(visit, tmp_path)
        assert file.name == "annotations.csv"
        assert read_answers(file, IDS) == dict(zip(IDS, ("yes", "yes", "maybe", "no"), strict=True))
        assert visit.trouble == []


def test_an_exported_file_can_be_taken_up_in_another_browser(
    browser: Any, pages: tuple[Path, Path], tmp_path: Path
) -> None:
    with Visit(browser, pages[0], accept_downloads=True) as visit:
        pressed(visit, "n", "m")
        file = exported(visit, tmp_path)
    with Visit(browser, pages[0]) as visit:
        assert progress(visit).startswith("0 of 4")
        with file.open("a") as more:
            more.write("elsewhere.jpg,yes\n")
        visit.page.locator("#import").set_input_files(file)
        visit.page.wait_for_selector("#notice:visible")
        notice = visit.page.locator("#notice").inner_text()
        assert notice == "2 answers taken from annotations.csv; 1 rows are of other images."
        assert progress(visit) == "2 of 4 answered: 0 yes, 1 no, 1 maybe"
        assert IDS[2] in shown(visit)
        file.write_text('image,verdict\n"plain/2.jpg",yes\nplain/2.jpg,si\n')
        visit.page.locator("#import").set_input_files(file)
        visit.page.locator("#notice", has_text="line 3").wait_for()
        assert progress(visit) == "2 of 4 answered: 0 yes, 1 no, 1 maybe"
        assert visit.trouble == []


def test_a_shared_patch_is_answered_for_all_its_neurons(browser: Any, pages: tuple[Path, Path], tmp_path: Path) -> None:
    with Visit(browser, pages[1], accept_downloads=True) as visit:
        pressed(visit, "n", "y")
        file = exported(visit, tmp_path)
        assert file.name == "neurons.csv"
        shared = Place(IDS[1], 1, 1)
        assert read_neuron_answers(file) == [
            NeuronAnswer(0, shared, "no"),
            NeuronAnswer(1, shared, "no"),
            NeuronAnswer(2, Place(IDS[2], 7, 7), "yes"),
        ]
        assert visit.trouble == []


def test_buttons_answer_and_leave_the_space_bar_alone(browser: Any, pages: tuple[Path, Path]) -> None:
    with Visit(browser, pages[0]) as visit:
        visit.page.locator(".answers .yes").click()
        pressed(visit, "Space")
        assert progress(visit) == "2 of 4 answered: 1 yes, 0 no, 1 maybe"
        visit.page.locator("#forth").click()
        assert IDS[3] in shown(visit)
        visit.page.locator(".answers .no").focus()
        pressed(visit, "Space")  # reached by Tab, a button does what it says
        assert progress(visit) == "3 of 4 answered: 1 yes, 1 no, 1 maybe"
        pressed(visit, "Control+y")
        assert progress(visit).startswith("3 of 4")


def test_the_overview_leads_to_an_image(browser: Any, pages: tuple[Path, Path]) -> None:
    with Visit(browser, pages[0]) as visit:
        pressed(visit, "y", "o")
        assert visit.page.locator(".item:visible").count() == 4
        assert visit.page.locator("#item-0 .given").text_content() == "yes"
        assert not visit.page.locator("#answers").is_visible()
        pressed(visit, "n")  # answers nothing that is not shown large
        assert progress(visit).startswith("1 of 4")
        visit.page.locator("#item-2").click()
        assert IDS[2] in shown(visit)
        assert visit.page.locator(".item:visible").count() == 1


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("width", [1280, 390, 320])
def test_everything_needed_for_an_answer_is_on_the_screen(
    browser: Any, pages: tuple[Path, Path], which: int, width: int
) -> None:
    with Visit(browser, pages[which], width=width) as visit:
        pressed(visit, "y")
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        for wanted in (".current .question", ".current .views svg", ".answers .yes", ".answers .maybe", "#said"):
            box = visit.page.locator(wanted).first.bounding_box()
            assert box["y"] >= 0
            assert box["y"] + box["height"] <= 900
            assert box["width"] > 40
        assert visit.page.locator(".current .question").inner_text().endswith(f"mainly on “{HOSTILE}”?")


def test_red_is_where_the_map_is(browser: Any, pages: tuple[Path, Path], tmp_path: Path) -> None:
    import io

    import numpy as np
    from PIL import Image

    with Visit(browser, pages[0]) as visit:
        for overview in (False, True):  # where the other drawings are not displayed, the mask still works
            if overview:
                pressed(visit, "ArrowLeft", "o")
            else:
                pressed(visit, "ArrowRight")
            number = 0 if overview else 1
            drawing = visit.page.locator(f"#item-{number} .main svg")
            pixels = np.asarray(Image.open(io.BytesIO(drawing.screenshot())).convert("RGB")).astype(int)
            redness = pixels[..., 0] - pixels[..., 1]
            row, column = np.unravel_index(redness.argmax(), redness.shape)
            size = redness.shape
            assert (int(7 * row / size[0]), int(7 * column / size[1])) == (number, number)
            assert redness.max() > 60
            assert redness[size[0] // 2 :, size[1] // 2 :].max() < 10


def test_without_javascript_it_is_a_gallery_that_says_so(browser: Any, pages: tuple[Path, Path]) -> None:
    with Visit(browser, pages[0], js=False) as visit:
        assert "Answering needs JavaScript" in visit.page.inner_text("main")
        assert visit.page.locator(".item svg:visible").count() == 12
        assert not visit.page.locator("#tool").is_visible()
        assert not visit.page.locator("#answers").is_visible()
        assert visit.trouble == []
