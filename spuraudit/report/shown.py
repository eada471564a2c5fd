"""Which findings become cards: suspected ones, most serious first, the same region against several targets in one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report import bounds

if TYPE_CHECKING:
    from spuraudit.record.scan import Exhibit, Finding, ScanRecord


@dataclass(frozen=True)
class CardSource:
    """The finding that leads a card, the others of the same audit, class and feature, and the exhibits to show."""

    lead: Finding
    others: list[Finding]
    exhibits: list[Exhibit]


def suspects(record: ScanRecord) -> list[CardSource]:
    """All suspected findings in rank order, grouped."""
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in record.findings:
        if finding.suspected:
            groups.setdefault((finding.audit, finding.class_name, finding.feature), []).append(finding)
    return [
        CardSource(
            lead, others, [exhibit for finding in (lead, *others) for exhibit in finding.exhibits][: bounds.EXHIBITS]
        )
        for lead, *others in groups.values()
    ]


def shown_cards(record: ScanRecord) -> list[CardSource]:
    """The first groups, as many as a report shows as cards."""
    return suspects(record)[: bounds.CARDS]
