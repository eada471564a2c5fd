"""Which findings become cards: suspected ones, most serious first, the same region against several targets in one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report import bounds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spuraudit.record.scan import Exhibit, Finding, ScanRecord


@dataclass(frozen=True)
class CardSource:
    """The finding that leads a card, the others of the same audit, class and feature, and the exhibits to show.

    `counterexamples`: images whose answer stays right.
    """

    lead: Finding
    others: list[Finding]
    exhibits: list[Exhibit]
    counterexamples: list[Exhibit]


def suspects(record: ScanRecord) -> list[CardSource]:
    """All suspected findings in rank order, grouped."""
    return _grouped(finding for finding in record.findings if finding.suspected)


def shown_cards(record: ScanRecord) -> list[CardSource]:
    """The first groups, as many as a report shows as cards.

    Where nothing is suspected: cleared features with exhibits. A report without any picture convinces nobody.
    """
    found = suspects(record)[: bounds.CARDS]
    if found:
        return found
    return _grouped(finding for finding in record.findings if finding.exhibits)[: bounds.CLEARED_CARDS]


def _grouped(findings: Iterable[Finding]) -> list[CardSource]:
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.audit, finding.class_name, finding.feature), []).append(finding)
    return [_source(lead, others) for lead, *others in groups.values()]


def _source(lead: Finding, others: list[Finding]) -> CardSource:
    exhibits = [exhibit for finding in (lead, *others) for exhibit in finding.exhibits]
    return CardSource(
        lead,
        others,
        [exhibit for exhibit in exhibits if exhibit.role == "example"][: bounds.EXHIBITS],
        [exhibit for exhibit in exhibits if exhibit.role == "counterexample"][: bounds.COUNTEREXAMPLES],
    )
