"""A grid over the model's input: a heat map of its cells, or the place of one of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.report.charts.colour import cividis
from spuraudit.report.charts.svg import TONES, drawing, el, text

if TYPE_CHECKING:
    from markupsafe import Markup

CellValues = dict[tuple[int, int], float]
"""(row, column), 1-based from the top left, to a value."""


def heat_map(
    rows: int, columns: int, values: CellValues, *, low: float, high: float, worst: tuple[int, int] | None, label: str
) -> Markup:
    """Cells from dark (low) to yellow (high); `worst` gets a frame. Cells without a value stay empty."""
    side = 196.0
    cell = side / max(rows, columns)
    width, height = columns * cell + 4, rows * cell + 4
    span = (high - low) or 1.0
    parts: list[Markup] = [
        el(
            "rect",
            x=2 + (column - 1) * cell,
            y=2 + (row - 1) * cell,
            width=cell - 1,
            height=cell - 1,
            fill=cividis((value - low) / span),
        )
        for (row, column), value in sorted(values.items())
    ]
    if worst is not None:
        parts.append(_frame(worst, cell))
    return drawing(width, height, label, *parts, class_="grid")


def locator(rows: int, columns: int, row: int, column: int, label: str) -> Markup:
    """A small grid with one marked cell."""
    cell = 84.0 / max(rows, columns)
    width, height = columns * cell + 4, rows * cell + 4
    parts: list[Markup] = [
        el(
            "rect",
            x=2 + c * cell,
            y=2 + r * cell,
            width=cell - 1,
            height=cell - 1,
            class_="fill-faint",
            fill=TONES["faint"],
        )
        for r in range(rows)
        for c in range(columns)
    ]
    parts.append(
        el(
            "rect",
            x=2 + (column - 1) * cell,
            y=2 + (row - 1) * cell,
            width=cell - 1,
            height=cell - 1,
            class_="fill-spurious",
            fill=TONES["spurious"],
        )
    )
    return drawing(width, height, label, *parts, class_="locator")


def _frame(place: tuple[int, int], cell: float) -> Markup:
    row, column = place
    return el(
        "rect",
        x=2 + (column - 1) * cell - 0.5,
        y=2 + (row - 1) * cell - 0.5,
        width=cell,
        height=cell,
        fill="none",
        class_="stroke-ink",
        stroke=TONES["ink"],
        stroke_width=2.5,
    )


def legend(low: str, high: str) -> Markup:
    """The ramp with its two ends named."""
    steps = 40
    parts: list[Markup] = [
        el("rect", x=index * 4, y=0, width=4.2, height=10, fill=cividis(index / (steps - 1))) for index in range(steps)
    ]
    parts.append(text(0, 25, low, tone="muted", font_size=11))
    parts.append(text(steps * 4, 25, high, tone="muted", anchor="end", font_size=11))
    return drawing(steps * 4, 30, f"Colours from {low} (dark blue) to {high} (yellow).", *parts, class_="legend")
