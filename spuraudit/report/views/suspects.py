"""Suspected spurious features as cards, the rest of them and the cleared ones as tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report import bounds
from spuraudit.report.charts.bars import Mark, dot_rows
from spuraudit.report.charts.grid import locator
from spuraudit.report.formats import count, many, percent, plain, points, q_value
from spuraudit.report.shown import CardSource, suspects
from spuraudit.report.wording import AUDITS, PANELS, effect, effect_interval, feature_name, heading, sentence

if TYPE_CHECKING:
    from markupsafe import Markup

    from spuraudit.record.scan import Exhibit, Finding, ScanRecord
    from spuraudit.report.pictures import Pictures


@dataclass(frozen=True, slots=True)
class PanelView:
    """A picture; `source` is None where it could not be shown."""

    source: str | None
    kind: str
    caption: str
    alt: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ExhibitView:
    """Pictures of one image."""

    image: str
    panels: list[PanelView]


@dataclass(frozen=True, slots=True)
class Card:
    """A suspected spurious feature."""

    id: str
    rank: int
    feature: str
    class_name: str
    audit: str
    sentence: str
    effect_name: str
    effect: str
    interval: str
    q: str
    n: str
    rows: Markup
    locator: Markup | None
    exhibits: list[ExhibitView]
    also: list[str]
    flags: list[str]


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
    """Cards, the tables under them, and what was left out."""

    cards: list[Card]
    more: list[FindingRow]
    cleared: list[FindingRow]
    total: int
    regions: int
    left_out: list[str]


def suspects_view(record: ScanRecord, pictures: Pictures) -> Suspects:
    """Everything about findings."""
    groups = suspects(record)
    cards = [_card(rank, group, pictures) for rank, group in enumerate(groups[: bounds.CARDS], 1)]
    more = [finding for group in groups[bounds.CARDS :] for finding in (group.lead, *group.others)]
    cleared = [finding for finding in record.findings if not finding.suspected]
    left_out = [
        f"{many(len(rows) - bounds.ROWS, name)} beyond the first {bounds.ROWS}: see findings in scan.json."
        for rows, name in ((more, "suspected feature"), (cleared, "cleared feature"))
        if len(rows) > bounds.ROWS
    ]
    if pictures.over_budget:
        left_out.append(
            f"{many(pictures.over_budget, 'picture')} to keep this file small: see exhibits/ in the run folder."
        )
    if pictures.missing:
        left_out.append(f"{many(pictures.missing, 'picture')} that could not be read from exhibits/ in the run folder.")
    return Suspects(
        cards,
        [_row(finding) for finding in more[: bounds.ROWS]],
        [_row(finding) for finding in cleared[: bounds.ROWS]],
        sum(finding.suspected for finding in record.findings),
        len(groups),
        left_out,
    )


EFFECTS = {
    "feature_drop": "Drop beyond control",
    "region_swap": "Gap, same minus other class",
    "patch_swap": "Certainty lost",
}


def _card(rank: int, group: CardSource, pictures: Pictures) -> Card:
    lead = group.lead
    cell = lead.cell
    return Card(
        id=lead.id,
        rank=rank,
        feature=heading(lead),
        class_name=lead.class_name,
        audit=AUDITS[lead.audit],
        sentence=sentence(lead),
        effect_name=EFFECTS[lead.audit],
        effect=effect(lead),
        interval=effect_interval(lead),
        q=q_value(lead.q),
        n=count(lead.n),
        rows=dot_rows(_marks(lead), _numbers_text(lead)),
        locator=locator(
            cell.rows,
            cell.columns,
            cell.row,
            cell.column,
            f"Cell {cell.number}: row {cell.row} of {cell.rows}, column {cell.column} of {cell.columns}.",
        )
        if cell
        else None,
        exhibits=[_exhibit(exhibit, pictures) for exhibit in group.exhibits],
        also=[
            f"{other.target_class} ({effect(other)}, {q_value(other.q)})"
            for other in group.others
            if other.target_class
        ],
        flags=list(dict.fromkeys(flag for finding in (lead, *group.others) for flag in finding.flags)),
    )


_MARKS = {
    "feature_drop": (
        ("clean", "clean", "clean", "circle"),
        ("control", "noise elsewhere", "control", "ring"),
        ("noised", "feature noised", "spurious", "diamond"),
    ),
    "region_swap": (
        ("clean", "clean", "clean", "circle"),
        ("same", "same class", "control", "ring"),
        ("other", "other class", "spurious", "diamond"),
    ),
    "patch_swap": (
        ("unperturbed", "unperturbed", "clean", "circle"),
        ("swapped", "cell swapped", "spurious", "diamond"),
    ),
}


def _shown(finding: Finding, value: float) -> str:
    return plain(value, 2) if finding.audit == "patch_swap" else percent(value)


def _marks(finding: Finding) -> list[Mark]:
    marks: list[Mark] = []
    for key, label, tone, shape in _MARKS[finding.audit]:
        value = finding.numbers.get(key)
        if value is not None:
            marks.append(Mark(label, value, _shown(finding, value), tone, shape))
    return marks


def _numbers_text(finding: Finding) -> str:
    what = "Certainty" if finding.audit == "patch_swap" else "Accuracy"
    return f"{what}: " + ", ".join(f"{mark.label} {mark.shown}" for mark in _marks(finding)) + "."


def _exhibit(exhibit: Exhibit, pictures: Pictures) -> ExhibitView:
    return ExhibitView(
        exhibit.image,
        [
            PanelView(
                pictures.source(panel.file), PANELS[panel.kind], panel.caption, panel.alt, panel.width, panel.height
            )
            for panel in exhibit.panels
        ],
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
