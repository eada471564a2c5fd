"""Generated images as rows of a dataset.

They are made at the size the model sees, and stored with an edge around them that the model's own resize and crop take
off again: what was kept of a source reaches the network bit for bit.
"""

from __future__ import annotations

from dataclasses import replace
from math import floor
from typing import TYPE_CHECKING, Any

import numpy as np

from spuraudit.data.dataset import ImageRow, MaskRow
from spuraudit.data.sources import FolderSource

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from spuraudit.data.dataset import Dataset
    from spuraudit.fix.scgs.folder import GeneratedImage
    from spuraudit.record.geometry import Geometry

#: Name of the source of bytes that the dataset gets.
SOURCE = "generated"


def with_edge(image: NDArray[Any], geometry: Geometry) -> NDArray[Any]:
    """What the geometry turns into this (H, W, ...) image: it is mirrored where the crop cuts.

    A geometry that pads (crop_pct above 1) gets the middle, without what it will pad with.
    """
    places = []
    for side, length in zip(image.shape, (geometry.height, geometry.width), strict=False):
        before = floor(length / geometry.crop_pct)  # of the resized photo
        start = round((max(before, side) - side) / 2) - max(side - before, 0) // 2
        across = (np.arange(before) - start) % (2 * side)
        places.append(np.minimum(across, 2 * side - 1 - across))
    return np.ascontiguousarray(image[np.ix_(*places)])


def rows_of(images: Sequence[GeneratedImage], dataset: Dataset, split: str | None) -> list[ImageRow]:
    """Rows with the class drawn in as label, and a core mask where the generator knows the object."""
    rows = []
    for image in images:
        core = [f.name for f in dataset.features if f.role == "core" and image.label in (f.classes or (image.label,))]
        masks = (MaskRow(core[0], "core", SOURCE, image.core),) if core and image.core else ()
        # The content is in the id: decoded images are kept by id, and another run may make others.
        name = f"{SOURCE}/{image.file}@{image.sha256[image.file][:12]}"
        rows.append(ImageRow(name, image.label, SOURCE, image.file, split, masks=masks))
    return rows


def with_rows(dataset: Dataset, folder: Path, rows: Sequence[ImageRow]) -> Dataset:
    """A copy of the dataset that has the new images too."""
    sources = {**dataset.sources, SOURCE: FolderSource(folder)}
    return replace(dataset, images=(*dataset.images, *rows), sources=sources)
