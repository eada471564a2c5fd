"""Patch swap: one sweep per pair of classes, as a map over the grid and as a curve over its cells."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from spuraudit.record.scan import Cell
from spuraudit.report import bounds
from spuraudit.report.charts.grid import heat_map, legend
from spuraudit.report.charts.lines import Frame, Series, line_chart
from spuraudit.report.formats import NONE, count, many, plain
from spuraudit.report.wording import place

if TYPE_CHECKING:
    from markupsafe import Markup

    from spuraudit.record.scan import Measurement, ScanRecord
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


@dataclass(frozen=True, slots=True)
class SweepView:
    """A sweep, drawn."""

    source: str
    target: str
    summary: str
    map: Markup
    curve: Markup


@dataclass(frozen=True, slots=True)
class SweepRow:
    """A sweep in the table."""

    source: str
    target: str
    cell: str
    place: str
    unperturbed: str
    swapped: str
    drop: str
    consistency: str
    n: str
    suspected: str


@dataclass(frozen=True, slots=True)
class PatchView:
    """The section."""

    sweeps: list[SweepView]
    legend: Markup
    rows: list[SweepRow]
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
    suspected = {
        (finding.class_name, finding.target_class, finding.cell.number if finding.cell else 0)
        for finding in record.findings
        if finding.audit == "patch_swap" and finding.suspected
    }
    drawn = _varied(sweeps)[: bounds.SWEEPS]
    left_out = [
        text
        for rest, text in (
            (
                len(sweeps) - len(drawn),
                f"{many(len(sweeps) - len(drawn), 'sweep')} not drawn: see the table.",
            ),
            (
                len(sweeps) - bounds.ROWS,
                f"{many(len(sweeps) - bounds.ROWS, 'sweep')} not in the table: see scan.json or the CSV.",
            ),
        )
        if rest > 0
    ]
    return PatchView(
        [_drawn(sweep, top) for sweep in drawn],
        legend("no certainty lost", f"{plain(top, 2)} lost"),
        [_row(sweep, numbers, suspected) for sweep in sweeps[: bounds.ROWS]],
        len(sweeps),
        left_out,
        {"top": round(top, 4), "sweeps": [_plotly(sweep) for sweep in drawn]},
    )


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


def _drawn(sweep: Sweep, top: float) -> SweepView:
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
        sweep.source, sweep.target, summary, grid, _curve(sweep, f"Certainty over cells, {title}. {summary}")
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
    pair = {"class": sweep.source, "target_class": sweep.target}
    consistency = next(
        (
            found
            for scope in (pair, {**pair, "cell": cell.number}, worst.scope)
            if (found := numbers.get("patch_consistency", **scope)) is not None
        ),
        None,
    )
    return SweepRow(
        sweep.source,
        sweep.target,
        str(cell.number),
        place(cell),
        plain(sweep.unperturbed),
        plain(worst.value),
        plain(sweep.drop(worst)),
        plain(consistency.value, 2) if consistency is not None else NONE,
        count(worst.n),
        "yes" if (sweep.source, sweep.target, cell.number) in suspected else "no",
    )


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
