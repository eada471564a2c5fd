"""What a dataset is: classes, features, and two tables (images, masks) over named sources of bytes.

Opening one is cheap: no image is decoded. Nothing here knows models; the geometry is handed in (see `decode`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spuraudit.data.sources import Source

FeatureRole = Literal["core", "spurious"]
Frame = Literal["photo", "crop"]


@dataclass(frozen=True, slots=True)
class ClassInfo:
    """A class: its index in the dataset, its name, and the model outputs that count as it (None: same index)."""

    index: int
    name: str
    outputs: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Feature:
    """A named visual attribute. `classes`: indices it belongs to, None = every class."""

    name: str
    role: FeatureRole
    classes: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class MaskRow:
    """Where one feature of one image lies. `source` names an entry of `Dataset.sources`, `path` a file in it."""

    feature: str
    role: FeatureRole
    source: str
    path: str
    frame: Frame = "photo"


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One image. `id` is unique in the dataset and stable across machines (a relative path, usually)."""

    id: str
    label: int
    source: str
    path: str
    split: str | None = None
    group: str | None = None
    masks: tuple[MaskRow, ...] = ()

    @property
    def has_core(self) -> bool:
        """Whether any core feature of the image has a mask."""
        return any(mask.role == "core" for mask in self.masks)


@dataclass(frozen=True)
class Dataset:
    """Images with labels, splits, optional groups, and masks of named features."""

    name: str
    layout: str
    classes: tuple[ClassInfo, ...]
    features: tuple[Feature, ...]
    images: tuple[ImageRow, ...]
    sources: Mapping[str, Source]
    licence: str | None = None
    notes: tuple[str, ...] = ()
    #: Masks published in a crop's frame fix the resize for the images too (Salient ImageNet: 0.875).
    fixed_crop_pct: float | None = None
    #: Where the dataset came from, as the user typed it; printed in errors.
    origin: str = ""
    default_split: str | None = None
    #: Extra facts for people, such as counts of rows a layout left out and why.
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, sorted; empty where the dataset has none."""
        return tuple(sorted({row.split for row in self.images if row.split is not None}))

    def in_split(self, split: str | None) -> tuple[ImageRow, ...]:
        """Rows of one split, in file order; all rows for None."""
        return self.images if split is None else tuple(row for row in self.images if row.split == split)
