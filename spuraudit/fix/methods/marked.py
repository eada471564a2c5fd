"""What the two right-for-the-right-reasons methods share: images with a marked region, and random signs of logits."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import torch

from spuraudit.fix.batch import Batch
from spuraudit.fix.methods.base import images_with_core, images_with_spurious
from spuraudit.fix.regions import named
from spuraudit.perturb.draws import rng_of

if TYPE_CHECKING:
    from torch import Tensor

    from spuraudit.fix.job import Job


@dataclass(frozen=True)
class MarkedBatch(Batch):
    """A batch, or a part of it, that knows how many images of the whole step have a region.

    So the mean over them is the same however the step is divided into parts and among devices.
    """

    marked: int = 0


def counted(batch: Batch) -> MarkedBatch:
    """A whole step's batch, for an objective's `show`."""
    marked = int(batch.has_region.sum())
    return MarkedBatch(**{part.name: getattr(batch, part.name) for part in fields(batch)}, marked=marked)


def mean_of_marked(penalties: Tensor, batch: Batch) -> Tensor:
    """(B,) of some images of a step -> a scalar whose mean over the step's images is the mean over the marked ones.

    batch: what `counted` gave, or a part of it. 0 where the step has no marked image.
    """
    assert isinstance(batch, MarkedBatch)
    if not batch.marked:
        return penalties.sum() * 0
    return (penalties * batch.has_region).mean() * (batch.whole / batch.marked)


def signs_of(batch: Batch, outputs: int) -> Tensor:
    """(B, outputs) of -1 and +1, drawn anew for each (seed, step, image)."""
    seed, step = batch.key
    images = zip(batch.places, batch.ids, strict=True)
    drawn = [rng_of(seed, "signs", step, place, name).integers(0, 2, outputs) for place, name in images]
    return torch.from_numpy(2.0 * np.stack(drawn) - 1).float().to(batch.pixels.device)


def lacks_region(job: Job, word: str) -> str | None:
    """Why no training image would have this region; None where some have. Raises UsageError for an unknown word."""
    named(word, job.dataset)
    if word == "auto":
        if job.from_run is not None or images_with_core(job) or images_with_spurious(job):
            return None
        return "no training image has a mask, and no scan is given (--from-run RUN) whose findings mark a region."
    if images_with(job, word):
        return None
    needed = {"background": "a core mask", "spurious": "the mask of a spurious feature"}
    return f"no training image has {needed.get(word, f'a mask of {word!r}')}, which region={word} needs."


def images_with(job: Job, word: str) -> int:
    """Training images with this region by their masks."""
    if word == "auto":
        return sum(bool(row.masks) for row in job.train)
    if word == "background":
        return images_with_core(job)
    if word == "spurious":
        return images_with_spurious(job)
    return sum(any(mask.feature == word for mask in row.masks) for row in job.train)


def note_of_region(job: Job, word: str) -> str:
    """For the record: where the region comes from."""
    if word == "auto" and job.from_run is not None:
        return f"The region is what the scan {job.from_run.name} found for an image's class."
    return f"{images_with(job, word)} of {len(job.train)} training images have the region ({word}), by their masks."
