"""Looking at every file of a dataset once, and saying everything that is wrong with it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from spuraudit.data.decode import photo_from, read_mask
from spuraudit.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from spuraudit.data.dataset import Dataset, FeatureRole, ImageRow

_AT_ONCE = 256
#: A mask that covers nearly everything marks the background, most likely.
_INVERTED_ABOVE = 0.9
#: Below one fully marked pixel in a 224 x 224 crop there is nothing to audit. JPEG masks are never exactly 0.
_EMPTY_BELOW = 1.0 / 224**2


@dataclass(frozen=True)
class Problem:
    """A file that cannot be used: `image` is the row's id."""

    image: str
    message: str
    hint: str | None = None


@dataclass(frozen=True)
class FeatureCheck:
    """What the masks of one feature look like. Coverage: mean of mask / 255 over its masks, 0..1."""

    name: str
    role: FeatureRole
    masks: int
    coverage: float | None
    empty: int
    nearly_full: int

    @property
    def looks_inverted(self) -> bool:
        """Whether the masks cover so much on average that they seem to mark the surroundings."""
        return self.coverage is not None and self.coverage > _INVERTED_ABOVE


@dataclass(frozen=True)
class CheckReport:
    """All that was found. `problems` stop a scan; `warnings` are for a person to judge."""

    name: str
    layout: str
    images: int
    masks: int
    per_class: Mapping[str, int]
    per_split: Mapping[str, int]
    per_group: Mapping[str, int]
    features: tuple[FeatureCheck, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]
    left_out: Mapping[str, int]
    notes: tuple[str, ...] = ()
    licence: str | None = None


@dataclass(frozen=True)
class _Looked:
    digest: bytes | None
    coverage: Mapping[str, float]
    problems: tuple[Problem, ...]


def check(dataset: Dataset, on_progress: Callable[[int, int], None] | None = None) -> CheckReport:
    """Decode every photo and mask in its own size and collect all problems, not only the first.

    on_progress(done, total) is called from the calling thread, once per image. Memory does not grow with image sizes.
    """
    coverages: dict[str, list[float]] = defaultdict(list)
    by_digest: dict[bytes, list[ImageRow]] = defaultdict(list)
    problems: list[Problem] = []
    total = len(dataset.images)
    for done, (row, looked) in enumerate(_look_at_all(dataset), start=1):
        problems += looked.problems
        if looked.digest is not None:
            by_digest[looked.digest].append(row)
        for feature, coverage in looked.coverage.items():
            coverages[feature].append(coverage)
        if on_progress is not None:
            on_progress(done, total)
    features = tuple(_feature_check(item.name, item.role, coverages[item.name]) for item in dataset.features)
    counts = Counter(row.label for row in dataset.images)
    return CheckReport(
        name=dataset.name,
        layout=dataset.layout,
        images=total,
        masks=sum(len(row.masks) for row in dataset.images),
        per_class={info.name: counts[info.index] for info in dataset.classes},
        per_split=_counted(row.split for row in dataset.images),
        per_group=_counted(row.group for row in dataset.images),
        features=features,
        problems=tuple(problems),
        warnings=(*_mask_warnings(features), *_duplicate_warnings(by_digest)),
        left_out=dict(dataset.left_out),
        notes=dataset.notes,
        licence=dataset.licence,
    )


def _look_at_all(dataset: Dataset) -> Iterator[tuple[ImageRow, _Looked]]:
    # PIL decodes outside the interpreter's lock, so threads are enough; in portions, so that results do not pile up.
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, len(dataset.images), _AT_ONCE):
            rows = dataset.images[start : start + _AT_ONCE]
            yield from zip(rows, pool.map(lambda row: _look_at(dataset, row), rows), strict=True)


def _look_at(dataset: Dataset, row: ImageRow) -> _Looked:
    source = dataset.sources[row.source]
    try:
        content = source.read(row.path)
        photo = photo_from(content, source.describe(row.path))
    except DataError as error:
        return _Looked(None, {}, (Problem(row.id, error.message, error.hint),))
    coverage: dict[str, float] = {}
    problems: list[Problem] = []
    for mask in row.masks:
        try:
            pixels = np.asarray(read_mask(dataset, mask, photo))
        except DataError as error:
            problems.append(Problem(row.id, error.message, error.hint))
        else:
            coverage[mask.feature] = float(pixels.mean()) / 255.0
    return _Looked(hashlib.sha256(content).digest(), coverage, tuple(problems))


def _feature_check(name: str, role: FeatureRole, coverages: list[float]) -> FeatureCheck:
    values = np.asarray(coverages, dtype=np.float64)
    return FeatureCheck(
        name=name,
        role=role,
        masks=len(values),
        coverage=float(values.mean()) if len(values) else None,
        empty=int((values < _EMPTY_BELOW).sum()),
        nearly_full=int((values > _INVERTED_ABOVE).sum()),
    )


def _counted(values: Iterable[str | None]) -> dict[str, int]:
    counts = Counter(value for value in values if value is not None)
    return {value: counts[value] for value in sorted(counts)}


def _mask_warnings(features: tuple[FeatureCheck, ...]) -> Iterator[str]:
    for feature in features:
        if feature.looks_inverted:
            yield (
                f"feature {feature.name!r}: its masks cover {feature.coverage:.0%} of the photo on average; are they "
                "inverted? 255 means fully the feature."
            )
        if feature.empty:
            yield f"feature {feature.name!r}: {feature.empty} of {feature.masks} masks are empty."


def _duplicate_warnings(by_digest: Mapping[bytes, list[ImageRow]]) -> Iterator[str]:
    same = [rows for rows in by_digest.values() if len(rows) > 1]
    across = [rows for rows in same if len({row.split for row in rows}) > 1]
    if across:
        yield f"{len(across)} photos are in more than one split, byte for byte, such as {_named(across[0])}."
    labels = [rows for rows in same if len({row.label for row in rows}) > 1]
    if labels:
        yield f"{len(labels)} photos have more than one class, byte for byte, such as {_named(labels[0])}."


def _named(rows: list[ImageRow]) -> str:
    return " and ".join(f"{row.id} ({row.split})" if row.split else row.id for row in rows[:2])
