"""Two orders of the same models: a line from each model's place in the one to its place in the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report.charts.svg import drawing, line, marker, text

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclass(frozen=True, slots=True)
class Slope:
    """A model and its rows (0 = top) on the left and on the right; rows are unique, the shown ranks may be shared."""

    name: str
    left: int
    right: int
    left_rank: int
    right_rank: int


def slope_chart(slopes: list[Slope], titles: tuple[str, str], label: str) -> Markup:
    """Winners in the colour of the object and with a solid line, losers in that of the surroundings, dashed."""
    width, side, step, top = 640.0, 212.0, 18.0, 30.0
    parts: list[Markup] = [
        text(side - 10, 14, titles[0], tone="muted", anchor="end"),
        text(width - side + 10, 14, titles[1], tone="muted"),
    ]
    for slope in sorted(slopes, key=lambda slope: abs(slope.left_rank - slope.right_rank)):
        left, right = top + step * slope.left, top + step * slope.right
        gain = slope.left_rank - slope.right_rank
        tone = "core" if gain > 0 else "spurious" if gain < 0 else "muted"
        size = {"stroke_width": 2.2 if abs(gain) >= len(slopes) / 5 else 1.3}
        parts += [
            line(side, left, width - side, right, tone=tone, stroke_dasharray="5 3" if gain < 0 else "none", **size),
            marker("circle", side, left, tone, 3.5),
            marker("circle", width - side, right, tone, 3.5),
            text(side - 10, left + 4, f"{slope.name}  {slope.left_rank}", anchor="end", font_size=12),
            text(width - side + 10, right + 4, f"{slope.right_rank}  {slope.name}", tone=tone, font_size=12),
        ]
    return drawing(width, top + step * len(slopes), label, *parts, class_="wide slopes")
