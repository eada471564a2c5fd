"""One number with its interval on a shared axis; rows of numbers; a pair of numbers joined by a bar."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report.charts.scale import Scale
from spuraudit.report.charts.svg import TONES, drawing, el, line, marker, text

if TYPE_CHECKING:
    from markupsafe import Markup

WIDTH = 320.0


@dataclass(frozen=True, slots=True)
class Mark:
    """A named value with its look."""

    label: str
    value: float
    shown: str
    tone: str
    shape: str


def interval_bar(
    value: float,
    ci: tuple[float, float] | None,
    *,
    low: float,
    high: float,
    tone: str,
    shape: str,
    label: str,
    ticks: tuple[float, ...],
) -> Markup:
    """A point and its 95 % interval between `low` and `high`; `ticks` are faint guide lines, 0 a stronger one."""
    scale, middle = Scale(low, high, 8, WIDTH - 8), 13.0
    parts = [line(scale(tick), 3, scale(tick), 23, tone="muted" if tick == 0 and low < 0 else "rule") for tick in ticks]
    parts.append(line(8, middle, WIDTH - 8, middle, tone="rule"))
    if ci is not None:
        left, right = scale(ci[0]), scale(ci[1])
        parts.append(
            el(
                "rect",
                x=left,
                y=middle - 4,
                width=max(right - left, 1.5),
                height=8,
                rx=4,
                class_=f"fill-{tone}",
                fill=TONES[tone],
                fill_opacity=0.3,
            )
        )
    parts.append(marker(shape, scale(value), middle, tone, 5.5))
    return drawing(WIDTH, 26, label, *parts, class_="bar")


def rug(values: list[float], here: float, *, low: float, high: float, label: str, ticks: tuple[float, ...]) -> Markup:
    """A thin line per value between `low` and `high`, and a thick one where this model stands among them."""
    scale, middle = Scale(low, high, 8, WIDTH - 8), 13.0
    parts = [line(scale(tick), 3, scale(tick), 23) for tick in ticks]
    parts.append(line(8, middle, WIDTH - 8, middle, tone="rule"))
    parts += [
        line(scale(value), 7, scale(value), 19, tone="slate", stroke_width=1.5, stroke_opacity=0.55)
        for value in sorted(values)
    ]
    parts.append(line(scale(here), 2, scale(here), 24, tone="accent", stroke_width=3))
    return drawing(WIDTH, 26, label, *parts, class_="bar")


def axis(low: float, high: float, ticks: tuple[float, ...], names: tuple[str, ...]) -> Markup:
    """The labels under a column of interval bars; hidden from readers of the text, who have the numbers."""
    scale = Scale(low, high, 8, WIDTH - 8)
    anchors = {low: "start", high: "end"}
    parts = [
        text(
            scale(tick) + {"start": -8.0, "end": 8.0}.get(anchors.get(tick, ""), 0.0),
            12,
            name,
            tone="muted",
            anchor=anchors.get(tick, "middle"),
            font_size=11,
        )
        for tick, name in zip(ticks, names, strict=True)
    ]
    return el(
        "svg",
        *parts,
        viewBox=f"0 0 {WIDTH:.0f} 16",
        width=WIDTH,
        height=16,
        aria_hidden="true",
        class_="chart bar axis",
    )


def dot_rows(marks: list[Mark], label: str, *, low: float = 0.0, high: float = 1.0) -> Markup:
    """Named values under each other on one axis: what a card shows of a finding."""
    width, left, right, step = 380.0, 104.0, 66.0, 26.0
    scale = Scale(low, high, left, width - right)
    height = step * len(marks) + 6
    parts: list[Markup] = [
        line(scale(low + (high - low) * share), 2, scale(low + (high - low) * share), height - 4)
        for share in (0, 0.5, 1)
    ]
    for row, mark in enumerate(marks):
        y = step * row + step / 2 + 2
        parts += [
            text(0, y + 4, mark.label, tone="muted"),
            line(scale(low), y, scale(mark.value), y, tone=mark.tone, stroke_width=2, stroke_opacity=0.45),
            marker(mark.shape, scale(mark.value), y, mark.tone, 5.5),
            text(width, y + 4, mark.shown, anchor="end", font_weight=600),
        ]
    return drawing(width, height, label, *parts, class_="dots")


def dumbbell(first: Mark, second: Mark, label: str) -> Markup:
    """Two values of 0..1 joined by a bar: the length is the gap."""
    scale, middle = Scale(0, 1, 8, WIDTH - 8), 13.0
    parts = [line(scale(tick), 3, scale(tick), 23) for tick in (0, 0.25, 0.5, 0.75, 1)]
    parts += [
        line(
            scale(second.value),
            middle,
            scale(first.value),
            middle,
            tone=second.tone,
            stroke_width=4,
            stroke_opacity=0.35,
        ),
        marker(first.shape, scale(first.value), middle, first.tone, 5.5),
        marker(second.shape, scale(second.value), middle, second.tone, 5.5),
    ]
    return drawing(WIDTH, 26, label, *parts, class_="bar")
