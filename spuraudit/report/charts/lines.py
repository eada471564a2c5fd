"""Lines over a numeric axis with bands for their intervals: accuracy over sigma, certainty over grid cells."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from spuraudit.report.charts.scale import Scale, ticks
from spuraudit.report.charts.svg import TONES, drawing, line, marker, polygon, polyline, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from markupsafe import Markup

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    """A line: points (x, y), their intervals (or none), a name written at its end."""

    name: str
    tone: str
    shape: str
    points: list[Point]
    bands: list[tuple[float, float] | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Frame:
    """Size of a chart and what its axes say."""

    width: float
    height: float
    x_title: str
    y_title: str
    x_range: Point
    y_range: Point = (0.0, 1.0)
    left: float = 46.0
    right: float = 92.0
    top: float = 24.0
    bottom: float = 42.0

    def scales(self) -> tuple[Scale, Scale]:
        x = Scale(*self.x_range, self.left, self.width - self.right)
        y = Scale(*self.y_range, self.height - self.bottom, self.top)
        return x, y


def axes(
    frame: Frame, x_ticks: list[float], name_x: Callable[[float], str], name_y: Callable[[float], str]
) -> list[Markup]:
    """Guide lines, tick labels and titles."""
    x, y = frame.scales()
    floor = frame.height - frame.bottom
    parts: list[Markup] = []
    for tick in ticks(*frame.y_range):
        parts.append(line(frame.left, y(tick), frame.width - frame.right, y(tick)))
        parts.append(text(frame.left - 8, y(tick) + 4, name_y(tick), tone="muted", anchor="end", font_size=11))
    for tick in x_ticks:
        parts.append(line(x(tick), floor, x(tick), floor + 4, tone="muted"))
        parts.append(text(x(tick), floor + 17, name_x(tick), tone="muted", anchor="middle", font_size=11))
    parts.append(
        text(
            (frame.left + frame.width - frame.right) / 2, frame.height - 6, frame.x_title, tone="muted", anchor="middle"
        )
    )
    parts.append(text(2, 13, frame.y_title, tone="muted"))
    return parts


def line_chart(
    frame: Frame,
    series: list[Series],
    label: str,
    *,
    x_ticks: list[float],
    name_x: Callable[[float], str],
    name_y: Callable[[float], str],
) -> Markup:
    """Lines with bands. Names stand at the lines' ends, moved apart where they would touch."""
    x, y = frame.scales()
    parts = axes(frame, x_ticks, name_x, name_y)
    for item in series:
        band = [(place, ends) for (place, _), ends in zip(item.points, item.bands, strict=False) if ends is not None]
        if len(band) > 1:
            outline = [(x(place), y(high)) for place, (_, high) in band]
            outline += [(x(place), y(low)) for place, (low, _) in reversed(band)]
            parts.append(polygon(outline, class_=f"fill-{item.tone}", fill=TONES[item.tone], fill_opacity=0.16))
    for item in series:
        parts.append(polyline([(x(a), y(b)) for a, b in item.points], tone=item.tone, stroke_width=2))
        parts += [marker(item.shape, x(a), y(b), item.tone, 4.5) for a, b in item.points if item.shape != "none"]
    parts += _names(frame, series)
    return drawing(frame.width, frame.height, label, *parts)


def _names(frame: Frame, series: list[Series], gap: float = 15.0) -> list[Markup]:
    _, y = frame.scales()
    placed: list[Markup] = []
    lowest = float("-inf")
    for item in sorted((item for item in series if item.name and item.points), key=lambda item: y(item.points[-1][1])):
        at = max(y(item.points[-1][1]) + 4, lowest + gap)
        lowest = at
        placed.append(text(frame.width - frame.right + 10, at, item.name, tone=item.tone, font_weight=600))
    return placed
