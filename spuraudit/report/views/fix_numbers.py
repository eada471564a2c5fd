"""Rows of numbers of a fix: before, control, fixed, and what the method adds to its control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.record.units import lowest
from spuraudit.report.charts.svg import el, marker
from spuraudit.report.formats import NONE, count, interval, value_of
from spuraudit.report.numbers import PRIMARY_SIGMA
from spuraudit.report.views.arms import LOOKS, ArmCell, ArmMark, arm_bar
from spuraudit.report.views.change_words import EXPLAINS, capital, change_interval, change_of, metric_name
from spuraudit.report.views.fix_steps import refitted

if TYPE_CHECKING:
    from markupsafe import Markup

    from spuraudit.record.comparison import Change, Interval
    from spuraudit.record.fix import FixRecord
    from spuraudit.record.scan import Scope

WORDS = {"better": "better than the control", "worse": "worse than the control", "unclear": "no clear difference"}


@dataclass(frozen=True, slots=True)
class FixRow:
    """One number of all arms; `tone` is better, worse, unclear or empty."""

    name: str
    explains: str
    n: str
    arms: list[ArmCell]
    beyond: str
    beyond_interval: str
    tone: str
    word: str
    bar: Markup | None


@dataclass(frozen=True, slots=True)
class NumbersView:
    """Columns are the arms that there are."""

    arms: list[str]
    legend: list[tuple[Markup, str]]
    key: list[FixRow]
    groups: list[FixRow]


def numbers_view(record: FixRecord) -> NumbersView:
    """Key numbers, and one row per group with the lowest before (else in the control) first."""
    arms = (["before"] if record.comparisons.fixed_before is not None else []) + ["control", "fixed"]
    key = [row for metric, scope in key_measures(record) if (row := fix_row(record, metric, scope)) is not None]
    groups = [one for one in record.comparisons.credit.changes if set(one.scope) == {"group"}]
    groups.sort(key=lambda one: _first(record, one))
    rows = [row for one in groups if (row := fix_row(record, one.metric, one.scope)) is not None]
    return NumbersView(arms, legend(arms, refitted(record)), key, rows)


def _first(record: FixRecord, one: Change) -> float:
    earlier = record.comparisons.fixed_before
    found = earlier.of(one.metric, one.scope) if earlier is not None else None
    value = found.before if found is not None else one.before
    return 2.0 if value is None else value


def key_measures(record: FixRecord) -> list[tuple[str, Scope]]:
    """Metric and scope of the key numbers, in the order of the table; noise at the primary sigma."""
    credit = record.comparisons.credit.changes
    sigmas = sorted({float(one.scope["sigma"]) for one in credit if one.metric == "core_accuracy"})
    sigma: Scope = {"sigma": PRIMARY_SIGMA if PRIMARY_SIGMA in sigmas else sigmas[0]} if sigmas else {}
    features = [one.scope for one in credit if one.metric == "swap_gap" and set(one.scope) == {"feature"}]
    plain: list[tuple[str, Scope]] = [
        (name, {}) for name in ("clean_accuracy", "mean_group_accuracy", "worst_group_accuracy")
    ]
    noised = [(name, sigma) for name in ("core_accuracy", "spurious_accuracy", "rcs")] if sigmas else []
    swaps = [(name, scope) for scope in features for name in ("swap_gap", "swap_other_accuracy")]
    return plain + noised + swaps


def fix_row(record: FixRecord, metric: str, scope: Scope) -> FixRow | None:
    """The number in all arms, None where it was not compared."""
    credit = record.comparisons.credit.of(metric, scope)
    if credit is None:
        return None
    earlier = record.comparisons.fixed_before
    old = earlier.of(metric, scope) if earlier is not None else None
    values: list[tuple[str, float | None, Interval | None, str]] = []
    if earlier is not None:
        values.append(("before", *_side(old, 0)))
    values += [("control", *_side(credit, 0)), ("fixed", *_side(credit, 1))]
    name = capital(metric_name(metric, scope))
    return FixRow(
        name=name if set(scope) != {"group"} else str(scope["group"]),
        explains=EXPLAINS.get(metric, "") if set(scope) != {"group"} else "",
        n=count(credit.n),
        arms=[ArmCell(value_of(metric, value), interval(metric, ci), note) for _, value, ci, note in values],
        beyond=change_of(metric, credit.change),
        beyond_interval=change_interval(metric, credit.ci),
        tone=credit.direction or "",
        word=WORDS.get(credit.direction or "", _why_not(credit.reason or "")),
        bar=_bar(metric, name, values),
    )


def _why_not(reason: str) -> str:
    """The comparison's words for its two runs, in those of a fix."""
    when, sign, what = reason.partition(": ")
    arm = {"before": "control", "after": "fixed"}.get(when, when)
    return f"{arm}{sign}{what}"


def _side(change: Change | None, side: int) -> tuple[float | None, Interval | None, str]:
    if change is None:
        return None, None, ""
    note = f"group {change.worst[side]}" if change.worst is not None else ""
    return (change.before, change.before_ci, note) if side == 0 else (change.after, change.after_ci, note)


def _bar(metric: str, name: str, values: list[tuple[str, float | None, Interval | None, str]]) -> Markup | None:
    marks = [ArmMark(arm, value, ci) for arm, value, ci, _ in values if value is not None]
    if not marks:
        return None
    said = ", ".join(f"{mark.arm} {value_of(metric, mark.value)}" for mark in marks)
    return arm_bar(marks, float(lowest(metric)), 1.0, f"{name}: {said or NONE}.")


def legend(arms: list[str], anew: bool) -> list[tuple[Markup, str]]:
    """Signs of the arms and what they are."""
    says = {
        "before": "before: the delivered model",
        "control": f"control: plain training, same start{' and seed' if anew else ', steps, seed and data'}",
        "fixed": "fixed: the method" + (", last layer fitted anew" if anew else ""),
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
