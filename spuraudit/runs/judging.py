"""Which of the architectures that the same weights fit is meant: labelled clean images decide."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from spuraudit.data.geometry import geometry_for
from spuraudit.errors import DataError, ModelError
from spuraudit.models.class_map import class_map
from spuraudit.models.preprocess import with_geometry
from spuraudit.runs.batching import Batches
from spuraudit.runs.chance import PROBE_IMAGES, chance_check
from spuraudit.runs.cohort import choose_split, limited
from spuraudit.runs.loader import Kept, Loader
from spuraudit.runs.progress import Silent, stage
from spuraudit.runs.right_answers import right_answers
from spuraudit.stats.paired import sign_flip

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from spuraudit.data.dataset import Dataset, ImageRow
    from spuraudit.models.class_map import ClassMap
    from spuraudit.models.model import Model
    from spuraudit.record.settings import ScanSettings
    from spuraudit.runs.prepare import Machine
    from spuraudit.runs.progress import Progress
    from spuraudit.runs.right_answers import Asked

#: The best candidate is chosen where chance would put it this far ahead of any other kind this rarely.
LEVEL = 0.01


@dataclass(frozen=True)
class _Judged:
    """A candidate and its answers to the images. alike: other candidates that answer every image as it does."""

    model: Model
    asked: Asked
    near_chance: bool
    alike: tuple[str, ...] = ()

    @property
    def score(self) -> int:
        return int(self.asked.right.sum())


def chooser(
    dataset: Dataset, settings: ScanSettings, machine: Machine, progress: Progress | None = None
) -> Callable[[list[Model]], Model]:
    """What `models.load(choose=...)` takes: picks among models of the same weights by labelled clean images.

    Each candidate answers up to 128 images of the audited split, evenly over classes, in its own preprocessing. The
    one with the most right answers is chosen where the exact paired test against every other kind gives p < 0.01;
    candidates that answer every image with the same output are of one kind, and its first stands for it. The chosen
    record's `arch_origin` gives the scores. Raises ModelError, with every score, where that does not decide or no
    candidate is above chance; DataError where dataset and outputs do not fit.
    """

    def choose(candidates: list[Model]) -> Model:
        rows = _rows(dataset, settings)
        kinds = _kinds(_judge(candidates, dataset, rows, settings, machine, progress or Silent()))
        best, *others = sorted(kinds, key=lambda kind: -kind.score)  # stable: the first of equals stays in front
        if all(kind.near_chance for kind in kinds):
            raise _undecided([best, *others], len(rows), "none of them is above chance on the labelled clean images")
        if any(_p(best, other) >= LEVEL for other in others):
            raise _undecided([best, *others], len(rows), "the labelled clean images do not tell them apart")
        return _chosen(best, others, len(rows))

    return choose


def _rows(dataset: Dataset, settings: ScanSettings) -> tuple[ImageRow, ...]:
    """The images that a scan's probe would ask."""
    in_split = dataset.in_split(choose_split(dataset, settings.split))
    if not in_split:
        raise DataError(f"{dataset.origin or dataset.name}: no image to audit.", "Run `spuraudit data check`.")
    return limited(limited(in_split, settings.limit), PROBE_IMAGES)


def _judge(
    candidates: Sequence[Model],
    dataset: Dataset,
    rows: Sequence[ImageRow],
    settings: ScanSettings,
    machine: Machine,
    progress: Progress,
) -> list[_Judged]:
    """Every candidate's answers. Images are decoded once for all candidates of one geometry."""
    kept: dict[str, Kept] = {}
    found = []
    batches = Batches(machine.batch_size, progress.say)
    with stage(progress, "Comparing architectures", len(candidates) * len(rows), "images"):
        for candidate in candidates:
            model = _in_geometry(candidate, dataset)
            preprocess = model.record.preprocess
            mapping = _class_map(model, dataset, settings)
            # The mean fills the border of some crops.
            same = kept.setdefault(f"{preprocess.geometry!r} {preprocess.mean}", Kept())
            with Loader(dataset, preprocess, model.device, machine.threads, same) as loader:
                (asked,) = right_answers([model], mapping, loader, rows, batches, progress)
            labels = np.array([row.label for row in rows])
            near = chance_check(asked.right, labels, mapping).near_chance
            found.append(_Judged(candidate, asked, near))
    return found


def _in_geometry(model: Model, dataset: Dataset) -> Model:
    """The model as a scan of the dataset would ask it."""
    if dataset.fixed_crop_pct is None:
        return model
    return with_geometry(model, geometry_for(dataset, model.record.preprocess.geometry), "dataset")


def _class_map(model: Model, dataset: Dataset, settings: ScanSettings) -> ClassMap:
    outputs = [info.outputs for info in dataset.classes]
    names = [info.name for info in dataset.classes]
    return class_map(outputs, names, model.record.num_classes, settings.answers, model.record.head)


def _kinds(judged: Sequence[_Judged]) -> list[_Judged]:
    """The first of every set of candidates that answer all images alike."""
    kinds: list[_Judged] = []
    for one in judged:
        same = (i for i, kind in enumerate(kinds) if np.array_equal(one.asked.outputs, kind.asked.outputs))
        place = next(same, None)
        if place is None:
            kinds.append(one)
        else:
            kinds[place] = replace(kinds[place], alike=(*kinds[place].alike, one.model.record.arch))
    return kinds


def _p(one: _Judged, other: _Judged) -> float:
    difference: NDArray[np.int64] = one.asked.right.astype(np.int64) - other.asked.right.astype(np.int64)
    return sign_flip(difference)


def _chosen(best: _Judged, others: Sequence[_Judged], images: int) -> Model:
    origin = f"labelled clean images: {best.score} of {images} right"
    if others:
        origin += f", next {others[0].model.record.arch} {others[0].score}"
    return replace(best.model, record=best.model.record.model_copy(update={"arch_origin": origin}))


def _undecided(kinds: Sequence[_Judged], images: int, why: str) -> ModelError:
    name = kinds[0].model.record.file or kinds[0].model.record.name
    listed = "\n".join(
        f"  {', '.join([kind.model.record.arch, *kind.alike])}: {kind.score} of {images} right"
        f"{', with the same answers' if kind.alike else ''}"
        for kind in kinds
    )
    return ModelError(
        f"{name} does not say which architecture its weights belong to, they fit several that compute differently, "
        f"and {why}:\n{listed}",
        f"Name it with --arch, such as --arch {kinds[0].model.record.arch}; with few images raise --limit.",
    )
