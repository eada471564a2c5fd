"""The models of a zoo by core and spurious accuracy, with lines of equal RCS and the published figures beside."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import ceil, floor, hypot
from typing import TYPE_CHECKING

from spuraudit.report.charts.lines import Frame, Point, axes
from spuraudit.report.charts.scale import ticks
from spuraudit.report.charts.scatter import iso_rcs
from spuraudit.report.charts.svg import TONES, drawing, el, line, marker, text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from markupsafe import Markup

CONTOURS = (-0.2, 0.0, 0.2, 0.4, 0.6)
_LETTER = 6.3
_Box = tuple[float, float, float, float]
Segment = tuple[Point, Point]


@dataclass(frozen=True, slots=True)
class Spot:
    """A model: (core, spurious) in 0..1, their intervals, its published pair, its look.

    `name` is written beside the point where there is room; the spots that come first have the first choice.
    """

    title: str
    name: str
    at: Point
    core_ci: Point | None
    spurious_ci: Point | None
    published: Point | None
    shape: str
    tone: str
    leads: bool = False


def zoo_map(spots: list[Spot], label: str) -> Markup:
    """The plane, as much of it as the points need."""
    points = [spot.at for spot in spots] + [spot.published for spot in spots if spot.published]
    x_range, y_range = _range([core for core, _ in points]), _range([spurious for _, spurious in points])
    frame = Frame(
        580,
        480,
        "Core accuracy, % (background noised)",
        "Spurious accuracy, % (object noised)",
        x_range,
        y_range,
        right=20,
    )
    x, y = frame.scales()
    parts = axes(frame, ticks(*x_range), _percent, _percent)
    taken: list[_Box] = []
    for level in CONTOURS:
        parts += _contour(level, frame, taken)
    for spot in spots:
        parts += _intervals(spot, x, y)
    for spot in spots:
        if spot.published:
            there, here = spot.published, spot.at
            parts.append(line(x(here[0]), y(here[1]), x(there[0]), y(there[1]), tone=spot.tone, stroke_opacity=0.6))
            parts.append(
                _titled(
                    f"{spot.title}: published", marker(spot.shape, x(there[0]), y(there[1]), spot.tone, 4, hollow=True)
                )
            )
    parts += [
        _titled(spot.title, marker(spot.shape, x(spot.at[0]), y(spot.at[1]), spot.tone, 5)) for spot in reversed(spots)
    ]
    taken += [(x(core) - 6, y(spurious) - 6, x(core) + 6, y(spurious) + 6) for core, spurious in points]
    for spot in spots:
        parts += _name(spot, x(spot.at[0]), y(spot.at[1]), frame, taken)
    return drawing(frame.width, frame.height, label, *parts, class_="wide")


def _titled(title: str, mark: Markup) -> Markup:
    return el("g", el("title", title), mark)


def _range(values: Sequence[float]) -> Point:
    """Tenths around the values with a little room, at least two of them, within 0..1."""
    low = max(0, floor((min(values, default=0) - 0.02) * 10))
    high = min(10, ceil((max(values, default=1) + 0.02) * 10))
    if high - low < 2:
        low, high = max(0, min(low, 8)), min(10, max(high, low + 2, 2))
    return low / 10, high / 10


def clipped(start: Point, end: Point, x_range: Point, y_range: Point) -> Segment | None:
    """The part of a segment inside a rectangle, or None (Liang and Barsky, 1984)."""
    first, last = 0.0, 1.0
    for a, b, (low, high) in ((start[0], end[0], x_range), (start[1], end[1], y_range)):
        step = b - a
        if step == 0:
            if not low <= a <= high:
                return None
            continue
        enter, leave = sorted(((low - a) / step, (high - a) / step))
        first, last = max(first, enter), min(last, leave)
    if first >= last:
        return None
    dx, dy = end[0] - start[0], end[1] - start[1]
    return (start[0] + first * dx, start[1] + first * dy), (start[0] + last * dx, start[1] + last * dy)


def _contour(level: float, frame: Frame, taken: list[_Box]) -> list[Markup]:
    x, y = frame.scales()
    corners = iso_rcs(level)
    bend = corners[1]
    shown = [part for pair in pairwise(corners) if (part := clipped(*pair, frame.x_range, frame.y_range))]
    parts: list[Markup] = [
        line(
            x(a[0]),
            y(a[1]),
            x(b[0]),
            y(b[1]),
            tone="muted",
            stroke_width=1.4 if level == 0 else 1,
            stroke_dasharray="none" if level == 0 else "3 4",
        )
        for a, b in shown
    ]
    words = f"RCS {level:g}".replace("-", "\u2212")
    width = len(words) * _LETTER
    if sum(hypot(x(b[0]) - x(a[0]), y(b[1]) - y(a[1])) for a, b in shown) < width:
        return parts  # a name longer than its line would seem to have none
    # The lines meet at the corners of the plane: their names stand where they are furthest apart, near the bends.
    near = min(
        (point for pair in shown for point in pair), key=lambda point: abs(point[0] - bend[0]) + abs(point[1] - bend[1])
    )
    left = min(x(near[0]) + 6, frame.width - frame.right - width)
    below = min(y(near[1]) + 13, frame.height - frame.bottom - 6)
    taken.append((left, below - 11, left + width, below + 3))
    parts.append(text(left, below, words, tone="muted", font_size=11))
    return parts


def _intervals(spot: Spot, x: Callable[[float], float], y: Callable[[float], float]) -> list[Markup]:
    core, spurious = spot.at
    parts: list[Markup] = []
    if spot.core_ci:
        parts.append(
            line(x(spot.core_ci[0]), y(spurious), x(spot.core_ci[1]), y(spurious), tone=spot.tone, stroke_opacity=0.4)
        )
    if spot.spurious_ci:
        parts.append(
            line(x(core), y(spot.spurious_ci[0]), x(core), y(spot.spurious_ci[1]), tone=spot.tone, stroke_opacity=0.4)
        )
    return parts


def _name(spot: Spot, at_x: float, at_y: float, frame: Frame, taken: list[_Box]) -> list[Markup]:
    """The name at one of six places beside the point, where nothing else stands; nowhere if there is no room."""
    if not spot.name:
        return []
    width = len(spot.name) * _LETTER + 4
    # Beside the arms of the cross first: a name's halo would hide them.
    for side, below in ((1, at_y - 7), (-1, at_y - 7), (1, at_y + 15), (-1, at_y + 15), (1, at_y + 4), (-1, at_y + 4)):
        place = at_x + 8 * side
        left = place if side > 0 else place - width
        box = (left, below - 11, left + width, below + 3)
        inside = box[0] >= frame.left and box[2] <= frame.width and box[1] >= frame.top - 6
        if inside and box[3] <= frame.height - frame.bottom and not any(_overlap(box, other) for other in taken):
            taken.append(box)
            return [
                text(
                    place,
                    below,
                    spot.name,
                    anchor="start" if side > 0 else "end",
                    extra="halo" if spot.leads else "halo minor",
                    font_size=12 if spot.leads else 11,
                    font_weight=650 if spot.leads else 400,
                    stroke=TONES["paper"],
                    stroke_width=3,
                    paint_order="stroke",
                )
            ]
    return []


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _percent(value: float) -> str:
    return f"{value * 100:.0f}"
