"""The size and time of a report, up to Salient ImageNet's 1,000 classes and 5,000 features."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import sample_run
from page_outline import outline

from spuraudit.report import render
from spuraudit.report.pictures import media_type

LIMIT = 10_000_000


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sample_run.thousand_run(tmp_path_factory.mktemp("thousand"))


def test_thousand_classes_stay_below_the_limit(thousand: Path) -> None:
    started = time.monotonic()
    page = render(thousand)
    assert time.monotonic() - started < 20
    assert len(page.encode()) < LIMIT
    assert page.count('<tr><th scope="row">class ') >= 1000
    text = outline(page).text
    assert "cleared features beyond the first 500" in text
    assert "Left out of the embedded record" in text


def test_drawn_reports_are_small(tmp_path: Path) -> None:
    assert len(render(sample_run.birds_run(tmp_path / "birds"), charts=False).encode()) < 700_000
    assert len(render(sample_run.healthy_run(tmp_path / "healthy"), charts=False).encode()) < 150_000


def test_plotly_is_left_out_where_no_chart_uses_it(tmp_path: Path) -> None:
    run = sample_run.birds_run(tmp_path)
    assert len(render(run)) - len(render(run, charts=False)) > 4_000_000
    bare = sample_run.save_run(
        tmp_path / "bare", sample_run.record(classes={"a": 3}, measurements=[], findings=[], audits=[])
    )
    assert len(render(bare)) < 150_000


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"RIFF....WEBPVP8 ", "image/webp"),
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"\xff\xd8\xff\xe0....", "image/jpeg"),
        (b"<svg xmlns=", None),
        (b"RIFF....AVI ", None),
        (b"", None),
    ],
)
def test_only_real_pictures_are_inlined(content: bytes, kind: str | None) -> None:
    assert media_type(content) == kind
