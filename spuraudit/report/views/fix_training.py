"""Curves of both trainings, each with its numbers as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from spuraudit.report import bounds
from spuraudit.report.charts.lines import Frame, Series, line_chart
from spuraudit.report.charts.scale import ticks
from spuraudit.report.charts.svg import line, text
from spuraudit.report.formats import NONE, count, signed
from spuraudit.report.views.arms import LOOKS
from spuraudit.report.views.fix_steps import refitted

if TYPE_CHECKING:
    from spuraudit.record.fix import FixRecord, TrainedArm

_Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class CurveView:
    """One loss term or validation measure of both arms: the chart, and rows (step, control, fixed)."""

    name: str
    chart: Markup
    rows: list[tuple[str, str, str]]
    left_out: list[str]


@dataclass(frozen=True, slots=True)
class TrainingView:
    """None of the two lists has an entry that neither arm has a point of."""

    losses: list[CurveView]
    validation: list[CurveView]
    lead: str


def training_view(record: FixRecord) -> TrainingView | None:
    """None where no curve was recorded."""
    control, fixed = record.arms.control, record.arms.fixed
    terms = dict.fromkeys(name for arm in (fixed, control) for entry in arm.losses for name in entry.terms)
    measures = dict.fromkeys(name for arm in (fixed, control) for point in arm.validation for name in point.measures)
    view = TrainingView(
        [_curve(record, name, _losses(control, name), _losses(fixed, name)) for name in terms],
        [
            _curve(record, name, _measures(control, name), _measures(fixed, name))
            for name in measures
            if _measures(control, name) or _measures(fixed, name)
        ],
        "The curves are those of the control: the method took no step of training."
        if refitted(record)
        else "The upright line marks the step whose weights the fixed model has.",
    )
    return view if view.losses or view.validation else None


def _losses(arm: TrainedArm, name: str) -> _Points:
    return [(float(entry.step), entry.terms[name]) for entry in arm.losses if name in entry.terms]


def _measures(arm: TrainedArm, name: str) -> _Points:
    points = [(float(point.step), point.measures.get(name)) for point in arm.validation]
    return [(step, value) for step, value in points if value is not None]


def _curve(record: FixRecord, name: str, control: _Points, fixed: _Points) -> CurveView:
    shown = name.replace("_", " ")
    lines = {arm: points for arm, points in (("control", control), ("fixed", fixed)) if points}
    label = f"{shown} over steps: " + "; ".join(
        f"{arm} from {_number(points[0][1])} to {_number(points[-1][1])}" for arm, points in lines.items()
    )
    chart = training_chart(
        lines, shown, record.arms.fixed.selected_step if fixed and not refitted(record) else None, f"{label}."
    )
    by_step: dict[float, list[float | None]] = {}
    for place, points in enumerate((control, fixed)):
        for step, value in points:
            by_step.setdefault(step, [None, None])[place] = value
    rows = [(count(int(step)), _number(pair[0]), _number(pair[1])) for step, pair in sorted(by_step.items())]
    left_out = [f"{len(rows) - bounds.ROWS} later steps: see fix.json."] if len(rows) > bounds.ROWS else []
    return CurveView(shown, chart, rows[: bounds.ROWS], left_out)


def _number(value: float | None) -> str:
    return NONE if value is None else signed(f"{value:.4g}")


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
