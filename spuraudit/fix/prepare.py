"""Prepares a fix: what can be told from model, data and settings is refused before anything is trained or written."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from spuraudit import __version__
from spuraudit.data.fingerprint import fingerprint
from spuraudit.errors import DataError, UsageError
from spuraudit.fix.catalogue import check_needs
from spuraudit.fix.devices import check_devices
from spuraudit.fix.division import Division, divide
from spuraudit.fix.feed import KEPT_BYTES
from spuraudit.fix.head import started
from spuraudit.fix.job import Job
from spuraudit.fix.optimisers import make_optimizer, make_schedule
from spuraudit.fix.plan import FixPlan
from spuraudit.fix.regions import found_by
from spuraudit.fix.saving import check_savable
from spuraudit.fix.settings import Start, TrainingSettings
from spuraudit.fix.validation import Validator, check_measure
from spuraudit.models.precision import resolve_precision
from spuraudit.record.folder import read_record, resolve_run, sha256_of
from spuraudit.record.settings import ScanSettings
from spuraudit.runs.cohort import ids_sha256
from spuraudit.runs.loader import Kept
from spuraudit.runs.prepare import Machine, arrange
from spuraudit.runs.progress import Progress, Silent

if TYPE_CHECKING:
    from spuraudit.data.dataset import Dataset
    from spuraudit.fix.methods.base import Method
    from spuraudit.models.model import Model


@dataclass(frozen=True)
class Wanted:
    """What the user chose of a fix, apart from model, data and method.

    train, validation: names of splits; None: the usual ones. limit: at most so many training images. scan: how the
    held-out images are scanned (its split, seed and limit among others). from_run, annotations: see `Job`.
    """

    training: TrainingSettings = field(default_factory=TrainingSettings)
    scan: ScanSettings = field(default_factory=ScanSettings)
    start: Start = "model"
    train: str | None = None
    validation: str | None = None
    limit: int | None = None
    from_run: Path | None = None
    annotations: Path | None = None
    devices: int = 1
    allow_download: bool = False


@dataclass(frozen=True)
class Fix:
    """A prepared fix. `job.folder` is set when it is carried out."""

    method: Method
    job: Job
    division: Division
    wanted: Wanted

    @property
    def scan(self) -> ScanSettings:
        """Of the held-out images."""
        return self.wanted.scan.model_copy(update={"split": self.division.held_out})

    @cached_property
    def plan(self) -> FixPlan:
        """What the weights depend on."""
        job = self.job
        return FixPlan(
            tool_version=__version__,
            model=job.model.record,
            data_fingerprint=fingerprint(job.dataset),
            train_sha256=ids_sha256(job.train),
            validation_sha256=ids_sha256(job.validation),
            held_out=self.division.held_out,
            method=self.method.name,
            options=self.method.options.model_dump(mode="json"),
            training=job.settings,
            start=job.start,
            seed=job.seed,
            from_run_sha256=None if job.from_run is None else sha256_of(resolve_run(job.from_run) / "scan.json"),
            annotations_sha256=None if job.annotations is None else _content_sha256(job.annotations),
            scan=self.scan,
        )


def prepare_fix(
    model: Model,
    dataset: Dataset,
    method: Method,
    wanted: Wanted,
    machine: Machine | None = None,
    progress: Progress | None = None,
) -> Fix:
    """Divide the data, check that model and data have what the method needs. Nothing is trained yet.

    Raises UsageError, DataError, ModelError; FixError where the method lacks something, with the ones that would work.
    """
    machine, progress = machine or Machine(), progress or Silent()
    check_savable(model)
    training = wanted.training.starting(wanted.start)
    check_devices(wanted.devices, model.device, training.batch_size)
    check_training(training, model)
    measure = training.select
    division = divide(
        dataset,
        train=wanted.train,
        validation=wanted.validation,
        held_out=wanted.scan.split,
        limit=wanted.limit,
        choosing=measure is not None,
    )
    dataset = division.dataset
    first = model
    if wanted.start != "model":
        first = started(model, wanted.start, len(dataset.classes), wanted.scan.seed)
    scan = wanted.scan.model_copy(update={"split": division.held_out})
    arrange(first, scanned_data(dataset, wanted.start), scan, machine)
    if len({row.label for row in division.train}) < 2:
        raise DataError(f"{dataset.name}: the training images are of a single class.", "Give images of two or more.")
    for folder, flag in ((wanted.from_run, "--from-run"), (wanted.annotations, "--annotations")):
        if folder is not None and not folder.exists():
            raise UsageError(f"{flag} {folder} does not exist.", "Check the path.")
    if wanted.from_run is not None:
        found_by(read_record(wanted.from_run), dataset)
    kept = Kept(KEPT_BYTES)
    validate = None
    if measure is not None:
        check_measure(measure, division.validation)
        split = division.validation[0].split or ""
        validate = Validator(
            measure, scanned_data(dataset, wanted.start), split, wanted.scan.seed, wanted.scan.answers, machine, kept
        )
    job = Job(
        model=model,
        dataset=dataset,
        train=division.train,
        validation=division.validation,
        settings=training,
        start=wanted.start,
        seed=wanted.scan.seed,
        folder=Path(),
        machine=machine,
        progress=progress,
        from_run=wanted.from_run,
        annotations=wanted.annotations,
        validate=validate,
        devices=wanted.devices,
        answers=wanted.scan.answers,
        allow_download=wanted.allow_download,
        kept=kept,
    )
    method.check_options(job)
    check_needs(method, job)
    return Fix(method, job, division, wanted)


def check_training(training: TrainingSettings, model: Model) -> None:
    """Raises UsageError for optimiser, schedule or precision that would be refused later, after a scan."""
    try:
        resolve_precision(training.precision, model.device)
    except UsageError as error:
        # A scan has a flag for it; here it is a setting of the loop.
        hint = None if error.hint is None else error.hint.replace("--precision ", "--set precision=")
        raise UsageError(error.message, hint) from error
    make_schedule(training, make_optimizer(training, [nn.Parameter(torch.zeros(1))]), 2)


def scanned_data(dataset: Dataset, start: Start) -> Dataset:
    """What trained models are scanned on: output k is class k of a model whose last layer was drawn anew."""
    if start == "model":
        return dataset
    return replace(dataset, classes=tuple(replace(info, outputs=None) for info in dataset.classes))


def _content_sha256(path: Path) -> str:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0{sha256_of(file)}\0".encode())
    return digest.hexdigest()
