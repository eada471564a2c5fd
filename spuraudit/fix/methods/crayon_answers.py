"""What CRAYON learns from: original maps of training images, and whether somebody called them relevant.

Answers come from `spuraudit annotate` or from a table; without either, from core masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F

from spuraudit.errors import DataError, FixError, SpurauditError
from spuraudit.explain.activation_maps import class_activation, forward_with_features
from spuraudit.fix.losses.plain import class_logits, membership
from spuraudit.fix.losses.right_reasons import on_cells
from spuraudit.fix.methods.base import images_with_core
from spuraudit.fix.methods.grids import lacks_grid
from spuraudit.models.class_map import ClassMap, class_map
from spuraudit.models.feature_grid import with_gradients
from spuraudit.record.annotations import Annotations, read_annotations, read_maps
from spuraudit.record.relevance import HIGHLIGHTED, NO_UP_TO, YES_FROM, derive
from spuraudit.runs.batching import Batches
from spuraudit.runs.progress import stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from spuraudit.audits.sample import Sample
    from spuraudit.data.dataset import ImageRow
    from spuraudit.fix.batch import Batch
    from spuraudit.fix.job import Job
    from spuraudit.models.feature_grid import FeatureGrid

#: Cells are cut this fine where a map is cropped with its image.
_FINE = 8


@dataclass(frozen=True)
class Answered:
    """Images with a yes or a no. maps: (n, rows, columns) float32, at least 0, of the original model, in the cells of
    the network in training; relevant: (n,) bool."""

    ids: tuple[str, ...]
    maps: Tensor
    relevant: Tensor
    notes: tuple[str, ...] = ()

    @property
    def yes(self) -> int:
        """Images whose map is relevant."""
        return int(self.relevant.sum())

    @property
    def no(self) -> int:
        """Images whose map is not."""
        return len(self.ids) - self.yes

    @cached_property
    def places(self) -> dict[str, int]:
        """Image -> number of its map."""
        return {image: place for place, image in enumerate(self.ids)}

    def of(self, batch: Batch) -> InBatch:
        """The maps of a batch's images as the images are seen, and their answers."""
        places = torch.tensor([self.places.get(image, -1) for image in batch.ids])
        known, device = places >= 0, batch.pixels.device
        maps = self.maps[places.clamp_min(0)] * known[:, None, None]
        relevant = self.relevant[places.clamp_min(0)] & known
        return InBatch(placed(batch, maps).to(device), relevant.to(device), (known & ~relevant).to(device))


class InBatch(NamedTuple):
    """maps (B, rows, columns), 0 without an answer; relevant, irrelevant (B,) bool, both False without one."""

    maps: Tensor
    relevant: Tensor
    irrelevant: Tensor


def placed(batch: Batch, maps: Tensor) -> Tensor:
    """Maps (B, rows, columns) of the images as stored -> as they are seen; a crop may cut through cells."""
    if all(view.crop is None for view in batch.views):
        return batch.placed(maps)
    fine = maps.repeat_interleave(_FINE, dim=1).repeat_interleave(_FINE, dim=2)
    return on_cells(batch.placed(fine).clamp_min(0), (maps.shape[1], maps.shape[2]))


def lacks_answers(job: Job) -> str | None:
    """Why there is no answer to learn from, or no map it was given about; None where there is."""
    missing = lacks_grid(job.model)
    if missing is not None:
        return missing
    if job.annotations is None and not images_with_core(job):
        return (
            "no annotations are given (--annotations FOLDER, made with spuraudit annotate), and no training image has "
            "a core mask to derive them from."
        )
    try:
        given = None if job.annotations is None else read_annotations(job.annotations)
        if given is not None and not _verdicts(given, job):
            return f"{job.annotations} has no yes or no about a training image of {job.dataset.name}."
        if given is None or given.about is None or not given.about.has_maps:
            delivered_classes(job)
    except SpurauditError as error:
        return f"{error.message} {error.hint or ''}".strip()
    return None


def delivered_classes(job: Job) -> ClassMap:
    """Which outputs of the delivered model are which class. Raises DataError where it does not know the classes."""
    names, record = [info.name for info in job.dataset.classes], job.model.record
    try:
        return class_map([info.outputs for info in job.dataset.classes], names, record.num_classes, "all", record.head)
    except DataError as error:
        raise DataError(
            f"{record.name} has no map of an image's true class: {error.message}",
            "Train it on these classes first (erm), and give that model.",
        ) from error


def find_answers(job: Job, grid: FeatureGrid) -> Answered:
    """Answers of the job's annotations with their maps, or what masks say about the delivered model's maps.

    Raises DataError and RunError for annotations that cannot be read, FixError where no training image has a yes or no.
    """
    found = _from_masks(job, grid) if job.annotations is None else _from_files(job, grid)
    if not found.ids:
        raise FixError(
            "No training image has a yes or a no: every map lies partly on the object, or nowhere.",
            "Answer by hand (spuraudit annotate), or use a method that needs no answers.",
        )
    counts = f"Of {len(job.train)} training images, {found.yes} have a relevant map and {found.no} an irrelevant one."
    return Answered(found.ids, found.maps, found.relevant, (*found.notes, counts))


def _verdicts(given: Annotations, job: Job) -> dict[str, bool]:
    """Training images with a yes (True) or a no."""
    answers = {row.id: given.answers.get(row.id) for row in job.train}
    return {image: answer == "yes" for image, answer in answers.items() if answer in ("yes", "no")}


def _from_files(job: Job, grid: FeatureGrid) -> Answered:
    folder = job.annotations
    assert folder is not None
    given = read_annotations(folder)
    verdicts, about = _verdicts(given, job), given.about
    other = len(given.answers) - sum(row.id in given.answers for row in job.train)
    notes = [f"{other} answers are about images that are not trained on; they are left out."] if other else []
    if given.derived is not None:
        notes.append("The answers were computed from masks, by `spuraudit annotate`.")
    if about is not None and about.has_maps:
        stored = torch.from_numpy(read_maps(folder).of(list(verdicts)))
        if about.model is None or about.model.sha256 != job.model.record.sha256:
            source = "imported lists" if about.model is None else about.model.name
            notes.append(f"Answers and maps were made with another model ({source}) and are transferred.")
        if about.explains == "prediction":
            notes.append("The stored maps are of the class that was predicted; the maps in training of the true one.")
        maps, resized = _resized(stored, grid)
        notes += resized
    else:
        rows = [row for row in job.train if row.id in verdicts]
        maps = original_maps(job, grid, rows).maps
        notes.append(f"The answers come without maps: those of {job.model.record.name} were made for them.")
    return Answered(tuple(verdicts), maps, torch.tensor(list(verdicts.values()), dtype=torch.bool), tuple(notes))


def _from_masks(job: Job, grid: FeatureGrid) -> Answered:
    rows = [row for row in job.train if row.has_core]
    original = original_maps(job, grid, rows)
    answers = derive(original.maps.numpy(), original.cores.numpy())
    places = [place for place, answer in enumerate(answers) if answer in ("yes", "no")]
    note = (
        f"Nobody answered: derived from masks, by how much of what a map highlights (cells from {HIGHLIGHTED:g} of "
        f"its largest value on) lies on the object (from {YES_FROM:g} on yes, up to {NO_UP_TO:g} no), for {len(rows)} "
        "images with a core mask."
    )
    relevant = torch.tensor([answers[place] == "yes" for place in places], dtype=torch.bool)
    return Answered(tuple(rows[place].id for place in places), original.maps[places], relevant, (note,))


class Original(NamedTuple):
    """maps (n, rows, columns) float32: ReLU Grad-CAM of the true class. cores: the core masks averaged over the same
    cells, NaN without one."""

    maps: Tensor
    cores: Tensor


def original_maps(job: Job, grid: FeatureGrid, rows: Sequence[ImageRow]) -> Original:
    """Of the delivered model, in eval mode and float32, on the images as they are stored. Raises DataError."""
    classes, model = delivered_classes(job), job.model
    members = membership(classes.outputs, classes.num_outputs).to(model.device)

    def explain(samples: Sequence[Sample], part: slice) -> Tensor:
        pixels = torch.stack([sample.pixels for sample in samples[part]])
        labels = torch.tensor([sample.row.label for sample in samples[part]], device=model.device)
        with with_gradients(model):
            logits, output = forward_with_features(model.network, grid, model.normalise(pixels))
            scores = class_logits(logits.float(), members, classes.head)
            return class_activation(scores, output, grid, labels).float().cpu()

    maps, cores = [torch.empty(0, grid.rows, grid.columns)], [torch.empty(0, grid.rows, grid.columns)]
    batches, samples = Batches(job.machine.batch_size, job.progress.say), job.samples(rows)
    with stage(job.progress, "Explaining", len(rows), "images"):
        while some := list(islice(samples, batches.size)):
            maps += batches.run(len(some), partial(explain, some))
            cores.append(torch.stack([core_on_cells(sample, grid) for sample in some]))
            job.progress.advance(len(some))
    return Original(torch.cat(maps), torch.cat(cores))


def core_on_cells(sample: Sample, grid: FeatureGrid) -> Tensor:
    """(rows, columns) mean of the core mask over each cell, on the CPU; NaN without a mask."""
    size = (grid.rows, grid.columns)
    return torch.full(size, torch.nan) if sample.core is None else on_cells(sample.core[None], size)[0].cpu()


def _resized(maps: Tensor, grid: FeatureGrid) -> tuple[Tensor, list[str]]:
    size = (grid.rows, grid.columns)
    if tuple(maps.shape[1:]) == size:
        return maps, []
    note = (
        f"The stored maps have {maps.shape[1]}x{maps.shape[2]} cells; they were resized to {size[0]}x{size[1]} "
        "(bilinear)."
    )
    resized = F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False, antialias=True)
    return resized[:, 0].clamp_min(0), [note]
