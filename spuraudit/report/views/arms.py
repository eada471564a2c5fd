"""Runs beside each other under one number: three arms of a fix, two runs of a comparison, on one axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report.charts.scale import Scale
from spuraudit.report.charts.svg import TONES, drawing, el, line, marker

if TYPE_CHECKING:
    from markupsafe import Markup

    from spuraudit.record.comparison import Interval

WIDTH = 320.0
LOOKS = {"before": ("ring", "slate"), "control": ("square", "slate"), "fixed": ("circle", "core")}
"""Arm to shape and tone: form and colour both tell which is which."""


@dataclass(frozen=True, slots=True)
class ArmCell:
    """One arm's number as shown."""

    value: str
    interval: str
    note: str = ""


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
