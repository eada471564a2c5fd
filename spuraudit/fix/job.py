"""What a method is given to work with: model, data, settings, and hands to train and to look."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

import torch

from spuraudit.errors import UsageError
from spuraudit.fix import regions
from spuraudit.fix.devices import train_on
from spuraudit.fix.feed import KEPT_BYTES, Feed
from spuraudit.fix.head import Redrawn, find_head, penultimate, started
from spuraudit.fix.loop import Training
from spuraudit.fix.objective import Objective
from spuraudit.fix.state import TrainingFolder
from spuraudit.models.class_map import AnswerSpace, ClassMap, class_map
from spuraudit.record.folder import read_record
from spuraudit.runs.batching import Batches
from spuraudit.runs.loader import Kept, Loader
from spuraudit.runs.right_answers import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from torch import Tensor

    from spuraudit.audits.sample import Sample
    from spuraudit.data.dataset import Dataset, ImageRow
    from spuraudit.fix.curve import Curve
    from spuraudit.fix.loop import Validate
    from spuraudit.fix.regions import Region
    from spuraudit.fix.settings import Start, TrainingSettings
    from spuraudit.models.model import Model
    from spuraudit.record.scan import ScanRecord
    from spuraudit.runs.prepare import Machine
    from spuraudit.runs.progress import Progress


@dataclass(frozen=True)
class Prepared:
    """What a method wants trained: a model of its own to train in place, on which images, towards what.

    rows: of `dataset`, with repeats; None: the job's own training images. region: what `Batch.region` will hold.
    steps: None, as many as the control; 0: the model is the result as it is. trained: by name, which parameters.
    beyond: images that it learns from and its control does not, as 'the labels and groups of 320 validation images'.
    """

    model: Model
    objective: Objective = field(default_factory=Objective)
    dataset: Dataset | None = None
    rows: tuple[ImageRow, ...] | None = None
    region: Region | None = None
    steps: int | None = None
    trained: Callable[[str], bool] | None = None
    beyond: str | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """A model to be fixed, and with what. Nothing here is changed by a method: it trains copies.

    model: as delivered. train, validation: images to learn from, and to choose by (may be empty). start: where
    trainings begin. from_run: folder of a scan whose findings are the region. annotations: folder or file of yes/no
    answers. folder: for trainings and generated images; a method may write below it. devices: of the model's kind, that
    share every batch. answers: which outputs of the model may be given, as in a scan. allow_download:
    of a generator's weights.
    """

    model: Model
    dataset: Dataset
    train: tuple[ImageRow, ...]
    validation: tuple[ImageRow, ...]
    settings: TrainingSettings
    start: Start
    seed: int
    folder: Path
    machine: Machine
    progress: Progress
    from_run: Path | None = None
    annotations: Path | None = None
    validate: Validate | None = None
    devices: int = 1
    answers: AnswerSpace = "all"
    allow_download: bool = False
    kept: Kept = field(default_factory=lambda: Kept(KEPT_BYTES), repr=False)

    @cached_property
    def steps(self) -> int:
        """Of the control, and of every method that trains."""
        return self.settings.total_steps(len(self.train))

    def started(self, start: Start | None = None) -> Model:
        """A copy of the model to train from; None: the job's own start."""
        return started(self.model, start or self.start, len(self.dataset.classes), self.seed)

    def class_map(self, model: Model) -> ClassMap:
        """Which outputs of a model are which class: the data's, or output k is class k of a model drawn anew."""
        names = [info.name for info in self.dataset.classes]
        outputs = [None if isinstance(model, Redrawn) else info.outputs for info in self.dataset.classes]
        return class_map(outputs, names, model.record.num_classes, self.answers, model.record.head)

    @cached_property
    def record(self) -> ScanRecord | None:
        """Of the scan whose findings are the region. Raises RunError."""
        return None if self.from_run is None else read_record(self.from_run)

    def region(self, word: str) -> Region:
        """A word of `regions.named`; 'auto' is what the scan found, where one is given. Errors as there.

        Raises UsageError for other words beside a scan, which would not be read.
        """
        masked = regions.named(word, self.dataset)
        if self.record is None:
            return masked
        if word != "auto":
            raise UsageError(
                f"region={word} is taken from masks, so that --from-run {self.from_run} would not be read.",
                f"Leave out --from-run; or leave out region={word} for what the scan found.",
            )
        return regions.found_by(self.record, self.dataset)

    def training(self, name: str, prepared: Prepared, seed: int | None = None) -> Training:
        """The loop's form of what a method prepared."""
        rows = self.train if prepared.rows is None else prepared.rows
        feed = Feed(
            prepared.dataset or self.dataset,
            rows,
            prepared.model.record.preprocess,
            self.settings,
            self.seed if seed is None else seed,
            self.kept,
            self.machine.threads,
            prepared.region,
        )
        steps = self.steps if prepared.steps is None else prepared.steps
        mapping = self.class_map(prepared.model)
        return Training(
            name,
            prepared.model,
            mapping,
            feed,
            prepared.objective,
            steps,
            prepared.trained,
            self.validate,
            delivered=not isinstance(prepared.model, Redrawn),
        )

    def fit(self, name: str, prepared: Prepared) -> Curve:
        """Train `prepared.model` in place, in a folder of this name; goes on where an earlier call was stopped."""
        return train_on(self.devices, self.training(name, prepared), TrainingFolder(self.folder / name), self.progress)

    def early(self, start: Start, epochs: float) -> Model:
        """Plain cross-entropy for a few epochs, without selection: the identifying model of JTT and SCGS."""
        update = {"epochs": epochs, "steps": None, "select": None, "patience": None}
        early = replace(
            self,
            settings=self.settings.model_copy(update=update).starting(start),
            start=start,
            validate=None,
        )
        prepared = Prepared(early.started())
        name = "early-" + json.dumps([start, epochs]).strip("[]").replace('"', "").replace(", ", "-")
        early.fit(name, prepared)
        return prepared.model

    def samples(self, rows: Sequence[ImageRow], model: Model | None = None) -> Iterator[Sample]:
        """Images as decoded, in order, each with its masks."""
        asked = model or self.model
        with Loader(self.dataset, asked.record.preprocess, asked.device, self.machine.threads, self.kept, 32) as loader:
            for loaded in loader.load((row, ()) for row in rows):
                yield loaded.sample

    def predicted(self, model: Model, rows: Sequence[ImageRow]) -> Tensor:
        """Answers of a model in eval mode: (N,) int64 classes of the dataset, -1 for none of them."""
        mapping, size = self.class_map(model), self.machine.batch_size
        batches = Batches(size, self.progress.say)
        found = [answer(model, mapping, pixels, batches).predicted for pixels in self._pixels(model, rows)]
        return torch.cat(found) if found else torch.empty(0, dtype=torch.int64)

    def features(self, model: Model, rows: Sequence[ImageRow]) -> Tensor:
        """What the last linear layer reads: (N, D) float32 on the CPU. Raises ModelError without one."""
        head = find_head(model)
        return torch.cat([penultimate(model, head, pixels).cpu() for pixels in self._pixels(model, rows)])

    def _pixels(self, model: Model, rows: Sequence[ImageRow]) -> Iterator[Tensor]:
        samples = self.samples(rows, model)
        while some := list(islice(samples, self.machine.batch_size)):
            yield torch.stack([sample.pixels for sample in some])
