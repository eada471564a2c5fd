"""What was not measured: audits skipped, images left out, numbers without meaning, things to know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report.formats import count, listing, many
from spuraudit.report.wording import AUDITS

if TYPE_CHECKING:
    from collections.abc import Callable

    from spuraudit.record.scan import Measurement, ScanRecord


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An audit and what became of it."""

    name: str
    status: str
    images: str
    passes: str
    text: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """The section."""

    audits: list[AuditRow]
    exclusions: list[tuple[str, str, str]]
    warnings: list[tuple[str, str]]
    saturated: list[str]
    undefined: list[str]
    notes: list[str]


def coverage(record: ScanRecord) -> Coverage:
    """Nothing here is an error; everything here limits what may be concluded."""
    return Coverage(
        [
            AuditRow(
                AUDITS[audit.name],
                audit.status,
                count(audit.images),
                count(audit.passes),
                " ".join([*([audit.reason] if audit.reason else []), *audit.notes]),
            )
            for audit in record.audits
        ],
        [(item.reason, count(item.n), listing(item.examples)) for item in record.exclusions],
        [(notice.code, notice.text) for notice in record.warnings],
        _told(record, lambda item: "saturated" in item.flags),
        _told(record, lambda item: item.value is None),
        _notes(record),
    )


def _notes(record: ScanRecord) -> list[str]:
    data = record.data
    notes: list[str] = []
    if data.images < data.available:
        notes.append(f"{count(data.images)} of {many(data.available, 'available image')} were audited.")
    empty = [item.name for item in data.classes if item.images == 0]
    if empty:
        notes.append(f"{many(len(empty), 'class', 'classes')} without an audited image: {listing(empty)}.")
    if not any(feature.role == "spurious" for feature in data.features):
        notes.append("No spurious feature is annotated in this dataset; regions were audited without names.")
    return [*notes, *data.notes]


def _told(record: ScanRecord, chosen: Callable[[Measurement], bool]) -> list[str]:
    """One line per metric: overall numbers by scope, classes by count and name."""
    by_metric: dict[str, list[Measurement]] = {}
    for item in record.measurements:
        if chosen(item):
            by_metric.setdefault(item.metric, []).append(item)
    lines: list[str] = []
    for metric, items in by_metric.items():
        names = list(dict.fromkeys(str(item.scope["class"]) for item in items if "class" in item.scope))
        whole = [
            f"σ {item.scope['sigma']:g}" if "sigma" in item.scope else "all images"
            for item in items
            if "class" not in item.scope
        ]
        parts = [*([f"overall ({listing(whole)})"] if whole else [])]
        parts += [f"{many(len(names), 'class', 'classes')} ({listing(names)})"] if names else []
        reasons = list(dict.fromkeys(item.reason for item in items if item.reason))
        tail = f": {listing([str(reason) for reason in reasons], 3)}" if reasons else ""
        lines.append(f"{metric}, {' and '.join(parts)}{tail}")
    return lines
