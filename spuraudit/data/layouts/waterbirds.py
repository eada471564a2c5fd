"""Waterbirds as it is published, with CUB's segmentations where they were put beside it.

    metadata.csv                     img_id, img_filename, y, split, place, place_filename
    001.Black_footed_Albatross/*.jpg or images/001.Black_footed_Albatross/*.jpg
    segmentations/001.Black_footed_Albatross/*.png      CUB-200-2011's own archive; optional

Source: Sagawa et al., Distributionally Robust Neural Networks for Group Shifts, ICLR 2020 (group_DRO). The masks are
in the geometry of the composed images: both were made from the uncropped CUB photo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.data.dataset import ClassInfo, Dataset, Feature, ImageRow, MaskRow
from spuraudit.data.layouts.layout import Layout, Place, refuse_missing
from spuraudit.data.paths import inside
from spuraudit.data.sources import FolderSource
from spuraudit.data.tables import read_table
from spuraudit.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from spuraudit.data.tables import TableRow

_COLUMNS = ("img_filename", "y", "split", "place")
_CLASSES = ("landbird", "waterbird")
_PLACES = ("land", "water")
_SPLITS = ("train", "val", "test")
_SOURCE = "root"
_NOTES = (
    "Validation and test are balanced in place given the class: published average accuracies weight the test groups "
    "by their shares in train.",
    "Class labels come from substrings of species names; a few landbirds (Eastern Towhee, Western Meadowlark, Western "
    "Wood Pewee) count as waterbirds in the published metadata.csv.",
)


def open_waterbirds(place: Place) -> Dataset:
    """Open a folder in the Waterbirds layout. Raises DataError naming file and line."""
    root = place.folder
    file = root / "metadata.csv"
    if not file.is_file():
        raise DataError(f"{root}: no metadata.csv.", "Name the folder of Waterbirds that holds it.")
    source = FolderSource(root)
    table = read_table(file.read_bytes(), str(file), _COLUMNS)
    rows = [(row, inside(row["img_filename"], row.where)) for row in table]
    if not rows:
        raise DataError(f"{file}: no images.", "Restore the file from the release.")
    below = "" if source.exists(rows[0][1]) or not source.exists(f"images/{rows[0][1]}") else "images/"
    with_masks = (root / "segmentations").is_dir()
    refuse_missing(
        f"{file}: images",
        [source.describe(below + path) for _, path in rows if not source.exists(below + path)],
        len(rows),
        "Unpack the release again; the folders of species lie beside metadata.csv or in images/.",
    )
    images = tuple(_image(row, path, below, with_masks) for row, path in rows)
    refuse_missing(
        f"{root / 'segmentations'}: masks",
        [source.describe(mask.path) for image in images for mask in image.masks if not source.exists(mask.path)],
        len(images),
        "Unpack CUB-200-2011's segmentations again, or remove the folder to go without masks.",
    )
    _refuse_repeats_and_gaps(file, images)
    return Dataset(
        name=root.resolve().name,
        layout=LAYOUT.name,
        classes=tuple(ClassInfo(index, name) for index, name in enumerate(_CLASSES)),
        features=(Feature("bird", "core"),) if with_masks else (),
        images=images,
        sources={_SOURCE: source},
        licence=LAYOUT.licence,
        notes=_NOTES,
        origin=place.origin,
        default_split="test" if any(image.split == "test" for image in images) else None,
    )


def _image(row: TableRow, path: str, below: str, with_masks: bool) -> ImageRow:
    label = _one_of(row, "y", _CLASSES)
    group = f"{_CLASSES[label]}/{_PLACES[_one_of(row, 'place', _PLACES)]}"
    mask = MaskRow("bird", "core", _SOURCE, f"segmentations/{path.rpartition('.')[0] or path}.png")
    return ImageRow(
        id=path,
        label=label,
        source=_SOURCE,
        path=below + path,
        split=_SPLITS[_one_of(row, "split", _SPLITS)],
        group=group,
        masks=(mask,) if with_masks else (),
    )


def _one_of(row: TableRow, column: str, names: tuple[str, ...]) -> int:
    value = row.integer(column)
    if not 0 <= value < len(names):
        meaning = ", ".join(f"{index} = {name}" for index, name in enumerate(names))
        raise row.error(f"column {column!r} holds {value}; expected {meaning}.", "Restore the file from the release.")
    return value


def _refuse_repeats_and_gaps(file: Path, images: tuple[ImageRow, ...]) -> None:
    seen: set[str] = set()
    for image in images:
        if image.id in seen:
            raise DataError(f"{file}: image {image.id!r} appears twice.", "Restore the file from the release.")
        seen.add(image.id)
    for index, name in enumerate(_CLASSES):
        if all(image.label != index for image in images):
            raise DataError(f"{file}: no image of class {name!r} (y = {index}).", "Restore the file from the release.")


def _recognises(folder: Path) -> bool:
    try:
        with (folder / "metadata.csv").open(encoding="utf-8-sig") as file:
            header = file.readline()
    except (OSError, UnicodeDecodeError):
        return False
    return set(_COLUMNS) <= {column.strip() for column in header.split(",")}


LAYOUT = Layout(
    name="waterbirds",
    title="Waterbirds (Sagawa et al., ICLR 2020)",
    named=True,
    folders=("waterbird_complete95_forest2water2", "waterbirds"),
    needs=(
        "metadata.csv and the folders of species: waterbird_complete95_forest2water2 of the group_DRO project",
        "segmentations/, optional: the segmentations of CUB-200-2011 (Caltech), for the core masks",
    ),
    licence="CUB-200-2011 photos: non-commercial research and education only; the scenes have terms of their own",
    recognises=_recognises,
    open=open_waterbirds,
)
