"""Prepares a scan: everything that can be refused is refused before anything is measured or written."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from spuraudit import __version__
from spuraudit.audits.base import BACKGROUND, Audit, Cohort
from spuraudit.audits.catalogue import make_audit
from spuraudit.data.fingerprint import fingerprint
from spuraudit.data.geometry import geometry_for
from spuraudit.errors import DataError, UsageError, did_you_mean
from spuraudit.models.class_map import ClassMap, class_map
from spuraudit.models.class_map_file import read_class_map
from spuraudit.models.preprocess import with_geometry
from spuraudit.record.scan import AuditRecord
from spuraudit.record.settings import AUDIT_NAMES, AuditName, ScanSettings
from spuraudit.runs.chance import PROBE_IMAGES, ChanceCheck, chance_check, refuse_near_chance
from spuraudit.runs.clean import clean_answers
from spuraudit.runs.cohort import choose_donor_split, choose_split, ids_sha256, limited
from spuraudit.runs.loader import Kept, Loader
from spuraudit.runs.patch_sweep import prepare_sweep
from spuraudit.runs.plan import Plan, Resolved
from spuraudit.runs.preprocess_check import preprocess_check
from spuraudit.runs.progress import Progress, Silent
from spuraudit.runs.shards import Shard, make_shards

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from spuraudit.data.dataset import Dataset
    from spuraudit.models.dropout_plan import DropoutPlan
    from spuraudit.models.model import Model
    from spuraudit.record.scan import Notice


@dataclass(frozen=True)
class Machine:
    """How fast, not what: none of this changes a number."""

    batch_size: int = 32
    workers: int | None = None

    @property
    def threads(self) -> int:
        """Threads that decode, and threads that prepare pictures."""
        return self.workers or min(4, os.cpu_count() or 1)


@dataclass(frozen=True)
class Scan:
    """A prepared scan: everything is loaded and checked, nothing is measured or written yet."""

    model: Model
    dataset: Dataset
    class_map: ClassMap
    cohort: Cohort
    split: str | None
    available: int
    settings: ScanSettings
    audits: dict[AuditName, Audit]
    skipped: tuple[AuditRecord, ...]
    dropout: DropoutPlan | None
    chance: ChanceCheck
    machine: Machine = field(default_factory=Machine)
    resolved: Resolved | None = None
    precision_note: str | None = None
    better: Notice | None = None
    kept: Kept = field(default_factory=Kept, repr=False)

    @cached_property
    def plan(self) -> Plan:
        """What the numbers depend on."""
        return Plan(
            tool_version=__version__,
            model=self.model.record,
            data_fingerprint=fingerprint(self.dataset),
            split=self.split,
            donor_split=self.cohort.donor_split,
            images_sha256=ids_sha256(self.cohort.rows),
            audits=tuple(self.audits),
            settings=self.settings,
            resolved=self.resolved,
        )

    @cached_property
    def shards(self) -> list[Shard]:
        """The units of work."""
        return make_shards(self.cohort.rows, list(self.audits.values()))

    def loader(self) -> Loader:
        """Samples in the model's geometry."""
        return Loader(self.dataset, self.model.record.preprocess, self.model.device, self.machine.threads, self.kept)


def prepare_scan(
    model: Model,
    dataset: Dataset,
    settings: ScanSettings,
    machine: Machine | None = None,
    progress: Progress | None = None,
    kept: Kept | None = None,
) -> Scan:
    """Everything that can be refused before the long run, in order of cost. kept: decoded images to share.

    Raises DataError, ModelError, UsageError, and NotEvaluatedError where the model is near chance.
    """
    progress = progress or Silent()
    scan = _probe(arrange(model, dataset, settings, machine, kept), progress)
    if not settings.allow_chance:
        refuse_near_chance(scan.chance, model, scan.class_map, scan.cohort.class_names, scan.better)
    return prepare_sweep(scan, progress)


def arrange(
    model: Model, dataset: Dataset, settings: ScanSettings, machine: Machine | None = None, kept: Kept | None = None
) -> Scan:
    """A scan of which nothing was asked yet: class map, cohort, audits. Raises DataError, UsageError."""
    machine, kept = machine or Machine(), kept or Kept()
    geometry = geometry_for(dataset, model.record.preprocess.geometry)
    if dataset.fixed_crop_pct is not None:
        model = with_geometry(model, geometry, "dataset")
    names = [info.name for info in dataset.classes]
    outputs = [info.outputs for info in dataset.classes]
    mapping = class_map(outputs, names, model.record.num_classes, settings.answers, model.record.head)
    split = choose_split(dataset, settings.split)
    in_split = dataset.in_split(split)
    if not in_split:
        raise DataError(f"{dataset.origin or dataset.name}: no image to audit.", "Run `spuraudit data check`.")
    if any(feature.name == BACKGROUND for feature in dataset.features):
        raise DataError(
            f"{dataset.origin or dataset.name}: a feature is named {BACKGROUND!r}, which means what no mask covers.",
            "Give the feature another name, such as 'backdrop'.",
        )
    _check_classes(settings, names)
    donor_split = choose_donor_split(dataset, in_split)
    cohort = Cohort(
        dataset=dataset,
        rows=limited(in_split, settings.limit),
        donors=dataset.in_split(donor_split) if donor_split is not None else in_split,
        donor_split=donor_split,
        height=geometry.height,
        width=geometry.width,
        seed=settings.seed,
        suffix=_suffix(model, settings),
    )
    audits, skipped = _choose_audits(cohort, settings)
    return Scan(
        model=model,
        dataset=dataset,
        class_map=mapping,
        cohort=cohort,
        split=split,
        available=len(in_split),
        settings=settings,
        audits=audits,
        skipped=skipped,
        dropout=None,
        chance=_NO_CHANCE,
        machine=machine,
        kept=kept,
    )


def _suffix(model: Model, settings: ScanSettings) -> str:
    """What every definition id ends with."""
    head = "" if model.record.head == "softmax" else f";head={model.record.head}"
    return f"answers={settings.answers};precision={model.record.precision}{head}"


def with_class_map(dataset: Dataset, file: Path | None, outputs: int) -> Dataset:
    """The dataset with the classes' outputs of a class map (None: as it is), for a model of so many outputs.

    Raises ConfigError naming the map's file and line.
    """
    if file is None:
        return dataset
    found = read_class_map(file, [info.name for info in dataset.classes], outputs)
    classes = (replace(info, outputs=own) for info, own in zip(dataset.classes, found, strict=True))
    return replace(dataset, classes=tuple(classes))


_NO_CHANCE = ChanceCheck(0.0, 0.0, 0.0, 0.0, 0)


def _check_classes(settings: ScanSettings, names: Sequence[str]) -> None:
    """Classes of the patch swap that the user named."""
    pairs = settings.pairs or ()
    for name in (*(settings.source_classes or ()), *(name for pair in pairs for name in pair)):
        if name not in names:
            raise UsageError(f"No class {name!r} in the dataset.", did_you_mean(name, names) or ", ".join(names[:20]))
    for source, target in pairs:
        if source == target:
            raise UsageError(f"The pair {source}:{target} names one class twice.", "Give two classes.")
    if pairs and settings.source_classes:
        raise UsageError("Pairs and source classes are both given.", "Give --pair or --source-class.")


def _choose_audits(cohort: Cohort, settings: ScanSettings) -> tuple[dict[AuditName, Audit], tuple[AuditRecord, ...]]:
    """The audits to run, and those that are not, each with the reason."""
    made = {name: make_audit(name, cohort, settings) for name in AUDIT_NAMES}
    wanted = settings.audits
    if wanted is None:
        with_masks = tuple(n for n in AUDIT_NAMES if n != "patch_swap" and not isinstance(made[n], str))
        wanted = with_masks or ("patch_swap",)
    for name in wanted:
        if isinstance(made[name], str):
            raise DataError(f"The {name} audit cannot run: {made[name]}", "Leave it out of --audits, or add masks.")
    chosen = {name: audit for name, audit in made.items() if name in wanted and not isinstance(audit, str)}
    skipped = tuple(
        AuditRecord(
            name=name,
            status="skipped",
            reason=reason if isinstance(reason, str) else f"Not asked for: add --audits {name}.",
        )
        for name, reason in made.items()
        if name not in wanted
    )
    return chosen, skipped


def _probe(scan: Scan, progress: Progress) -> Scan:
    """Clean accuracy of some images, evenly over classes.

    Also whether another usual preprocessing would do far better, and whether reduced precision answers like float32.
    """
    rows = limited(scan.cohort.rows, PROBE_IMAGES)
    answers = clean_answers(scan, rows, "Checking clean accuracy", progress)
    right = answers.right.numpy()
    chance = chance_check(right, answers.labels.numpy(), scan.class_map)
    scan = replace(scan, chance=chance, better=preprocess_check(scan, rows, right, progress))
    record = scan.model.record
    if record.precision == "fp32":
        return scan
    exact = replace(scan.model, record=record.model_copy(update={"precision": "fp32"}))
    expected = clean_answers(scan, rows, "Comparing with float32", progress, exact)
    same = int((answers.predicted == expected.predicted).sum())
    note = f"Precision {record.precision}: {same} of {len(rows)} images are answered as in fp32."
    return replace(scan, precision_note=note)
