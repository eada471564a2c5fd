"""Core accuracy against spurious accuracy: the published models, lines of equal RCS, and the audited model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report.charts.lines import Frame, axes
from spuraudit.report.charts.svg import TONES, drawing, el, line, marker, polyline, text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from markupsafe import Markup


_PUBLISHED = ("ConvNets", "ViTs", "SS ResNets", "SS ViTs", "CLIP ResNets", "CLIP ViTs", "Robust ResNets")


def look(group: str) -> tuple[str, str]:
    """(shape, tone) of a group of published models: the shape tells the architecture, the tone how it was trained."""
    shape = "square" if "ViT" in group else "circle"
    if "Robust" in group:
        return "diamond", "slate"
    if "CLIP" in group:
        return shape, "teal"
    return shape, "rose" if group.startswith("SS ") else "core"


_TONES = ("core", "rose", "teal", "slate")
_SPARE = tuple((shape, tone) for shape in ("circle", "square", "triangle") for tone in _TONES)


def looks(groups: Iterable[str]) -> dict[str, tuple[str, str]]:
    """(shape, tone) per group, in alphabetical order: as in the published table where the names tell, else any not yet
    taken. With more groups than there are looks, the last ones share one.
    """
    names = sorted(set(groups))
    known = {name: look(name) for name in names if name in _PUBLISHED}
    spare = [sign for sign in _SPARE if sign not in known.values()]
    others = [name for name in names if name not in known]
    given = {name: spare[min(place, len(spare) - 1)] for place, name in enumerate(others)}
    return {name: known.get(name) or given[name] for name in names}


@dataclass(frozen=True, slots=True)
class Dot:
    """A model on the plane: both accuracies in 0..1."""

    name: str
    group: str
    core: float
    spurious: float


@dataclass(frozen=True, slots=True)
class Here:
    """The audited model, with the intervals of both accuracies where known."""

    core: float
    spurious: float
    core_ci: tuple[float, float] | None
    spurious_ci: tuple[float, float] | None


def iso_rcs(rcs: float) -> list[tuple[float, float]]:
    """Corners (core, spurious) of the line of equal RCS, which bends where the mean accuracy is one half.

    Below it RCS = (c - s)/(c + s), above it (c - s)/(2 - c - s) (Singla et al. 2022, section 6.2).
    """
    return [(0.0, 0.0), ((1 + rcs) / 2, (1 - rcs) / 2), (1.0, 1.0)]


def zoo_scatter(dots: list[Dot], here: Here, label: str) -> Markup:
    """The chart; group by shape and shade, the audited model large and named."""
    frame = Frame(
        560, 480, "Core accuracy (background noised)", "Spurious accuracy (object noised)", (0.0, 1.0), right=20.0
    )
    x, y = frame.scales()
    parts = axes(frame, [0, 0.2, 0.4, 0.6, 0.8, 1.0], _percent, _percent)
    for rcs in (0.0, 0.25, 0.5, 0.75):
        corners = [(x(core), y(spurious)) for core, spurious in iso_rcs(rcs)]
        parts.append(polyline(corners, tone="muted", stroke_width=1, stroke_dasharray="none" if rcs == 0 else "3 4"))
        bend = corners[1]
        parts.append(text(bend[0] + 5, bend[1] + 13, f"RCS {rcs:g}", tone="muted", font_size=11))
    signs = looks(dot.group for dot in dots)
    for dot in dots:
        shape, tone = signs[dot.group]
        parts.append(
            el("g", el("title", dot.name), marker(shape, x(dot.core), y(dot.spurious), tone, 4.5), opacity=0.75)
        )
    parts += _here(here, x(here.core), y(here.spurious), frame)
    return drawing(frame.width, frame.height, label, *parts, class_="wide")


def _here(here: Here, at_x: float, at_y: float, frame: Frame) -> list[Markup]:
    x, y = frame.scales()
    parts: list[Markup] = []
    if here.core_ci:
        parts.append(line(x(here.core_ci[0]), at_y, x(here.core_ci[1]), at_y, tone="spurious", stroke_width=2))
    if here.spurious_ci:
        parts.append(line(at_x, y(here.spurious_ci[0]), at_x, y(here.spurious_ci[1]), tone="spurious", stroke_width=2))
    parts.append(
        el(
            "circle",
            cx=at_x,
            cy=at_y,
            r=9,
            class_="fill-spurious halo",
            fill=TONES["spurious"],
            stroke=TONES["paper"],
            stroke_width=2,
        )
    )
    # Up and to the left: above the diagonal there is room, below it lie most models.
    left = at_x > frame.left + 110
    parts.append(
        text(
            at_x - 13 if left else at_x + 13,
            max(at_y - 12, frame.top + 12),
            "this model",
            tone="spurious",
            anchor="end" if left else "start",
            extra="halo",
            stroke=TONES["paper"],
            stroke_width=4,
            paint_order="stroke",
            font_weight=700,
            font_size=14,
        )
    )
    return parts


def legend_mark(shape: str, tone: str) -> Markup:
    """A sign for the legend."""
    sign = marker(shape, 8, 8, tone, 5)
    return el("svg", sign, viewBox="0 0 16 16", width=16, height=16, aria_hidden="true", class_="sign")


def _percent(value: float) -> str:
    return f"{value * 100:.0f}"
