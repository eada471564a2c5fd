"""Patch swap of both runs: the cells that either found, and the maps beside each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report import bounds
from spuraudit.report.charts.grid import heat_map, legend
from spuraudit.report.formats import many, plain
from spuraudit.report.numbers import Numbers
from spuraudit.report.views.compare_shortcuts import PairShortcut, shortcut_row
from spuraudit.report.views.patches import Sweep, sweeps_of
from spuraudit.report.wording import place

if TYPE_CHECKING:
    from markupsafe import Markup

    from spuraudit.record.comparison import Shortcut
    from spuraudit.report.views.compare_pair import Pair


@dataclass(frozen=True, slots=True)
class CellRow:
    """A cell that was the lowest of a class pair in one of the runs."""

    source: str
    target: str
    cell: str
    shown: PairShortcut


@dataclass(frozen=True, slots=True)
class MapPair:
    """The maps of one class pair; a side that did not sweep it has none."""

    source: str
    target: str
    maps: tuple[Markup | None, Markup | None]
    captions: tuple[str, str]


@dataclass(frozen=True, slots=True)
class PairPatches:
    """The section."""

    cells: list[CellRow]
    maps: list[MapPair]
    legend: Markup
    left_out: list[str]


def pair_patches(pair: Pair) -> PairPatches | None:
    """None where neither run swept a cell."""
    found = [one for one in pair.comparison.shortcuts if one.cell is not None]
    sides = [{sweep.pair: sweep for sweep in sweeps_of(Numbers(record.measurements))} for record in pair.records]
    keys = sorted({*sides[0], *sides[1]}, key=lambda key: (-_difference(sides[0].get(key), sides[1].get(key)), key))
    if not keys and not found:
        return None
    drawn = keys[: bounds.SWEEPS]
    sweeps = [sweep for key in drawn for side in sides if (sweep := side.get(key)) is not None]
    top = max([0.1, *(sweep.drop(sweep.worst) for sweep in sweeps)])
    lines = []
    if len(keys) > len(drawn):
        lines.append(
            f"{many(len(keys) - len(drawn), 'class pair')} whose maps differ less: see the reports of the runs."
        )
    if len(found) > bounds.ROWS:
        lines.append(f"{many(len(found) - bounds.ROWS, 'cell')}: see comparison.json.")
    return PairPatches(
        [_cell_row(one) for one in found[: bounds.ROWS]],
        [_map_pair((sides[0].get(key), sides[1].get(key)), key, top, pair.letters) for key in drawn],
        legend("no certainty lost", f"{plain(top, 2)} lost"),
        lines,
    )


def _difference(one: Sweep | None, other: Sweep | None) -> float:
    """How much the largest drops differ; pairs that only one run swept come last."""
    if one is None or other is None:
        return -1.0
    return abs(one.drop(one.worst) - other.drop(other.worst))


def _cell_row(one: Shortcut) -> CellRow:
    assert one.cell is not None
    return CellRow(one.class_name, one.target_class or "", f"{one.cell.number}, {place(one.cell)}", shortcut_row(one))


def _map_pair(
    sweeps: tuple[Sweep | None, Sweep | None], key: tuple[str, str], top: float, letters: tuple[str, str]
) -> MapPair:
    drawn = [
        (None, "Not asked") if sweep is None else _map(sweep, top, f"{letter}, {key[0]} with cells of {key[1]}")
        for sweep, letter in zip(sweeps, letters, strict=True)
    ]
    (one, said), (other, also) = drawn
    return MapPair(*key, (one, other), (said, also))


def _map(sweep: Sweep, top: float, title: str) -> tuple[Markup, str]:
    worst = sweep.worst.scope
    said = f"Lowest at cell {worst['cell']}: {plain(sweep.drop(sweep.worst), 2)} lost"
    values = {(int(item.scope["row"]), int(item.scope["column"])): sweep.drop(item) for item in sweep.cells}
    drawn = heat_map(
        int(worst["rows"]),
        int(worst["columns"]),
        values,
        low=0.0,
        high=top,
        worst=(int(worst["row"]), int(worst["column"])),
        label=f"Certainty lost per cell, {title}. {said}.",
    )
    return drawn, said
