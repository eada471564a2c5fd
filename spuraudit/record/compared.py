"""What pages compare of a model's record, and the file that holds it beside the record: RUN/compared.json.

A record of 1,000 classes holds tens of thousands of numbers: reading it takes a second, and a zoo has dozens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from spuraudit.record.base import Part
from spuraudit.record.folder import write_bytes
from spuraudit.record.scan import Role, ScanRecord

if TYPE_CHECKING:
    from pathlib import Path

FILE = "compared.json"


class FeatureRow(NamedTuple):
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


class Compared(Part):
    """A record without numbers of single classes, findings and curves; and the features of classes that were noised.

    `version` is raised with every change of what is kept or of how it is written.
    """

    version: Literal[1] = 1
    record: ScanRecord
    features: list[FeatureRow]


def compared(record: ScanRecord) -> Compared:
    """Numbers over all images, by noise level or region; and the drops of the features of classes, the object left out.

    Features come in the order of the record's findings.
    """
    overall = [item for item in record.measurements if not set(item.scope) - {"sigma", "feature"}]
    small = record.model_copy(update={"measurements": overall, "findings": [], "curves": []})
    return Compared(record=small, features=_features(record))


def write_compared(run: Path, record: ScanRecord) -> None:
    """Leave the file in the folder of a finished run. Same record, same bytes. Raises RunError as `write_bytes`."""
    write_bytes(run / FILE, compared(record).model_dump_json(by_alias=True).encode())


def _features(record: ScanRecord) -> list[FeatureRow]:
    drops = {
        (item.scope["class"], item.scope["feature"]): item.ci
        for item in record.measurements
        if item.metric == "feature_drop" and set(item.scope) == {"class", "feature"}
    }
    return [
        FeatureRow(
            class_name=finding.class_name,
            feature=finding.feature,
            role=finding.role,
            drop=finding.numbers.get("drop"),
            drop_ci=drops.get((finding.class_name, finding.feature)),
            control_drop=finding.numbers.get("control_drop"),
            excess=finding.effect,
            excess_ci=finding.effect_ci,
            n=finding.n,
            p=finding.p,
            q=finding.q,
            suspected=finding.suspected,
        )
        for finding in record.findings
        if finding.audit == "feature_drop" and finding.role != "core"
    ]
