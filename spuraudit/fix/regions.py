"""The region of an image that a model should not read: from masks, or from the findings of a scan."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import torch

from spuraudit.audits.base import BACKGROUND
from spuraudit.audits.sample import Sample
from spuraudit.errors import FixError, UsageError, did_you_mean
from spuraudit.perturb.exchange import grid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from torch import Tensor

    from spuraudit.data.dataset import Dataset, ImageRow
    from spuraudit.record.scan import Finding, ScanRecord

    #: A sample as decoded -> its region; None where nothing is known of the image.
    Region = Callable[[Sample], "Found | None"]
    #: Top, bottom, left and right of a cell, as shares of height and width.
    Box = tuple[float, float, float, float]


class Found(NamedTuple):
    """mask (H, W), soft in 0..1, 1 = spurious. around: it is all that surrounds the object, not a thing in a place."""

    mask: Tensor
    around: bool = False


def background(sample: Sample) -> Found | None:
    """What is neither core nor annotated as spurious."""
    return None if sample.core is None else Found(sample.background, around=True)


def annotated(sample: Sample) -> Found | None:
    """The union of the annotated spurious features."""
    union = sample.union("spurious")
    return None if union is None else Found(union)


def either(sample: Sample) -> Found | None:
    """The annotated spurious features where the image has any, else its background."""
    return annotated(sample) or background(sample)


@dataclass(frozen=True)
class OfFeature:
    """The mask of one feature."""

    name: str

    def __call__(self, sample: Sample) -> Found | None:
        """None where the image has no such mask."""
        return Found(sample.masks[self.name]) if self.name in sample.masks else None


def named(word: str, dataset: Dataset) -> Region:
    """'auto' (spurious features, else background), 'background', 'spurious' or the name of a spurious feature.

    Raises UsageError for other words.
    """
    fixed: dict[str, Region] = {"auto": either, BACKGROUND: background, "spurious": annotated}
    features = [feature.name for feature in dataset.features if feature.role == "spurious"]
    if word in fixed:
        return fixed[word]
    if word not in features:
        known = [*fixed, *features]
        raise UsageError(
            f"There is no region {word!r}.", did_you_mean(word, known) or f"Use one of {', '.join(known)}."
        )
    return OfFeature(word)


class Kinds(NamedTuple):
    """How many images have a region in a place (a feature or a cell), and how many one all around the object."""

    placed: int
    around: int


def kinds_of(region: Region, rows: Iterable[ImageRow]) -> Kinds:
    """By class and by which masks there are, without reading these. Images without a region are in neither count."""
    alike: dict[object, list[ImageRow]] = defaultdict(list)
    for row in rows:
        alike[row.label, *((mask.feature, mask.role) for mask in row.masks)].append(row)
    counts: Counter[bool] = Counter()
    for row, *more in alike.values():
        found = region(Sample(row, torch.zeros(3, 1, 1), {mask.feature: torch.zeros(1, 1) for mask in row.masks}))
        if found is not None:
            counts[found.around] += 1 + len(more)
    return Kinds(counts[False], counts[True])


def found_by(record: ScanRecord, dataset: Dataset) -> OfFindings:
    """What a scan suspects, by class: cells of its patch swap, and masks of features it found.

    An image's region is the union of what was found for its class; None where nothing was.
    Raises FixError where the scan suspects nothing that can be placed, or is of other classes.
    """
    names = [info.name for info in dataset.classes]
    of_class: dict[int, list[Finding]] = defaultdict(list)
    for finding in record.findings:
        if finding.suspected and finding.class_name in names:
            of_class[names.index(finding.class_name)].append(finding)
    if not of_class:
        raise FixError(
            f"The scan of {record.model.name} suspects no feature or region of a class of {dataset.name}.",
            "Scan with --audits patch_swap to search for regions, or leave out --from-run: masks then give the region.",
        )

    return OfFindings(dict(of_class), _cells_of(record))


def _cells_of(record: ScanRecord) -> Mapping[int, Box]:
    """Each cell of a scan's grid by its number; empty where it swept none."""
    patch = next((audit.params.get("patch") for audit in record.audits if audit.name == "patch_swap"), None)
    geometry = record.model.preprocess.geometry
    if not isinstance(patch, int):
        return {}
    high, wide = geometry.height, geometry.width
    return {
        cell.number: (cell.top / high, cell.bottom / high, cell.left / wide, cell.right / wide)
        for cell in grid(high, wide, patch).cells
    }


@dataclass(frozen=True)
class OfFindings:
    """What a scan suspects, by class of the dataset; and where its cells lie."""

    of_class: Mapping[int, Sequence[Finding]]
    cells: Mapping[int, Box]

    def __call__(self, sample: Sample) -> Found | None:
        """The union of what was found for the image's class; None where nothing was."""
        placed = [self._placed(finding, sample) for finding in self.of_class.get(sample.row.label, [])]
        known = [one for one in placed if one is not None]
        if not known:
            return None
        return Found(torch.stack([one.mask for one in known]).amax(dim=0), any(one.around for one in known))

    def _placed(self, finding: Finding, sample: Sample) -> Found | None:
        if finding.cell is None:
            return background(sample) if finding.feature == BACKGROUND else OfFeature(finding.feature)(sample)
        # Shares of the scan's input: this model's may have another size.
        top, bottom, left, right = self.cells[finding.cell.number]
        height, width = sample.pixels.shape[-2:]
        area = torch.zeros_like(sample.pixels[0])
        area[round(top * height) : round(bottom * height), round(left * width) : round(right * width)] = 1
        return Found(area)
