"""The batches of a training: which images in which order, each decoded and augmented by keys.

A batch is a function of (seed, step), so that a training that is resumed, or spread over devices, sees the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.audits.sample import Sample
from spuraudit.fix.batch import AROUND, REGION, Batch, draw_view
from spuraudit.fix.settings import steps_per_epoch
from spuraudit.perturb.draws import rng_of
from spuraudit.runs.loader import Kept, Loader

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from spuraudit.data.dataset import Dataset, ImageRow
    from spuraudit.fix.regions import Region
    from spuraudit.fix.settings import TrainingSettings
    from spuraudit.record.geometry import Preprocess

#: Decoded training images that stay in memory for the next epoch; more than these are decoded again.
KEPT_BYTES = 2**30


@dataclass(frozen=True)
class Feed:
    """The training images. `rows` may name an image more than once: it is then drawn more often."""

    dataset: Dataset
    rows: tuple[ImageRow, ...]
    preprocess: Preprocess
    settings: TrainingSettings
    seed: int
    kept: Kept
    threads: int = 2
    #: What `Batch.region` holds: found in the image as it is stored, then augmented with it.
    region: Region | None = None

    @property
    def epoch(self) -> int:
        """Steps of an epoch."""
        return steps_per_epoch(len(self.rows), self.settings.batch_size)

    @property
    def even(self) -> bool:
        """Whether every image is drawn equally often."""
        return len({row.id for row in self.rows}) == len(self.rows)

    def batches(self, device: torch.device, start: int, stop: int, among: tuple[int, int] = (0, 1)) -> Iterator[Batch]:
        """The batches of steps start..stop-1. among: (i, n), the i-th of n equal parts of each."""
        ahead = self.settings.batch_size  # the next batch is prepared beside the pass of this one
        with Loader(self.dataset, self.preprocess, device, self.threads, self.kept, ahead) as loader:
            places = (place for step in self._steps(start, stop) for place in step[among[0] :: among[1]])
            loaded = loader.load((self.rows[place], ()) for place in places)
            for step, chosen in enumerate(self._steps(start, stop), start):
                part = slice(among[0], None, among[1])
                mine, in_step = chosen[part], range(len(chosen))[part]
                samples = [self._marked(next(loaded).sample) for _ in mine]
                views = [
                    draw_view(self.settings.flip, self.settings.crop, self.seed, step // self.epoch, int(place))
                    for place in mine
                ]
                yield Batch.of(samples, views, in_step, (self.seed, step), len(chosen))

    def _marked(self, sample: Sample) -> Sample:
        found = None if self.region is None else self.region(sample)
        if found is None:
            return sample
        marks = {REGION: found.mask, **({AROUND: found.mask} if found.around else {})}
        return Sample(sample.row, sample.pixels, {**sample.masks, **marks})

    def _steps(self, start: int, stop: int) -> Iterator[NDArray[np.int64]]:
        """Places in `rows` of each step's images."""
        for epoch in range(start // self.epoch, -(-stop // self.epoch)):
            order = rng_of(self.seed, "order", epoch).permutation(len(self.rows))
            first = epoch * self.epoch
            for step in range(max(start, first), min(stop, first + self.epoch)):
                yield order[(step - first) * self.settings.batch_size :][: self.settings.batch_size]


def repeated(rows: Sequence[ImageRow], again: Sequence[ImageRow], times: int) -> tuple[ImageRow, ...]:
    """All rows, and some of them so many times more (the upweighted set of JTT)."""
    return (*rows, *(row for row in again for _ in range(times)))
