"""What a dataset is, in 64 hex digits: equal on every machine, whatever folder or archive it lies in."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from spuraudit.data.dataset import Dataset, ImageRow

_VERSION = 1


def fingerprint(dataset: Dataset) -> str:
    """sha256 over classes, features, and per image: id, label, split, group, masks and byte sizes.

    No file is opened, only asked for its size. Names of the dataset, folders and archives do not count, nor does the
    order of rows; a changed label, mask, split or file size does. A file replaced by one of equal size is not noticed.
    """
    digest = hashlib.sha256()
    classes = [[info.name, None if info.outputs is None else list(info.outputs)] for info in dataset.classes]
    features = [
        [item.name, item.role, None if item.classes is None else list(item.classes)] for item in dataset.features
    ]
    _add(digest, ["spuraudit/data", _VERSION, classes, features, dataset.fixed_crop_pct])
    for row in sorted(dataset.images, key=lambda row: row.id):
        _add(digest, _facts(dataset, row))
    return digest.hexdigest()


def _facts(dataset: Dataset, row: ImageRow) -> list[object]:
    masks = [
        [
            mask.feature,
            mask.role,
            mask.frame,
            mask.path.rsplit("/", 1)[-1],
            dataset.sources[mask.source].size(mask.path),
        ]
        for mask in row.masks
    ]
    return [row.id, row.label, row.split, row.group, dataset.sources[row.source].size(row.path), masks]


def _add(digest: hashlib._Hash, value: object) -> None:
    digest.update(json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False).encode() + b"\n")
