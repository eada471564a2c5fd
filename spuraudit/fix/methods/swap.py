"""Swap: what the region-swap and patch-swap audits exchange, exchanged in training.

A model that sees each object with the surroundings of other classes cannot learn that these tell the class. Removing
a region (noise, grey) teaches less: "works without it", not "does not read it".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field

from spuraudit.audits.base import BACKGROUND
from spuraudit.errors import UsageError
from spuraudit.fix.batch import AROUND, REGION
from spuraudit.fix.job import Prepared
from spuraudit.fix.methods.base import Method, Options, images_with_spurious
from spuraudit.fix.methods.marked import lacks_region, note_of_region
from spuraudit.fix.objective import Objective
from spuraudit.fix.regions import kinds_of
from spuraudit.perturb.draws import rng_of
from spuraudit.perturb.exchange import paint_out, swap_region

if TYPE_CHECKING:
    from torch import Tensor

    from spuraudit.audits.sample import Sample
    from spuraudit.fix.batch import Batch
    from spuraudit.fix.job import Job


class SwapOptions(Options):
    """Of `swap`."""

    share: float = Field(default=0.5, gt=0, le=1, description="Of the images of a batch, how many are swapped.")
    bare: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Of the swapped, how many lose their own region and get none in return: what the other image has "
        "at that place, without its own region. Not for backgrounds.",
    )
    region: str = Field(
        default="auto", description="auto (a run's findings, else spurious features, else background), or one of them."
    )


@dataclass(frozen=True)
class SwapObjective(Objective):
    """Cross-entropy on images of which some have the region of another image of the batch."""

    options: SwapOptions
    whole_batch: ClassVar[bool] = True

    def show(self, batch: Batch) -> Batch:
        """Keyed on the step: which images are swapped, with whom, and whether the lender's own region comes along."""
        seed, step = batch.key
        rng = rng_of(seed, "swap", step)
        lenders, chances = rng.permutation(len(batch)), rng.random((2, len(batch)))
        shown = [
            swapped(sample, batch.samples[lender], bare=chances[1, place] < self.options.bare)
            if chances[0, place] < self.options.share
            else sample.pixels
            for place, (sample, lender) in enumerate(zip(batch.samples, lenders, strict=True))
        ]
        return batch.shown(torch.stack(shown))


def swapped(sample: Sample, lender: Sample, *, bare: bool = False) -> Tensor:
    """x o (1 - s) + fill(d) o s, as the region-swap audit shows it: (3, H, W).

    Surroundings: s is the image's own, and the lender's object is painted out. A feature or cell: s is the region of
    both images, so that the image loses its own and gets the lender's where the lender has it; with `bare` s is the
    image's own, and the lender's is painted out too. An image without a region gets the lender's, and one without can
    lend what it has there. Nothing changes where neither has a region, or where surroundings would come from an image
    whose object is not known.
    """
    if AROUND in sample.masks:
        known = lender.core is not None
        return swap_region(sample.pixels, sample.masks[AROUND], lender.bare_background) if known else sample.pixels
    nowhere = torch.zeros_like(sample.pixels[0])
    own = sample.masks.get(REGION, nowhere)
    other = nowhere if AROUND in lender.masks else lender.masks.get(REGION, nowhere)
    if bare:
        hidden = other if lender.core is None else torch.maximum(other, lender.core)
        return swap_region(sample.pixels, own, paint_out(lender.pixels, hidden))
    # What the lender's region covers stays whole, although an object may lie under it.
    lent = swap_region(lender.without_object, other, lender.pixels)
    return swap_region(sample.pixels, torch.maximum(own, other), lent)


@dataclass(frozen=True)
class Swap(Method):
    """Images with the region of other images, of whatever class these are.

    Lenders are all images of the batch: if only other classes lent, the region would tell which class an image is not.
    """

    name: ClassVar[str] = "swap"
    title: ClassVar[str] = "region swap in training"
    source: ClassVar[str] = "the region-swap audit, as training images"
    needs: ClassVar[str] = "masks of regions or objects in two or more classes, or --from-run"
    reads: ClassVar[tuple[str, ...]] = ("from_run",)
    options_type: ClassVar[type[Options]] = SwapOptions

    def check_options(self, job: Job) -> None:
        """As of every method; and `bare` needs regions that are features or cells."""
        super().check_options(job)
        assert isinstance(self.options, SwapOptions)
        if not self.options.bare:
            return
        kinds = kinds_of(job.region(self.options.region), job.train)
        if kinds.around and not kinds.placed:
            raise UsageError(
                "swap: bare is for features and cells, and the region of every training image is its background, which "
                "can only be exchanged for another one.",
                "Leave out bare, or give the masks of a spurious feature or a scan that found a cell.",
            )

    def lacks(self, job: Job) -> str | None:
        """Masks, or a scan that found a region."""
        assert isinstance(self.options, SwapOptions)
        region = self.options.region
        lack = lacks_region(job, region)
        placed = job.from_run is not None or images_with_spurious(job)
        if lack is not None or (placed and region != BACKGROUND):
            return lack
        classes = {row.label for row in job.train if row.has_core}
        if len(classes) < 2:
            return "core masks lie in one class only, whose backgrounds no other class can take."
        return None

    def prepare(self, job: Job) -> Prepared:
        """The start, with the region marked in each image."""
        options = self.options
        assert isinstance(options, SwapOptions)
        region = job.region(options.region)
        notes = [note_of_region(job, options.region)]
        if options.bare and (kinds := kinds_of(region, job.train)).around:
            notes.append(
                f"bare acts on {kinds.placed} of {len(job.train)} training images, whose region is a feature or a "
                f"cell; of {kinds.around} it is the background, which is only exchanged."
            )
        if job.train[0].split == "train":
            notes.append(
                "The region-swap audit lends regions of training images, which this method showed in training."
            )
        return Prepared(job.started(), SwapObjective(options), region=region, notes=tuple(notes))
