"""One figure averaged per group: a bar for the mean, a whisker for the spread of the models, the published mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report.charts.scale import Scale, ticks
from spuraudit.report.charts.svg import TONES, drawing, el, line, marker, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from markupsafe import Markup


@dataclass(frozen=True, slots=True)
class Bar:
    """A group: mean of its models, their lowest and highest value, the mean of the published figures."""

    name: str
    mean: float | None
    low: float | None
    high: float | None
    published: float | None


def group_bars(
    bars: list[Bar],
    label: str,
    *,
    low: float,
    high: float,
    tone: str,
    name_of: Callable[[float], str],
    value_of: Callable[[float], str],
) -> Markup:
    """Rows under each other on one axis from `low` to `high`; bars start at 0. `name_of` a tick, `value_of` a mean."""
    width, left, right, step, top = 400.0, 118.0, 48.0, 26.0, 4.0
    scale = Scale(low, high, left, width - right)
    floor = top + step * len(bars)
    parts: list[Markup] = []
    for tick in ticks(low, high):
        parts.append(line(scale(tick), top, scale(tick), floor, tone="muted" if tick == 0 and low < 0 else "rule"))
        parts.append(text(scale(tick), floor + 14, name_of(tick), tone="muted", anchor="middle", font_size=11))
    for row, bar in enumerate(bars):
        parts += _row(bar, scale, top + step * row + step / 2, width, tone, value_of)
    return drawing(width, floor + 20, label, *parts)


def _row(bar: Bar, scale: Scale, y: float, width: float, tone: str, value_of: Callable[[float], str]) -> list[Markup]:
    parts: list[Markup] = [text(0, y + 4, bar.name)]
    if bar.mean is not None:
        start, end = sorted((scale(0), scale(bar.mean)))
        parts.append(
            el(
                "rect",
                x=start,
                y=y - 7,
                width=max(end - start, 1),
                height=14,
                class_=f"fill-{tone}",
                fill=TONES[tone],
                fill_opacity=0.55,
            )
        )
        if bar.low is not None and bar.high is not None:
            parts.append(line(scale(bar.low), y, scale(bar.high), y, tone="ink", stroke_width=1.5))
            parts += [
                line(scale(end), y - 4, scale(end), y + 4, tone="ink", stroke_width=1.5) for end in (bar.low, bar.high)
            ]
    if bar.published is not None:
        parts.append(
            marker("diamond", scale(bar.published), y, "spurious" if tone != "spurious" else "core", 4.5, hollow=True)
        )
    parts.append(
        text(width, y + 4, value_of(bar.mean) if bar.mean is not None else "\u2013", anchor="end", font_weight=600)
    )
    return parts
