"""A suspected feature as a card: what was done, what it cost beside its control, in pictures, and who shares it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report.charts.bars import Mark, dot_rows
from spuraudit.report.charts.grid import locator
from spuraudit.report.formats import NONE, count, percent, plain, points, q_value
from spuraudit.report.wording import AUDITS, PANELS, effect, effect_interval, heading, sentence

if TYPE_CHECKING:
    from markupsafe import Markup

    from spuraudit.record.scan import Exhibit, Finding, Panel
    from spuraudit.report.fitting import Fit
    from spuraudit.report.pictures import Pictures
    from spuraudit.report.shown import CardSource
    from spuraudit.report.views.sharing import Shared, Sharing


@dataclass(frozen=True, slots=True)
class PanelView:
    """A picture; where `source` is None, `without` says why."""

    source: str | None
    without: str
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
    """A finding with its pictures. `facts`: further numbers (name, value); `same_cells`: other targets of its cell."""

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
    counterexamples: list[ExhibitView]
    facts: list[tuple[str, str]]
    same_cells: list[str]
    shared: Shared
    flags: list[str]


GRAINY = ("noised", "control")
"""Panels that show noise."""
EFFECTS = {
    "feature_drop": "Drop beyond control",
    "region_swap": "Gap, same minus other class",
    "patch_swap": "Certainty lost",
}


def card(rank: int, group: CardSource, pictures: Pictures, fit: Fit, sharing: Sharing) -> Card:
    """The card of a group, from 1; cards beyond `fit.cards` describe their pictures and do not hold them."""
    lead = group.lead
    side = 0 if rank > fit.cards else fit.side
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
        locator=_locator(lead),
        exhibits=[exhibit_view(e, pictures, side) for e in group.exhibits[: fit.exhibits]],
        counterexamples=[exhibit_view(e, pictures, side) for e in group.counterexamples if fit.counterexamples],
        facts=_facts(lead),
        same_cells=[
            f"{other.target_class} ({effect(other)}, {q_value(other.q)})"
            for other in group.others
            if other.target_class
        ],
        shared=sharing.of(lead),
        flags=list(dict.fromkeys(flag for finding in (lead, *group.others) for flag in finding.flags)),
    )


def _locator(finding: Finding) -> Markup | None:
    cell = finding.cell
    if cell is None:
        return None
    label = f"Cell {cell.number}: row {cell.row} of {cell.rows}, column {cell.column} of {cell.columns}."
    return locator(cell.rows, cell.columns, cell.row, cell.column, label)


def _facts(finding: Finding) -> list[tuple[str, str]]:
    """What stands beside the effect: the control, the pull, how often single images agree."""
    numbers = finding.numbers
    found = {
        "feature_drop": [("Drop", points(numbers.get("drop"))), ("Control drop", points(numbers.get("control_drop")))],
        "region_swap": [("Pull", points(numbers.get("pull")))],
        "patch_swap": [("Consistency", percent(numbers.get("consistency"), 0))],
    }[finding.audit]
    return [(name, value) for name, value in found if value != NONE]


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


def exhibit_view(exhibit: Exhibit, pictures: Pictures, side: int | None) -> ExhibitView:
    """The pictures of one image, as stored (side None), at most so large, or described only (side 0)."""
    return ExhibitView(exhibit.image, [panel_view(panel, pictures, side) for panel in exhibit.panels])


def panel_view(panel: Panel, pictures: Pictures, side: int | None) -> PanelView:
    """One picture with its text alternative."""
    source = pictures.source(panel.file, side, grain=panel.kind in GRAINY) if side != 0 else None
    return PanelView(source, pictures.without, PANELS[panel.kind], panel.caption, panel.alt, panel.width, panel.height)
