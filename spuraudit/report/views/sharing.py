"""Which other classes, and which models of a zoo, share a suspected feature, and where it was cleared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report import bounds
from spuraudit.report.formats import listing, many, points
from spuraudit.report.wording import effect

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spuraudit.record.compared import FeatureRow
    from spuraudit.record.scan import Finding, ScanRecord
    from spuraudit.report.zoo_evidence import ZooEvidence


@dataclass(frozen=True, slots=True)
class Shared:
    """Sentences for a card; empty where there is nothing to say."""

    classes: str
    cleared: str
    models: str


class Sharing:
    """Looks up by audit and feature, and by class and feature; 5,000 findings and 42 models are indexed once."""

    def __init__(self, record: ScanRecord, zoo: ZooEvidence | None) -> None:
        self._by_feature: dict[tuple[str, str], list[Finding]] = {}
        for finding in record.findings:
            self._by_feature.setdefault((finding.audit, finding.feature), []).append(finding)
        self._zoo = zoo.zoo.zoo if zoo is not None else ""
        self._by_class: dict[tuple[str, str], list[tuple[str, FeatureRow]]] = {}
        for model in zoo.audited if zoo is not None else ():
            if model.record.run.id != record.run.id:
                for row in model.features:
                    self._by_class.setdefault((row.class_name, row.feature), []).append((model.entry.name, row))

    def of(self, finding: Finding) -> Shared:
        """What is shared with a finding."""
        others = [
            other
            for other in self._by_feature.get((finding.audit, finding.feature), [])
            if other.class_name != finding.class_name
        ]
        suspected = _one_per_class(other for other in others if other.suspected)
        named = {other.class_name for other in suspected}
        cleared = _one_per_class(other for other in others if other.class_name not in named)
        return Shared(
            _named(f"{other.class_name} ({effect(other)})" for other in suspected),
            _named(f"{other.class_name} ({effect(other)})" for other in cleared),
            self._models(finding) if finding.audit == "feature_drop" else "",
        )

    def _models(self, finding: Finding) -> str:
        rows = self._by_class.get((finding.class_name, finding.feature), [])
        if not rows:
            return ""
        fooled = sorted((row for row in rows if row[1].suspected), key=lambda row: (-row[1].excess, row[0]))
        names = _named(f"{name} ({points(row.excess)})" for name, row in fooled)
        tested = f"{many(len(rows), 'other model')} of {self._zoo}"
        return f"Suspected in {len(fooled)} of {tested}: {names}" if fooled else f"Suspected in none of {tested}"


def _one_per_class(findings: Iterable[Finding]) -> list[Finding]:
    """The first finding of each class: they come most serious first, and a patch has one per target."""
    found: dict[str, Finding] = {}
    for finding in findings:
        found.setdefault(finding.class_name, finding)
    return list(found.values())


def _named(names: Iterable[str]) -> str:
    return listing(list(names), bounds.SHARED)
