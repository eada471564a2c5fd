"""What a zoo report is made from: the zoo's record and, per evaluated model, the numbers that the page compares.

A record of 1,000 classes holds tens of thousands of numbers, and a zoo has dozens of records: each is read, reduced to
what is compared, and let go.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from spuraudit.record.zoo_folder import read_zoo, run_folder, zoo_folder
from spuraudit.report.collecting import collector_paused
from spuraudit.report.numbers import PRIMARY_SIGMA, Numbers
from spuraudit.report.published import PublishedModel
from spuraudit.report.zoo_reading import read_compared

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from spuraudit.record.scan import Measurement, Role, ScanRecord
    from spuraudit.record.zoo import ZooModel, ZooRecord

Figure = Literal["clean", "core", "spurious", "rcs"]
FIGURES: tuple[Figure, ...] = ("clean", "core", "spurious", "rcs")
METRICS: dict[Figure, str] = {
    "clean": "clean_accuracy",
    "core": "core_accuracy",
    "spurious": "spurious_accuracy",
    "rcs": "rcs",
}
NO_GROUP = "no group"


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """What one model lost by noise on one feature of one class. Drops are differences of proportions."""

    class_name: str
    feature: str
    role: Role
    drop: float | None
    drop_ci: tuple[float, float] | None
    control_drop: float | None
    excess: float
    excess_ci: tuple[float, float]
    n: int
    p: float
    q: float
    suspected: bool


@dataclass(frozen=True)
class AuditedModel:
    """An evaluated model. `record` is reduced: no numbers of single classes, no findings, no curves."""

    entry: ZooModel
    record: ScanRecord
    numbers: Numbers
    features: list[FeatureRow]
    has_report: bool = False

    def figure(self, name: Figure, sigma: float | None) -> Measurement | None:
        """A number over all images; None where it was not measured at this sigma."""
        if name == "clean":
            return self.numbers.get("clean_accuracy")
        return self.numbers.get(METRICS[name], sigma=sigma) if sigma is not None else None

    def value(self, name: Figure, sigma: float | None) -> float | None:
        """Its value alone."""
        found = self.figure(name, sigma)
        return found.value if found is not None else None


@dataclass(frozen=True)
class ZooEvidence:
    """A zoo run. `sigma`: the noise level that the page compares, None where no model was noised."""

    zoo: ZooRecord
    audited: list[AuditedModel]
    sigma: float | None

    @property
    def failed(self) -> list[ZooModel]:
        """Models without a record, in the order of the zoo file."""
        return [model for model in self.zoo.models if model.status == "failed"]

    @property
    def compared(self) -> list[AuditedModel]:
        """Models with core and spurious accuracy: those that a plane or a rank can hold."""
        return [
            model
            for model in self.audited
            if model.value("core", self.sigma) is not None and model.value("spurious", self.sigma) is not None
        ]


def gather_zoo(folder: Path) -> ZooEvidence:
    """Read a zoo run: its folder or its zoo.json.

    Raises RunError: no zoo run, unfinished, damaged, another schema, or a model's record missing or foreign.
    """
    folder = zoo_folder(folder)
    zoo = read_zoo(folder)
    with collector_paused():
        audited = [
            reduced(model, read_compared(folder, zoo, model), (run_folder(folder, model) / "report.html").is_file())
            for model in zoo.models
            if model.status == "evaluated"
        ]
    return ZooEvidence(zoo, audited, _common_sigma(audited))


def models_of(folder: Path) -> list[PublishedModel]:
    """The measured models of a zoo run in the form of the published ones, to place a scan among them.

    Models without core and spurious accuracy are passed over. Raises RunError as `gather_zoo`.
    """
    return measured_models(gather_zoo(folder))


def measured_models(evidence: ZooEvidence) -> list[PublishedModel]:
    """As `models_of`, of a zoo that has been read."""
    rows = []
    for model in evidence.compared:
        clean, core, spurious, rcs = (model.value(name, evidence.sigma) for name in FIGURES)
        assert core is not None  # `compared` saw to it
        assert spurious is not None
        rows.append(PublishedModel(model.entry.name, model.entry.group or NO_GROUP, clean, core, spurious, rcs))
    return rows


def reduced(entry: ZooModel, record: ScanRecord, has_report: bool = False) -> AuditedModel:
    """The part of a record that is compared between models."""
    overall = [item for item in record.measurements if not set(item.scope) - {"sigma", "feature"}]
    small = record.model_copy(update={"measurements": overall, "findings": [], "curves": []})
    return AuditedModel(entry, small, Numbers(overall), _features(record), has_report)


def _features(record: ScanRecord) -> list[FeatureRow]:
    """Feature drop of every (class, feature) but the object itself, in the record's order."""
    drops = {
        (item.scope["class"], item.scope["feature"]): item.ci
        for item in record.measurements
        if item.metric == "feature_drop" and set(item.scope) == {"class", "feature"}
    }
    return [
        FeatureRow(
            finding.class_name,
            finding.feature,
            finding.role,
            finding.numbers.get("drop"),
            drops.get((finding.class_name, finding.feature)),
            finding.numbers.get("control_drop"),
            finding.effect,
            finding.effect_ci,
            finding.n,
            finding.p,
            finding.q,
            finding.suspected,
        )
        for finding in record.findings
        if finding.audit == "feature_drop" and finding.role != "core"
    ]


def _common_sigma(models: Sequence[AuditedModel]) -> float | None:
    """The noise level that most models were asked at; of several, 0.25 or else the smallest."""
    asked = Counter(_flat(model.numbers.sigmas() for model in models))
    return min(asked, key=lambda sigma: (-asked[sigma], sigma != PRIMARY_SIGMA, sigma), default=None)


def _flat(lists: Iterable[list[float]]) -> list[float]:
    return [value for values in lists for value in values]
