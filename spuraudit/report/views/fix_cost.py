"""What a fix cost: accuracy that is lower anywhere, and the training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.record.units import unit_of
from spuraudit.report import bounds
from spuraudit.report.formats import NONE, count, many, plain, value_of
from spuraudit.report.views.change_words import capital, change_interval, change_of, metric_name
from spuraudit.report.views.fix_steps import refitted, steps_done

if TYPE_CHECKING:
    from spuraudit.record.comparison import Change, Comparison
    from spuraudit.record.fix import FixRecord, TrainedArm


@dataclass(frozen=True, slots=True)
class LostRow:
    """An accuracy that is lower than it was, its interval without 0."""

    name: str
    against: str
    earlier: str
    fixed: str
    change: str
    interval: str
    q: str
    n: str


@dataclass(frozen=True, slots=True)
class CostView:
    """`lost`: a row per side; `compared`, `lower`: accuracies, each counted once; `training`: name, control, fixed."""

    lost: list[LostRow]
    compared: int
    lower: int
    sides: str
    training: list[tuple[str, str, str]]
    ratio: str
    left_out: list[str]


def cost_view(record: FixRecord) -> CostView:
    """Losses against the delivered model and against the control, the largest first."""
    sides: list[tuple[str, Comparison]] = [("control", record.comparisons.credit)]
    if record.comparisons.fixed_before is not None:
        sides.insert(0, ("before", record.comparisons.fixed_before))
    looked = [
        (name, one)
        for name, side in sides
        for one in side.changes
        if unit_of(one.metric) == "proportion" and one.direction is not None
    ]
    worse = [(name, one) for name, one in looked if one.direction == "worse"]
    worse.sort(key=lambda pair: pair[1].change or 0.0)
    kept = [_lost(name, one) for name, one in worse[: bounds.ROWS]]
    left_out = [f"{many(len(worse) - len(kept), 'smaller loss', 'smaller losses')}: see fix.json."]
    control, fixed = record.arms.control, record.arms.fixed
    return CostView(
        kept,
        _different(looked),
        _different(worse),
        " and ".join({"before": "the delivered model", "control": "the control"}[name] for name, _ in sides),
        _training(record),
        _ratio(control, fixed),
        left_out if len(worse) > len(kept) else [],
    )


def _different(changes: list[tuple[str, Change]]) -> int:
    """Accuracies, whatever they were compared with."""
    return len({(one.metric, frozenset(one.scope.items())) for _, one in changes})


def _lost(name: str, one: Change) -> LostRow:
    return LostRow(
        capital(metric_name(one.metric, one.scope)),
        name,
        value_of(one.metric, one.before),
        value_of(one.metric, one.after),
        change_of(one.metric, one.change),
        change_interval(one.metric, one.ci),
        NONE if one.q is None else "< 0.001" if one.q < 0.001 else f"{one.q:.3f}",
        count(one.n),
    )


def _training(record: FixRecord) -> list[tuple[str, str, str]]:
    arms = record.arms.control, record.arms.fixed
    if refitted(record):
        control = record.arms.control
        return [
            ("Steps done", f"{count(steps_done(control))} of {count(record.steps)}", "none: last layer fitted anew"),
            ("Step that was kept", count(control.selected_step), NONE),
            ("Stopped early", control.stopped_early or "no", NONE),
            (
                "Seconds",
                plain(control.seconds, 1),
                "not measured" if not record.arms.fixed.seconds else plain(record.arms.fixed.seconds, 1),
            ),
            ("CPU seconds per step", plain(control.cpu_seconds_per_step), NONE),
        ]

    def row(name: str, *cells: str) -> tuple[str, str, str]:
        return name, cells[0], cells[1]

    return [
        row("Steps done", *(f"{count(steps_done(arm))} of {count(record.steps)}" for arm in arms)),
        row("Step that was kept", *(count(arm.selected_step) for arm in arms)),
        row("Stopped early", *(arm.stopped_early or "no" for arm in arms)),
        row("Seconds", *(plain(arm.seconds, 1) for arm in arms)),
        row("CPU seconds per step", *(plain(arm.cpu_seconds_per_step) for arm in arms)),
    ]


def _ratio(control: TrainedArm, fixed: TrainedArm) -> str:
    if not control.cpu_seconds_per_step or fixed.cpu_seconds_per_step is None:
        return ""
    share = fixed.cpu_seconds_per_step / control.cpu_seconds_per_step
    return f"A step of the method costs {plain(share, 2)} times a step of plain training."
