"""Accuracy over the level of noise, where a run asked for several levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report.charts.lines import Frame, Series, line_chart
from spuraudit.report.formats import measured, percent

if TYPE_CHECKING:
    from markupsafe import Markup

    from spuraudit.report.numbers import Numbers


@dataclass(frozen=True, slots=True)
class SigmaView:
    """The chart, and the same numbers as rows (sigma, core, spurious, RCS)."""

    chart: Markup
    rows: list[tuple[str, str, str, str]]


def sigma_view(numbers: Numbers) -> SigmaView | None:
    """None for fewer than two levels."""
    levels = numbers.sigmas()
    if len(levels) < 2:
        return None
    lines = [
        _series(numbers, levels, "core_accuracy", "Core", "core", "circle"),
        _series(numbers, levels, "spurious_accuracy", "Spurious", "spurious", "diamond"),
    ]
    clean = numbers.get("clean_accuracy")
    if clean is not None and clean.value is not None:
        lines.append(Series("Clean", "clean", "none", [(0.0, clean.value), (levels[-1], clean.value)]))
    chart = line_chart(
        Frame(500, 280, "Noise σ, in units of [0, 1] pixels", "Accuracy, %", (0.0, levels[-1])),
        lines,
        _summary(lines, levels),
        x_ticks=[0.0, *levels],
        name_x=lambda value: f"{value:g}",
        name_y=lambda value: f"{value * 100:.0f}",
    )
    rows = [
        (
            f"{level:g}",
            measured(numbers.get("core_accuracy", sigma=level)),
            measured(numbers.get("spurious_accuracy", sigma=level)),
            measured(numbers.get("rcs", sigma=level)),
        )
        for level in levels
    ]
    return SigmaView(chart, rows)


def _series(numbers: Numbers, levels: list[float], metric: str, name: str, tone: str, shape: str) -> Series:
    points: list[tuple[float, float]] = []
    bands: list[tuple[float, float] | None] = []
    for level in levels:
        found = numbers.get(metric, sigma=level)
        if found is not None and found.value is not None:
            points.append((level, found.value))
            bands.append(found.ci)
    return Series(name, tone, shape, points, bands)


def _summary(lines: list[Series], levels: list[float]) -> str:
    parts = [
        f"{line.name} accuracy goes from {percent(line.points[0][1])} to {percent(line.points[-1][1])}"
        for line in lines[:2]
        if line.points
    ]
    return f"From sigma {levels[0]:g} to {levels[-1]:g}: {'; '.join(parts)}."
