"""Prepares a scan: everything that can be refused is refused before anything is measured or written."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from spuraudit import __version__
from spuraudit.audits.base import BACKGROUND, Audit, Cohort
from spuraudit.audits.catalogue import make_audit
from spuraudit.audits.patch_swap import PatchSwapAudit
from spuraudit.data.fingerprint import fingerprint
from spuraudit.data.geometry import geometry_for
from spuraudit.errors import DataError, UsageError, did_you_mean
from spuraudit.models.class_map import ClassMap, class_map
from spuraudit.models.mc_dropout import DropoutPlan, prepare
from spuraudit.models.preprocess import with_geometry
from spuraudit.record.scan import AuditRecord
from spuraudit.record.settings import AUDIT_NAMES, AuditName, ScanSettings
from spuraudit.runs.asking import Asker
from spuraudit.runs.chance import PROBE_IMAGES, ChanceCheck, chance_check, refuse_near_chance
from spuraudit.runs.cohort import choose_donor_split, choose_split, ids_sha256, limited
from spuraudit.runs.loader import Loader
from spuraudit.runs.plan import Plan
from spuraudit.runs.progress import Progress, Silent, stage
from spuraudit.runs.shards import Shard, make_shards

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.data.dataset import Dataset
    from spuraudit.models.model import Model


@dataclass(frozen=True)
class Machine:
    """How fast, not what: none of this changes a number."""

    batch_size: int = 32
    workers: int | None = None


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
        )

    @cached_property
    def shards(self) -> list[Shard]:
        """The units of work."""
        return make_shards(self.cohort.rows, list(self.audits.values()))

    def loader(self) -> Loader:
        """Samples in the model's geometry."""
        return Loader(self.dataset, self.model.record.preprocess, self.model.device, self.machine.workers)


def prepare_scan(
    model: Model,
    dataset: Dataset,
    settings: ScanSettings,
    machine: Machine | None = None,
    progress: Progress | None = None,
) -> Scan:
    """Everything that can be refused before the long run, in order of cost.

    Raises DataError, ModelError, UsageError, and NotEvaluatedError where the model is near chance.
    """
    machine, progress = machine or Machine(), progress or Silent()
    geometry = geometry_for(dataset, model.record.preprocess.geometry)
    if dataset.fixed_crop_pct is not None:
        model = with_geometry(model, geometry, "dataset")
    names = [info.name for info in dataset.classes]
    outputs = [info.outputs for info in dataset.classes]
    mapping = class_map(outputs, names, model.record.num_classes, settings.answers)
    split = choose_split(dataset, settings.split)
    in_split = dataset.in_split(split)
    if not in_split:
        raise DataError(f"{dataset.origin or dataset.name}: no image to audit.", "Run `spuraudit data check`.")
    if any(feature.name == BACKGROUND for feature in dataset.features):
        raise DataError(
            f"{dataset.origin or dataset.name}: a feature is named {BACKGROUND!r}, which means what no mask covers.",
            "Give the feature another name, such as 'backdrop'.",
        )
    _check_source_classes(settings, names)
    donor_split = choose_donor_split(dataset, in_split)
    cohort = Cohort(
        dataset=dataset,
        rows=limited(in_split, settings.limit),
        donors=dataset.in_split(donor_split) if donor_split is not None else in_split,
        donor_split=donor_split,
        height=geometry.height,
        width=geometry.width,
        seed=settings.seed,
        suffix=f"answers={settings.answers};precision={model.record.precision}",
    )
    audits, skipped = _choose_audits(cohort, settings)
    scan = Scan(
        model, dataset, mapping, cohort, split, len(in_split), settings, audits, skipped, None, _NO_CHANCE, machine
    )
    scan = replace(scan, chance=_probe(scan, progress))
    if not settings.allow_chance:
        refuse_near_chance(scan.chance, model, mapping, names)
    return _with_dropout(scan)


_NO_CHANCE = ChanceCheck(0.0, 0.0, 0.0, 0.0, 0)


def _check_source_classes(settings: ScanSettings, names: Sequence[str]) -> None:
    for name in settings.source_classes or ():
        if name not in names:
            raise UsageError(f"No class {name!r} in the dataset.", did_you_mean(name, names) or ", ".join(names[:20]))


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


def _probe(scan: Scan, progress: Progress) -> ChanceCheck:
    """Clean accuracy of some images, evenly over classes."""
    rows = limited(scan.cohort.rows, PROBE_IMAGES)
    asker = Asker(scan.model, scan.class_map, scan.machine.batch_size)
    with stage(progress, "Checking clean accuracy", len(rows), "images"), scan.loader() as loader:
        for loaded in loader.load((row, ()) for row in rows):
            asker.ask(loaded, ())
            progress.advance(1)
    answers = asker.finish()
    labels = np.array([row["label"] for row in answers])
    correct = np.array([row["predicted"] for row in answers]) == labels
    return chance_check(correct, labels, scan.class_map)


def _with_dropout(scan: Scan) -> Scan:
    """For MC dropout: find where the model drops, or inject, and prove that passes differ."""
    audit = scan.audits.get("patch_swap")
    if not isinstance(audit, PatchSwapAudit):
        return scan
    rows = scan.cohort.rows[:2] if len(scan.cohort.rows) > 1 else scan.cohort.rows * 2
    with scan.loader() as loader:
        pixels = torch.stack([loaded.sample.pixels for loaded in loader.load((row, ()) for row in rows)])
    dropout = prepare(scan.model, pixels, rate=scan.settings.dropout_rate)
    noted = replace(audit, dropout_note=dropout.describe())
    return replace(scan, dropout=dropout, audits={**scan.audits, "patch_swap": noted})
