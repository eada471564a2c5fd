"""All models of a zoo with their figures, the published ones beside, and their ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report import bounds
from spuraudit.report.formats import NONE, count, interval, many, plain
from spuraudit.report.views.zoo_warnings import warned
from spuraudit.report.zoo_evidence import FIGURES, METRICS, NO_GROUP
from spuraudit.report.zoo_ranks import ranks

if TYPE_CHECKING:
    from spuraudit.record.zoo import ZooModel
    from spuraudit.report.views.zoo_warnings import Footnote, Mark
    from spuraudit.report.zoo_evidence import AuditedModel, Figure, ZooEvidence
    from spuraudit.report.zoo_ranks import Rank


@dataclass(frozen=True, slots=True)
class FigureCell:
    """A number as shown: '88.2', its interval, 'publ. 87.9 (+0.3)', and why it is no number."""

    value: str
    interval: str = ""
    published: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A model; a failed one has no figures but the published ones. `moved`: 'clean 18 (+2)', rank and places won."""

    name: str
    group: str
    marks: list[Mark]
    cells: list[FigureCell]
    rank_core: str
    moved: str
    n: str
    failed: bool


@dataclass(frozen=True, slots=True)
class ModelsView:
    """The table, highest RCS first. `source`: of the published figures, where any model has them.

    `footnotes`: the notices that the rows' marks lead to.
    """

    rows: list[ModelRow]
    footnotes: list[Footnote]
    published: bool
    source: str | None
    saturated: bool
    left_out: list[str]


def models_view(evidence: ZooEvidence) -> ModelsView:
    """Evaluated models by RCS, those without one after them, failed ones last."""
    places = ranks(evidence)
    ordered = sorted(evidence.audited, key=lambda model: -(_or(model.value("rcs", evidence.sigma), -2.0)))
    marks, footnotes = warned(ordered[: bounds.MODEL_ROWS])
    rows = [_row(model, evidence.sigma, places.get(model.entry.id), marks.get(model.entry.id, [])) for model in ordered]
    rows += [_failed(model) for model in evidence.failed]
    over = len(rows) - bounds.MODEL_ROWS
    return ModelsView(
        rows[: bounds.MODEL_ROWS],
        footnotes,
        any(model.published is not None for model in evidence.zoo.models),
        evidence.zoo.source,
        any(cell.value.endswith("*") for row in rows for cell in row.cells),
        [f"{many(over, 'model')}: see zoo.csv."] if over > 0 else [],
    )


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _row(model: AuditedModel, sigma: float | None, place: Rank | None, marks: list[Mark]) -> ModelRow:
    core = model.figure("core", sigma) or model.figure("clean", sigma)
    return ModelRow(
        model.entry.name,
        model.entry.group or NO_GROUP,
        marks,
        [_cell(model, figure, sigma) for figure in FIGURES],
        str(place.core) if place else NONE,
        f"clean\u00a0{place.clean} ({gained(place.gain)})" if place else "",
        count(core.n) if core else NONE,
        False,
    )


def gained(places: int) -> str:
    """'+3' for places won, a true minus for places lost."""
    return f"+{places}" if places > 0 else plain(places, 0)


def _failed(entry: ZooModel) -> ModelRow:
    cells = [
        FigureCell(NONE, published=_beside(figure, getattr(entry.published, figure, None), None)) for figure in FIGURES
    ]
    return ModelRow(entry.name, entry.group or NO_GROUP, [], cells, NONE, "", NONE, True)


def shown(figure: Figure, value: float | None) -> str:
    """Accuracies as percent without the sign (the head of the column has it), RCS plain."""
    if value is None:
        return NONE
    return plain(value) if figure == "rcs" else plain(value * 100, 1)


def _cell(model: AuditedModel, figure: Figure, sigma: float | None) -> FigureCell:
    found = model.figure(figure, sigma)
    printed = getattr(model.entry.published, figure, None)
    if found is None:
        return FigureCell(NONE, published=_beside(figure, printed, None), note="not measured")
    saturated = "saturated" in found.flags
    note = "saturated" if saturated else ""
    return FigureCell(
        shown(figure, found.value) + ("*" if saturated else ""),
        interval(METRICS[figure], found.ci) if found.ci else "",
        _beside(figure, printed, found.value),
        (found.reason or "undefined") if found.value is None else note,
    )


def _beside(figure: Figure, printed: float | None, measured: float | None) -> str:
    if printed is None:
        return ""
    if measured is None:
        return f"publ. {shown(figure, printed)}"
    change = shown(figure, measured - printed)
    return f"publ. {shown(figure, printed)} ({'+' if measured > printed and change[0].isdigit() else ''}{change})"
