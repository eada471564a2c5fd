"""A page within its size: what is given up first, that it is said, and the smallest limit that works."""

from __future__ import annotations

import io
import re
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
import sample_run
from page_outline import outline
from PIL import Image

from spuraudit.errors import UsageError
from spuraudit.record.scan import Exhibit, Finding
from spuraudit.report import Edition, render
from spuraudit.report.evidence import Evidence
from spuraudit.report.fitting import Fit, fitted, ladder
from spuraudit.report.page import render_evidence
from spuraudit.report.pictures import Pictures


def photo(seed: int) -> bytes:
    """224 x 224, with noise: as heavy as a noised photo."""
    draws = np.random.default_rng(seed)
    buffer = io.BytesIO()
    Image.fromarray(draws.integers(60, 190, (224, 224, 3), dtype=np.uint8)).save(buffer, "WEBP", quality=80)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Ten suspects with three images each, every panel a picture of its own."""
    from spuraudit.record.folder import read_record

    scan = read_record(sample_run.digits_run(tmp_path_factory.mktemp("digits")))
    images: dict[str, bytes] = {}

    def with_pictures(finding: Finding) -> Finding:
        exhibits: list[Exhibit] = []
        for exhibit in finding.exhibits * 3:
            panels = []
            for panel in exhibit.panels:
                file = f"exhibits/{len(images)}.webp"
                images[file] = photo(len(images))
                panels.append(panel.model_copy(update={"file": file, "width": 224, "height": 224}))
            exhibits.append(exhibit.model_copy(update={"panels": panels}))
        return finding.model_copy(update={"exhibits": exhibits})

    findings = [with_pictures(finding) for finding in scan.findings]
    return Evidence(scan.model_copy(update={"findings": findings}), None, images)


def sides(page: str) -> set[int]:
    """Longest sides of the pictures of a page."""
    return {max(Image.open(io.BytesIO(b64decode(image["src"].split(",")[1]))).size) for image in outline(page).images}


def test_ladder_goes_down_and_ends_without_pictures() -> None:
    steps = ladder(charts=True, pictures=True)
    assert steps[0] == Fit()
    assert steps[-1].cards == 0
    assert not steps[-1].charts
    assert len(set(steps)) == len(steps)
    plain = ladder(charts=False, pictures=False)
    assert plain[0] == Fit(charts=False)
    assert not any(step.said(plain[0], 1)[1:] for step in plain[:1])


def test_smaller_limits_give_up_more_and_every_page_says_it(heavy: Evidence) -> None:
    whole = render_evidence(heavy, charts=False, published=[])
    assert "Left out of this page." not in whole
    assert sides(whole) == {224}
    full = len(whole.encode())
    seen = []
    for share in (0.9, 0.5, 0.32, 0.22, 0.16):
        most = round(full * share)
        page = render_evidence(heavy, charts=False, published=[], edition=Edition(most=most))
        text = outline(page).text
        assert len(page.encode()) <= most
        assert f"To stay within {most / 1e6:g} MB (--max-report-mb):" in text
        for side in sides(page) - {224}:
            assert f"Pictures are at most {side} pixels wide and high." in text
        seen.append(len(outline(page).images))
    assert seen == sorted(seen, reverse=True)
    assert seen[0] > seen[-1]


def test_charts_go_before_pictures_become_few(heavy: Evidence) -> None:
    most = len(render_evidence(heavy, charts=False, published=[]).encode()) + 5_000
    page = render_evidence(heavy, published=[], edition=Edition(most=most))
    text = outline(page).text
    assert "Charts do not answer to the pointer; the drawn ones hold the same numbers." in text
    assert sides(page) == {224}
    assert 'id="spuraudit-charts"' not in page
    assert "Plotly.newPlot" not in page


def test_an_impossible_limit_names_the_smallest_that_works(heavy: Evidence) -> None:
    with pytest.raises(UsageError, match="not possible") as caught:
        render_evidence(heavy, charts=False, published=[], edition=Edition(most=20_000))
    hint = re.search(r"--max-report-mb ([0-9.]+) or more", caught.value.hint or "")
    assert hint is not None
    smallest = float(hint[1])
    page = render_evidence(heavy, charts=False, published=[], edition=Edition(most=round(smallest * 1e6)))
    assert len(page.encode()) <= smallest * 1e6
    assert outline(page).images == []
    assert "No pictures; their descriptions stay." in outline(page).text
    assert "The square is gone." in outline(page).text
    with pytest.raises(UsageError):
        render_evidence(heavy, charts=False, published=[], edition=Edition(most=round(smallest * 1e6) - 10_001))


def test_the_first_page_that_fits_is_taken_and_no_other_is_drawn() -> None:
    drawn: list[Fit] = []

    def draw(fit: Fit) -> str:
        drawn.append(fit)
        return "x" * (10 - len(drawn))

    assert fitted(draw, ladder(charts=True, pictures=True), 8) == "x" * 8
    assert len(drawn) == 2


def test_noise_is_not_averaged_away_in_a_thumbnail() -> None:
    draws = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray((128 + draws.normal(0, 60, (224, 224, 3))).clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    pictures = Pictures({"a": buffer.getvalue(), "b": buffer.getvalue()})
    spread = {}
    for name, grain in (("a", True), ("b", False)):
        uri = pictures.source(name, 112, grain=grain)
        assert uri is not None
        small = np.asarray(Image.open(io.BytesIO(b64decode(uri.split(",")[1]))).convert("L"), np.float32)
        assert small.shape == (112, 112)
        spread[name] = float(small.std())
    assert spread["a"] > 1.5 * spread["b"]


def test_missing_and_foreign_pictures_are_counted_once() -> None:
    pictures = Pictures({"a": b"<svg/>", "c": photo(1)})
    assert [pictures.source(name) for name in ("a", "a", "b")] == [None, None, None]
    assert pictures.source("c") is not None
    assert pictures.missing == 2
    assert Pictures({"c": photo(1)}, withheld=True).source("c") is None


def test_the_default_limit_leaves_an_ordinary_page_whole(tmp_path: Path) -> None:
    run = sample_run.birds_run(tmp_path)
    assert render(run) == render(run, edition=Edition())
    assert "Left out of this page." not in render(run)
