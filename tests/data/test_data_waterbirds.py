from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from spuraudit.data import open_dataset
from spuraudit.data.decode import decode
from spuraudit.errors import DataError
from spuraudit.record.geometry import Geometry


def add_masks(root: Path, mask: object) -> None:
    for photo in sorted(root.glob("0*/*.jpg")):
        mask(root / "segmentations" / photo.relative_to(root).with_suffix(".png"))


def test_the_published_layout(waterbirds: Path) -> None:
    dataset = open_dataset(str(waterbirds))
    assert dataset.layout == "waterbirds"
    assert [(info.name, info.outputs) for info in dataset.classes] == [("landbird", None), ("waterbird", None)]
    assert [(row.label, row.split, row.group) for row in dataset.images] == [
        (1, "train", "waterbird/land"),
        (1, "train", "waterbird/water"),
        (0, "train", "landbird/land"),
        (0, "val", "landbird/water"),
        (0, "test", "landbird/water"),
    ]
    assert dataset.images[0].id == "001.Black_footed_Albatross/Black_Footed_Albatross_0009_34.jpg"
    assert dataset.splits == ("test", "train", "val")
    assert dataset.default_split == "test"
    assert dataset.features == ()
    assert all(not row.has_core for row in dataset.images)
    assert "non-commercial" in (dataset.licence or "")


def test_segmentations_are_the_core_feature(waterbirds: Path, mask: object) -> None:
    add_masks(waterbirds, mask)
    dataset = open_dataset(str(waterbirds))
    assert [(feature.name, feature.role, feature.classes) for feature in dataset.features] == [("bird", "core", None)]
    decoded = decode(dataset, dataset.images[0], Geometry(height=32, width=32, crop_pct=1.0))
    assert decoded.core is not None
    assert decoded.core.max() == 255


def test_images_may_lie_in_a_folder_of_their_own(waterbirds: Path, mask: object) -> None:
    add_masks(waterbirds, mask)
    before = open_dataset(str(waterbirds))
    (waterbirds / "images").mkdir()
    for folder in sorted(waterbirds.glob("0*")):
        shutil.move(folder, waterbirds / "images")
    after = open_dataset(str(waterbirds))
    assert [row.id for row in after.images] == [row.id for row in before.images]
    assert after.images[0].path == f"images/{before.images[0].path}"
    assert after.images[0].masks == before.images[0].masks


def test_the_registered_name(waterbirds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for data_dir in (waterbirds, waterbirds.parent):
        assert open_dataset("waterbirds", data_dir=data_dir).origin == "waterbirds"
    monkeypatch.setenv("SPURAUDIT_DATA", str(waterbirds.parent))
    assert len(open_dataset("waterbirds").images) == 5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("img_id,img_filename,y", "img_id,img_filename,label", "holds neither|column 'y'|not"),
        (
            "_34.jpg,1,0,0",
            "_34.jpg,2,0,0",
            r"metadata\.csv, line 2: column 'y' holds 2; expected 0 = landbird, 1 = wat",
        ),
        ("_34.jpg,1,0,0", "_34.jpg,1,3,0", r"line 2: column 'split' holds 3; expected 0 = train, 1 = val, 2 = test"),
        ("_34.jpg,1,0,0", "_34.jpg,1,0,land", r"line 2: column 'place' holds 'land', not a whole number"),
        ("Albatross_0014_89", "Albatross_9999_9", r"images: 1 of 5 missing:\n.*Albatross_9999_9\.jpg"),
        ("001.Black_footed_Albatross/Black_Footed_Albatross_0014", "../x", r"line 3: '\.\./x_89\.jpg' climbs out"),
        ("0003_6.jpg", "0002_5.jpg", r"image '.*0002_5\.jpg' appears twice"),
    ],
)
def test_a_damaged_table_is_refused(waterbirds: Path, old: str, new: str, message: str) -> None:
    file = waterbirds / "metadata.csv"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(DataError, match=message) as caught:
        open_dataset("waterbirds", data_dir=waterbirds)
    assert caught.value.hint


def test_a_missing_segmentation_is_refused(waterbirds: Path, mask: object) -> None:
    add_masks(waterbirds, mask)
    next(waterbirds.glob("segmentations/010*/*_5.png")).unlink()
    with pytest.raises(DataError, match=r"segmentations: masks: 1 of 5 missing:\n.*0002_5\.png"):
        open_dataset(str(waterbirds))


def test_a_class_without_images_is_refused(waterbirds: Path) -> None:
    file = waterbirds / "metadata.csv"
    file.write_text("\n".join(line for line in file.read_text().splitlines() if "Albatross" not in line))
    with pytest.raises(DataError, match=r"no image of class 'waterbird' \(y = 1\)"):
        open_dataset(str(waterbirds))


@pytest.mark.shared
def test_the_real_mini_waterbirds(shared: Path) -> None:
    dataset = open_dataset(str(shared / "mini_waterbirds"))
    counts: dict[tuple[str | None, str | None], int] = {}
    for row in dataset.images:
        counts[row.split, row.group] = counts.get((row.split, row.group), 0) + 1
    # ../shared/data/README.md, section 2
    assert [counts["train", group] for group in sorted({group for _, group in counts})] == [684, 36, 24, 456]
    assert {counts["val", group] for _, group in counts} == {80}
    assert {counts["test", group] for _, group in counts} == {160}
    assert all(row.has_core for row in dataset.images)
    own = Geometry(height=160, width=160, crop_pct=1.0)
    areas = [np.mean(decode(dataset, row, own).core > 127) for row in dataset.images[::20]]
    assert min(areas) > 0.05
    assert max(areas) < 0.17
