"""Suspected spurious features as cards, the rest of them and the cleared ones as tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report import bounds
from spuraudit.report.formats import count, many, plain, points, q_value
from spuraudit.report.shown import shown_cards, suspects
from spuraudit.report.views.suspect_card import Card, card
from spuraudit.report.wording import AUDITS, effect_interval, feature_name

if TYPE_CHECKING:
    from spuraudit.record.scan import Finding, ScanRecord
    from spuraudit.report.fitting import Fit
    from spuraudit.report.pictures import Pictures
    from spuraudit.report.views.sharing import Sharing


@dataclass(frozen=True, slots=True)
class FindingRow:
    """A finding in a table."""

    id: str
    class_name: str
    feature: str
    audit: str
    effect: str
    interval: str
    q: str
    n: str


@dataclass(frozen=True, slots=True)
class Suspects:
    """Cards, the tables under them, and what was left out. `cleared_cards`: only where nothing is suspected."""

    cards: list[Card]
    cleared_cards: list[Card]
    more: list[FindingRow]
    cleared: list[FindingRow]
    total: int
    regions: int
    left_out: list[str]


def suspects_view(record: ScanRecord, pictures: Pictures, fit: Fit, sharing: Sharing) -> Suspects:
    """Everything about findings."""
    groups = suspects(record)
    cards = [card(rank, group, pictures, fit, sharing) for rank, group in enumerate(shown_cards(record), 1)]
    more = [finding for group in groups[bounds.CARDS :] for finding in (group.lead, *group.others)]
    cleared = [finding for finding in record.findings if not finding.suspected]
    left_out = [
        f"{many(len(rows) - bounds.ROWS, name)} beyond the first {bounds.ROWS}: see findings in scan.json."
        for rows, name in ((more, "suspected feature"), (cleared, "cleared feature"))
        if len(rows) > bounds.ROWS
    ]
    if pictures.missing:
        left_out.append(f"{many(pictures.missing, 'picture')} that could not be read from exhibits/ in the run folder.")
    return Suspects(
        cards if groups else [],
        [] if groups else cards,
        [_row(finding) for finding in more[: bounds.ROWS]],
        [_row(finding) for finding in cleared[: bounds.ROWS]],
        sum(finding.suspected for finding in record.findings),
        len(groups),
        left_out,
    )


def _row(finding: Finding) -> FindingRow:
    feature = feature_name(finding)
    if finding.target_class:
        feature += f", against {finding.target_class}"
    shown = plain(finding.effect, 3) if finding.audit == "patch_swap" else points(finding.effect)
    return FindingRow(
        finding.id,
        finding.class_name,
        feature,
        AUDITS[finding.audit],
        shown,
        effect_interval(finding),
        q_value(finding.q).removeprefix("q ").removeprefix("= "),
        count(finding.n),
    )
