"""What a zoo report is made from: the zoo's record and, per evaluated model, the numbers that the page compares.

What is compared of a record is defined in `record.compared`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from spuraudit.record.zoo_folder import read_compared, read_zoo, run_folder, zoo_folder
from spuraudit.report.collecting import collector_paused
from spuraudit.report.numbers import PRIMARY_SIGMA, Numbers
from spuraudit.report.published import PublishedModel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from spuraudit.record.compared import FeatureRow
    from spuraudit.record.scan import Measurement, ScanRecord
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
        audited = [_audited(folder, zoo, model) for model in zoo.models if model.status == "evaluated"]
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


def _audited(folder: Path, zoo: ZooRecord, entry: ZooModel) -> AuditedModel:
    found = read_compared(folder, zoo, entry)
    has_report = (run_folder(folder, entry) / "report.html").is_file()
    return AuditedModel(entry, found.record, Numbers(found.record.measurements), found.features, has_report)


def _common_sigma(models: Sequence[AuditedModel]) -> float | None:
    """The noise level that most models were asked at; of several, 0.25 or else the smallest."""
    asked = Counter(_flat(model.numbers.sigmas() for model in models))
    return min(asked, key=lambda sigma: (-asked[sigma], sigma != PRIMARY_SIGMA, sigma), default=None)


def _flat(lists: Iterable[list[float]]) -> list[float]:
    return [value for values in lists for value in values]
