"""The pages of `spuraudit annotate` as files: what they hold, how they escape it, how they stay small."""

from __future__ import annotations

import io
import json
import re
from base64 import b64decode, b64encode
from hashlib import sha256
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import sample_annotate
from page_outline import outline
from PIL import Image

from spuraudit.record.annotation_tables import Place
from spuraudit.report import annotate_page
from spuraudit.report.annotate_page import box_of, write_maps_pages, write_neurons_pages

SCRIPT = re.compile(r"<script(?P<attributes>[^>]*)>(?P<body>.*?)</script>", re.DOTALL)


@pytest.fixture
def pages(tmp_path: Path) -> tuple[str, str]:
    maps, neurons = sample_annotate.write_pages(tmp_path)
    return maps.read_text(), neurons.read_text()


@pytest.mark.parametrize("which", [0, 1])
def test_hostile_names_stay_text(pages: tuple[str, str], which: int) -> None:
    page = outline(pages[which])
    assert "img" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert sample_annotate.HOSTILE in page.text
    links = [value for _, name, value in page.attributes if name in {"src", "href", "action"}]
    assert all(link.startswith(("#", "data:image/webp;base64,", "data:image/png;base64,")) for link in links)
    assert len(page.ids) == len(set(page.ids))


@pytest.mark.parametrize("which", [0, 1])
def test_the_policy_allows_exactly_the_scripts_of_the_page(pages: tuple[str, str], which: int) -> None:
    said = unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', pages[which])[1])  # type: ignore[index]
    running = [body for attributes, body in SCRIPT.findall(pages[which]) if "application/json" not in attributes]
    hashes = {b64encode(sha256(body.encode()).digest()).decode() for body in running}
    assert set(re.findall(r"'sha256-([^']+)'", said)) == hashes
    assert len(running) == 2
    assert "default-src 'none'" in said


def test_a_picture_is_stored_once_however_often_it_is_drawn(pages: tuple[str, str]) -> None:
    assert pages[0].count("data:image/webp") == 4
    assert pages[1].count("data:image/webp") == 3  # no patch lies in the fourth image
    assert pages[0].count("<use ") == 4 * 4


def test_the_highlight_is_where_the_map_is(pages: tuple[str, str]) -> None:
    stored = re.findall(r"data:image/png;base64,([^\"]+)", pages[0])
    assert len(stored) == 4
    for number, content in enumerate(stored[:3]):
        map_ = np.asarray(Image.open(io.BytesIO(b64decode(content)))).astype(float)
        assert map_.shape == (56, 56)
        cells = map_.reshape(7, 8, 7, 8).mean(axis=(1, 3))
        assert np.unravel_index(cells.argmax(), cells.shape) == (number, number)
        assert map_.max() > 200  # by its own maximum, however small that is
    assert np.asarray(Image.open(io.BytesIO(b64decode(stored[3])))).max() == 0


def test_a_shared_patch_is_asked_about_once_and_first(pages: tuple[str, str]) -> None:
    body = next(body for attributes, body in SCRIPT.findall(pages[1]) if "spuraudit-items" in attributes)
    assert [(item["image"], item["neurons"]) for item in json.loads(body)["items"]] == [
        (sample_annotate.IDS[1], [0, 1]),
        (sample_annotate.IDS[2], [2]),
        (sample_annotate.IDS[0], [0]),
    ]


def test_patches_lie_around_their_cell_and_inside_the_image() -> None:
    about = sample_annotate.about()
    assert box_of(about, Place("a", 4, 3)) == (32, 64, 96, 96)
    assert box_of(about, Place("a", 1, 7)) == (128, 0, 96, 96)
    assert about.layer is not None
    fine = about.model_copy(update={"layer": about.layer.model_copy(update={"rows": 28, "columns": 14})})
    assert box_of(fine, Place("a", 14, 7)) == (76, 80, 56, 56)  # a quarter of the side, not three cells of 8 or 16 px


def test_what_does_not_fit_goes_to_a_further_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotate_page._sheets, "__defaults__", (70_000,))
    pictures = sample_annotate.pictures(noise=True)
    assert 25_000 < len(pictures[0]) < 45_000
    about = sample_annotate.about()
    written = write_maps_pages(tmp_path, about, sample_annotate.maps(), pictures)
    assert [file.name for file in written] == ["annotate.html", "annotate-2.html", "annotate-3.html", "annotate-4.html"]
    texts = [file.read_text() for file in written]
    files = [
        json.loads(body)["file"] for text in texts for attributes, body in SCRIPT.findall(text) if "json" in attributes
    ]
    assert files == ["annotations.csv", "annotations-2.csv", "annotations-3.csv", "annotations-4.csv"]
    assert "page 2 of 4" in texts[1]
    assert len(write_neurons_pages(tmp_path, about, sample_annotate.PATCHES, pictures)) == 3


def test_five_hundred_photos_stay_below_twenty_megabytes(tmp_path: Path) -> None:
    about = sample_annotate.about()
    images = [about.images[0].model_copy(update={"id": f"{number}.jpg"}) for number in range(500)]
    photo = sample_annotate.pictures(noise=True)[0][:20_000].ljust(20_000, b"\0")  # twice a usual photo
    maps = np.random.default_rng(0).random((500, 7, 7), dtype=np.float32)
    (page,) = write_maps_pages(tmp_path, about.model_copy(update={"images": images}), maps, [photo] * 500)
    assert page.stat().st_size < 20_000_000


def test_same_folder_same_bytes(tmp_path: Path) -> None:
    one, two = sample_annotate.write_pages(tmp_path / "a"), sample_annotate.write_pages(tmp_path / "b")
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in two]
