"""All models of a zoo with their figures, the published ones beside, and their ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report import bounds
from spuraudit.report.formats import NONE, count, interval, many, plain
from spuraudit.report.zoo_evidence import FIGURES, METRICS, NO_GROUP
from spuraudit.report.zoo_ranks import ranks

if TYPE_CHECKING:
    from spuraudit.record.zoo import ZooModel
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
    """A model; a failed one has no figures but the published ones."""

    name: str
    group: str
    cells: list[FigureCell]
    rank_clean: str
    rank_core: str
    gain: str
    n: str
    failed: bool


@dataclass(frozen=True, slots=True)
class ModelsView:
    """The table, highest RCS first. `source`: of the published figures, where any model has them."""

    rows: list[ModelRow]
    published: bool
    source: str | None
    saturated: bool
    left_out: list[str]


def models_view(evidence: ZooEvidence) -> ModelsView:
    """Evaluated models by RCS, those without one after them, failed ones last."""
    places = ranks(evidence)
    ordered = sorted(evidence.audited, key=lambda model: -(_or(model.value("rcs", evidence.sigma), -2.0)))
    rows = [_row(model, evidence.sigma, places.get(model.entry.id)) for model in ordered]
    rows += [_failed(model) for model in evidence.failed]
    over = len(rows) - bounds.MODEL_ROWS
    return ModelsView(
        rows[: bounds.MODEL_ROWS],
        any(model.published is not None for model in evidence.zoo.models),
        evidence.zoo.source,
        any(cell.value.endswith("*") for row in rows for cell in row.cells),
        [f"{many(over, 'model')}: see zoo.csv."] if over > 0 else [],
    )


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _row(model: AuditedModel, sigma: float | None, place: Rank | None) -> ModelRow:
    core = model.figure("core", sigma) or model.figure("clean", sigma)
    return ModelRow(
        model.entry.name,
        model.entry.group or NO_GROUP,
        [_cell(model, figure, sigma) for figure in FIGURES],
        str(place.clean) if place else NONE,
        str(place.core) if place else NONE,
        gained(place.gain) if place else NONE,
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
    return ModelRow(entry.name, entry.group or NO_GROUP, cells, NONE, NONE, NONE, NONE, True)


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
    star = "*" if "saturated" in found.flags else ""
    return FigureCell(
        shown(figure, found.value) + star,
        interval(METRICS[figure], found.ci) if found.ci else "",
        _beside(figure, printed, found.value),
        (found.reason or "undefined") if found.value is None else "",
    )


def _beside(figure: Figure, printed: float | None, measured: float | None) -> str:
    if printed is None:
        return ""
    if measured is None:
        return f"publ. {shown(figure, printed)}"
    change = shown(figure, measured - printed)
    return f"publ. {shown(figure, printed)} ({'+' if measured > printed and change[0].isdigit() else ''}{change})"
