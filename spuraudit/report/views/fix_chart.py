"""Drawings of a fix: three arms on one line, and curves of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from spuraudit.report.charts.lines import Frame, Series, line_chart
from spuraudit.report.charts.scale import Scale, ticks
from spuraudit.report.charts.svg import TONES, drawing, el, line, marker, text

if TYPE_CHECKING:
    from spuraudit.record.comparison import Interval

WIDTH = 320.0
LOOKS = {"before": ("ring", "slate"), "control": ("square", "slate"), "fixed": ("circle", "core")}
"""Arm to shape and tone: form and colour both tell which is which."""


@dataclass(frozen=True, slots=True)
class ArmMark:
    """One arm's value with its interval."""

    arm: str
    value: float
    ci: Interval | None


def arm_bar(marks: list[ArmMark], low: float, high: float, label: str) -> Markup:
    """Before, control and fixed under each other on one axis, each with its 95 % interval."""
    scale, height = Scale(low, high, 8, WIDTH - 8), 12.0 * len(marks) + 6
    parts: list[Markup] = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        tick = low + (high - low) * share
        parts.append(line(scale(tick), 2, scale(tick), height - 2, tone="muted" if tick == 0 > low else "rule"))
    for row, mark in enumerate(marks):
        shape, tone = LOOKS[mark.arm]
        y = 9.0 + 12.0 * row
        if mark.ci is not None:
            left, right = scale(mark.ci[0]), scale(mark.ci[1])
            size = {"x": left, "y": y - 3, "width": max(right - left, 1.5), "height": 6.0, "rx": 3.0}
            parts.append(el("rect", **size, class_=f"fill-{tone}", fill=TONES[tone], fill_opacity=0.3))
        parts.append(marker(shape, scale(mark.value), y, tone, 4.5))
    return drawing(WIDTH, height, label, *parts, class_="bar")


def legend(arms: list[str]) -> list[tuple[Markup, str]]:
    """Signs of the arms and what they are."""
    says = {
        "before": "before: the delivered model",
        "control": "control: plain training, same start, steps, seed and data",
        "fixed": "fixed: the method",
    }
    return [
        (
            el(
                "svg",
                marker(LOOKS[arm][0], 7, 7, LOOKS[arm][1], 5),
                viewBox="0 0 14 14",
                width=14,
                height=14,
                aria_hidden="true",
            ),
            says[arm],
        )
        for arm in arms
    ]


def training_chart(lines: dict[str, list[tuple[float, float]]], title: str, chosen: int | None, label: str) -> Markup:
    """Curves over steps, by arm; `chosen`: the step whose weights were kept, as an upright line."""
    steps = [x for points in lines.values() for x, _ in points]
    values = [y for points in lines.values() for _, y in points]
    low, high = min(0.0, *values), max(values)
    if high - low < 1e-9:
        high = low + 1.0
    last = max(*steps, 1.0)
    frame = Frame(400, 210, "Step", title, (0.0, last), (low, high), left=52.0, right=66.0)
    series = [
        Series(arm, LOOKS[arm][1], "circle" if len(points) == 1 else "none", points)
        for arm, points in lines.items()
        if points
    ]
    drawn = line_chart(
        frame, series, label, x_ticks=ticks(0.0, last, 4), name_x=lambda x: f"{x:g}", name_y=lambda y: f"{y:.4g}"
    )
    if chosen is None:
        return drawn
    x, _ = frame.scales()
    at = x(float(chosen))
    kept = line(at, frame.top, at, frame.height - frame.bottom, tone="accent", stroke_dasharray="4 3")
    name = text(at, frame.top - 3, "kept", tone="accent", anchor="middle", font_size=11)
    end = Markup("</svg>")
    return Markup(str(drawn).removesuffix(end)) + kept + name + end  # every part was escaped where it was made
