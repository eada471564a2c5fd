"""Patch swap: one sweep per pair of classes, as a map over the grid and as curves over its cells."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spuraudit.record.scan import Cell
from spuraudit.report import bounds
from spuraudit.report.charts.curve import curve_legend
from spuraudit.report.charts.grid import heat_map, legend
from spuraudit.report.charts.lines import Frame, Series, line_chart
from spuraudit.report.formats import NONE, count, many, measured, percent, plain
from spuraudit.report.views.curves import (
    CurveView,
    agreement_sentence,
    curve_notes,
    curve_view,
    curves_by_pair,
    drawn_curves,
    not_drawn,
    settled_sentence,
)
from spuraudit.report.wording import place

if TYPE_CHECKING:
    from collections.abc import Mapping

    from markupsafe import Markup

    from spuraudit.record.scan import Finding, Measurement, PatchCurve, ScanRecord
    from spuraudit.report.numbers import Numbers

CELL_KEYS = ("class", "target_class", "cell", "row", "column", "rows", "columns")


@dataclass(frozen=True, slots=True)
class Sweep:
    """All cells of one (source class, target class), in the order of their numbers."""

    source: str
    target: str
    unperturbed: float
    cells: list[Measurement]

    def drop(self, cell: Measurement) -> float:
        """Certainty lost when this cell is swapped."""
        return self.unperturbed - (cell.value or 0.0)

    @property
    def worst(self) -> Measurement:
        """The argmin cell: the suspect."""
        return min(self.cells, key=lambda cell: (cell.value or 0.0, cell.scope["cell"]))

    @property
    def pair(self) -> tuple[str, str]:
        """Source class and target class."""
        return self.source, self.target

    @property
    def scope(self) -> dict[str, str]:
        """Scope of the numbers of the whole pair."""
        return {"class": self.source, "target_class": self.target}


@dataclass(frozen=True, slots=True)
class SweepView:
    """A sweep, drawn: its means, and `images` with their own curves where the record has them."""

    source: str
    target: str
    summary: str
    facts: list[str]
    map: Markup
    curve: Markup
    images: list[CurveView]


@dataclass(frozen=True, slots=True)
class SweepRow:
    """A sweep in the table; `own_drop`, `change` and `same_cell` are of single source images."""

    source: str
    target: str
    cell: str
    place: str
    unperturbed: str
    swapped: str
    drop: str
    consistency: str
    own_drop: str
    change: str
    same_cell: str
    n: str
    suspected: str


@dataclass(frozen=True, slots=True)
class PatchView:
    """The section. `curve_legend` is empty where no curve of a single image is drawn."""

    sweeps: list[SweepView]
    legend: Markup
    curve_legend: list[tuple[Markup, str]]
    curve_notes: list[str]
    rows: list[SweepRow]
    own_numbers: bool
    total: int
    left_out: list[str]
    data: dict[str, Any]


def sweeps_of(numbers: Numbers) -> list[Sweep]:
    """Whole sweeps, the largest drop first."""
    cells: dict[tuple[str, str], list[Measurement]] = {}
    for item in numbers.shaped("patch_certainty", *CELL_KEYS):
        if item.value is not None:
            cells.setdefault((str(item.scope["class"]), str(item.scope["target_class"])), []).append(item)
    sweeps: list[Sweep] = []
    for (source, target), found in cells.items():
        start = numbers.get("patch_certainty_unperturbed", **{"class": source, "target_class": target})
        start = start or numbers.get("patch_certainty_unperturbed", **{"class": source})
        if start is not None and start.value is not None:
            sweeps.append(Sweep(source, target, start.value, sorted(found, key=lambda cell: int(cell.scope["cell"]))))
    return sorted(sweeps, key=lambda sweep: (-sweep.drop(sweep.worst), sweep.source, sweep.target))


def patch_view(record: ScanRecord, numbers: Numbers) -> PatchView | None:
    """None where patch swap left no sweep."""
    sweeps = sweeps_of(numbers)
    if not sweeps:
        return None
    top = max(0.1, sweeps[0].drop(sweeps[0].worst))
    swapped = [finding for finding in record.findings if finding.audit == "patch_swap"]
    by_pair = {(finding.class_name, finding.target_class or ""): finding for finding in reversed(swapped)}
    suspected = {
        (finding.class_name, finding.target_class, finding.cell.number if finding.cell else 0)
        for finding in swapped
        if finding.suspected
    }
    curves = curves_by_pair(record)
    drawn = _few(_varied(sweeps))
    drawn_images = [curve for sweep in drawn for curve in drawn_curves(curves.get(sweep.pair, []))]
    rows = [_row(sweep, numbers, suspected) for sweep in sweeps[: bounds.ROWS]]
    return PatchView(
        sweeps=[
            _drawn(sweep, top, curves.get(sweep.pair, []), _facts(sweep, numbers, curves, by_pair)) for sweep in drawn
        ],
        legend=legend("no certainty lost", f"{plain(top, 2)} lost"),
        curve_legend=curve_legend() if drawn_images else [],
        curve_notes=curve_notes(drawn_images),
        rows=rows,
        own_numbers=any({row.own_drop, row.change, row.same_cell} != {NONE} for row in rows),
        total=len(sweeps),
        left_out=[*_left_out(len(sweeps), len(drawn)), *not_drawn(len(record.curves), len(drawn_images))],
        data={"top": round(top, 4), "sweeps": [_plotly(sweep) for sweep in drawn]},
    )


def _left_out(total: int, drawn: int) -> list[str]:
    undrawn, beyond = total - drawn, total - bounds.ROWS
    lines = []
    if undrawn > 0:
        lines.append(f"{many(undrawn, 'sweep')} not drawn: see the table.")
    if beyond > 0:
        lines.append(f"{many(beyond, 'sweep')} not in the table: see scan.json or the CSV.")
    return lines


def _few(sweeps: list[Sweep]) -> list[Sweep]:
    """The first sweeps, fewer of fine grids, and at least one."""
    kept: list[Sweep] = []
    cells = 0
    for sweep in sweeps[: bounds.SWEEPS]:
        cells += len(sweep.cells)
        if kept and cells > bounds.SWEEP_CELLS:
            break
        kept.append(sweep)
    return kept


def _varied(sweeps: list[Sweep]) -> list[Sweep]:
    """Every class's strongest sweep before any class's second: the same cell twelve times would show one class."""
    seen: Counter[str] = Counter()
    turns: list[tuple[int, int]] = []
    for rank, sweep in enumerate(sweeps):
        turns.append((seen[sweep.source], rank))
        seen[sweep.source] += 1
    return [sweeps[rank] for _, rank in sorted(turns)]


def _cell(item: Measurement) -> Cell:
    scope = item.scope
    return Cell(
        number=int(scope["cell"]),
        row=int(scope["row"]),
        column=int(scope["column"]),
        rows=int(scope["rows"]),
        columns=int(scope["columns"]),
    )


def _facts(
    sweep: Sweep,
    numbers: Numbers,
    curves: Mapping[tuple[str, str], list[PatchCurve]],
    findings: Mapping[tuple[str, str], Finding],
) -> list[str]:
    """Sentences on the single source images of a sweep, and on what dropout changed."""
    own, sources = curves.get(sweep.pair, []), sweep.worst.n
    found: list[str | None] = []
    drop = numbers.get("patch_argmin_drop", **sweep.scope)
    if drop is not None and drop.value is not None:
        found.append(f"Drop at each image’s own lowest cell: {measured(drop)}.")
    found.append(agreement_sentence(own, numbers.get("patch_argmin_agreement", **sweep.scope), sources))
    finding = findings.get(sweep.pair)
    if finding is not None and finding.cell is not None and finding.numbers.get("plain_drop") is not None:
        found.append(
            f"The mean drop at cell {finding.cell.number} is {plain(finding.effect, 2)} with dropout and "
            f"{plain(finding.numbers['plain_drop'], 2)} without."
        )
    found.append(settled_sentence(own, numbers.get("patch_settled", **sweep.scope), sources))
    return [text for text in found if text]


def _drawn(sweep: Sweep, top: float, curves: list[PatchCurve], facts: list[str]) -> SweepView:
    worst, cell = sweep.worst, _cell(sweep.worst)
    summary = (
        f"Lowest at cell {cell.number} ({place(cell)}): certainty {plain(worst.value, 2)} instead of "
        f"{plain(sweep.unperturbed, 2)}."
    )
    values = {(int(item.scope["row"]), int(item.scope["column"])): sweep.drop(item) for item in sweep.cells}
    title = f"{sweep.source} with cells of {sweep.target}"
    grid = heat_map(
        cell.rows,
        cell.columns,
        values,
        low=0.0,
        high=top,
        worst=(cell.row, cell.column),
        label=f"Certainty lost per cell, {title}. {summary}",
    )
    return SweepView(
        source=sweep.source,
        target=sweep.target,
        summary=summary,
        facts=facts,
        map=grid,
        curve=_curve(sweep, f"Certainty over cells, {title}. {summary}"),
        images=[curve_view(curve) for curve in drawn_curves(curves)],
    )


def _curve(sweep: Sweep, label: str) -> Markup:
    last = int(sweep.cells[-1].scope["cell"])
    worst = sweep.worst
    points = [(float(item.scope["cell"]), item.value or 0.0) for item in sweep.cells]
    step = max(1, round(last / 6))
    return line_chart(
        Frame(300, 170, "Cell number", "Certainty", (1.0, float(last)), right=12.0),
        [
            Series("", "clean", "none", points, [item.ci for item in sweep.cells]),
            Series("", "core", "none", [(1.0, sweep.unperturbed), (float(last), sweep.unperturbed)]),
            Series("", "spurious", "diamond", [(float(worst.scope["cell"]), worst.value or 0.0)]),
        ],
        label,
        x_ticks=[float(cell) for cell in range(1, last + 1, step)],
        name_x=lambda value: f"{value:.0f}",
        name_y=lambda value: f"{value:g}",
    )


def _row(sweep: Sweep, numbers: Numbers, suspected: set[tuple[str, str | None, int]]) -> SweepRow:
    worst, cell = sweep.worst, _cell(sweep.worst)
    pair = sweep.scope
    consistency = next(
        (
            found
            for scope in (pair, {**pair, "cell": cell.number}, worst.scope)
            if (found := numbers.get("patch_consistency", **scope)) is not None
        ),
        None,
    )
    return SweepRow(
        source=sweep.source,
        target=sweep.target,
        cell=str(cell.number),
        place=place(cell),
        unperturbed=plain(sweep.unperturbed),
        swapped=plain(worst.value),
        drop=plain(sweep.drop(worst)),
        consistency=percent(consistency.value, 0) if consistency is not None else NONE,
        own_drop=plain(_value(numbers, "patch_argmin_drop", sweep)),
        change=plain(_value(numbers, "patch_mean_absolute_change", sweep)),
        same_cell=percent(_value(numbers, "patch_argmin_agreement", sweep), 0),
        n=count(worst.n),
        suspected="yes" if (sweep.source, sweep.target, cell.number) in suspected else "no",
    )


def _value(numbers: Numbers, metric: str, sweep: Sweep) -> float | None:
    found = numbers.get(metric, **sweep.scope)
    return None if found is None else found.value


def _plotly(sweep: Sweep) -> dict[str, Any]:
    cell = _cell(sweep.cells[0])
    grid: list[list[float | None]] = [[None] * cell.columns for _ in range(cell.rows)]
    for item in sweep.cells:
        grid[int(item.scope["row"]) - 1][int(item.scope["column"]) - 1] = round(item.value or 0.0, 4)
    return {
        "source": sweep.source,
        "target": sweep.target,
        "unperturbed": round(sweep.unperturbed, 4),
        "columns": cell.columns,
        "certainty": grid,
    }
