"""A small curve of one image over the cells of a grid, made to stand beside others of the same size.

Drawn after figures 3 and 4 of Hagos et al. 2022: x is the cell, y the certainty, from 0 to 1 in every chart.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from spuraudit.report.charts.lines import Frame, Point
from spuraudit.report.charts.svg import TONES, drawing, el, line, marker, polyline, text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

WIDTH, HEIGHT = 184.0, 122.0
LABEL_GAP = 25.0
"""Pixels between the labels of the x-axis, and between two marked cells that can both carry their number."""
DASH = "4 2.5"
LABEL_DROP = 16.0
"""Pixels below a marked point that its label needs."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One image: values in 0..1 per cell in the order of the cells' numbers, None where a cell was not asked.

    `level` is the horizontal line; `marked` and `plain_marked` are numbers of cells (1-based) or None.
    """

    columns: int
    level: float
    values: Sequence[float | None]
    plain: Sequence[float | None]
    marked: int | None
    plain_marked: int | None


def curve_chart(curve: Curve, label: str) -> Markup:
    """The curve, the one without dropout in dashes over it, the level, and the lowest cells with their numbers."""
    cells = max(len(curve.values), len(curve.plain), 1)
    frame = Frame(WIDTH, HEIGHT, "", "", (1.0, float(max(cells, 2))), left=26.0, right=8.0, top=9.0, bottom=21.0)
    x, y = frame.scales()
    parts = _axes(frame, cells, curve.columns)
    parts.append(line(x(1), y(curve.level), x(cells), y(curve.level), tone="core", stroke_width=1.25))
    parts += _line(frame, curve.values, tone="clean", width=2.25)
    parts += _line(frame, curve.plain, tone="teal", width=1.2, dash=DASH)
    other = curve.plain_marked if curve.plain_marked != curve.marked else None
    parts += _mark(frame, curve.values, curve.marked, other, "diamond", "spurious")
    parts += _mark(frame, curve.plain, other, curve.marked, "ring", "teal")
    return drawing(WIDTH, HEIGHT, label, *parts, class_="small-curve")


def curve_legend() -> list[tuple[Markup, str]]:
    """Signs and what they mean."""
    return [
        (_sample(line(1, 7, 27, 7, tone="clean", stroke_width=2.25)), "with MC dropout, mean over passes and targets"),
        (
            _sample(line(1, 7, 27, 7, tone="teal", stroke_width=1.5, stroke_dasharray=DASH)),
            "without dropout, mean over targets",
        ),
        (_sample(line(1, 7, 27, 7, tone="core", stroke_width=1.25)), "unperturbed image, with MC dropout"),
        (_sample(marker("diamond", 14, 7, "spurious", 4)), "lowest cell, with its number"),
        (_sample(marker("ring", 14, 7, "teal", 4)), "lowest cell without dropout, where it is another"),
    ]


def _axes(frame: Frame, cells: int, columns: int) -> list[Markup]:
    """Certainty at 0, 0.5 and 1; cells at the first cell of every row, or of every few rows of a fine grid."""
    x, y = frame.scales()
    parts: list[Markup] = []
    for tick in (0.0, 0.5, 1.0):
        parts.append(line(x(1), y(tick), x(cells), y(tick)))
        parts.append(text(frame.left - 5, y(tick) + 4, f"{tick:g}", tone="muted", anchor="end", font_size=11))
    row = max(columns, 1)
    step = row * max(1, ceil(LABEL_GAP / max(x(1 + row) - x(1), 1e-9)))
    for cell in range(1, cells + 1, step):
        parts.append(line(x(cell), y(0), x(cell), y(0) + 3, tone="muted"))
        parts.append(text(x(cell), y(0) + 15, str(cell), tone="muted", anchor="middle", font_size=11))
    return parts


def _line(
    frame: Frame, values: Sequence[float | None], *, tone: str, width: float, dash: str | None = None
) -> list[Markup]:
    """One polyline per stretch of asked cells; a cell between two gaps is a dot."""
    x, y = frame.scales()
    parts: list[Markup] = []
    for stretch in stretches(values):
        places = [(x(cell), y(value)) for cell, value in stretch]
        if len(places) == 1:
            parts.append(marker("circle", *places[0], tone, 1.4))
        elif dash is None:
            parts.append(polyline(places, tone=tone, stroke_width=width))
        else:
            parts.append(polyline(places, tone=tone, stroke_width=width, stroke_dasharray=dash))
    return parts


def stretches(values: Sequence[float | None]) -> list[list[Point]]:
    """Neighbouring cells (number, value) that were asked."""
    found: list[list[Point]] = []
    open_stretch = False
    for cell, value in enumerate(values, 1):
        if value is None:
            open_stretch = False
            continue
        if not open_stretch:
            found.append([])
            open_stretch = True
        found[-1].append((float(cell), value))
    return found


def _mark(
    frame: Frame, values: Sequence[float | None], cell: int | None, other: int | None, shape: str, tone: str
) -> list[Markup]:
    """A point with its cell's number, away from the `other` marked cell; a ring that touches the diamond has none."""
    value = values[cell - 1] if cell is not None and 1 <= cell <= len(values) else None
    if cell is None or value is None:
        return []
    x, y = frame.scales()
    at, height = x(cell), y(value)
    point = marker(shape, at, height, tone, 4.0)
    away = 0
    if other is not None and abs(x(other) - at) < LABEL_GAP:
        away = -1 if other > cell else 1
    if away and shape == "ring":
        return [point]
    right, down, anchor = _beside(frame, at, height, away)
    name = text(
        at + right,
        height + down,
        str(cell),
        tone=tone,
        anchor=anchor,
        extra="halo",
        font_size=12,
        font_weight=650,
        stroke=TONES["paper"],
        stroke_width=3,
        paint_order="stroke",
    )
    return [name, point]


def _beside(frame: Frame, at: float, height: float, away: int) -> tuple[float, float, str]:
    """Where a label stands from its point: x, y and anchor. `away` is the side it prefers: -1 left, 1 right, 0 none."""
    room = {-1: at > frame.left + LABEL_GAP, 1: at < frame.width - LABEL_GAP}
    if away and room[away]:
        side = away
    elif height + LABEL_DROP <= frame.height - frame.bottom:
        return 0.0, LABEL_DROP - 1, {-1: "end", 0: "middle", 1: "start"}[away]
    else:
        side = 1 if room[1] else -1
    return side * 8.0, 4.0, "start" if side > 0 else "end"


def _sample(sign: Markup) -> Markup:
    return el("svg", sign, viewBox="0 0 28 14", width=28, height=14, aria_hidden="true", class_="sample")
