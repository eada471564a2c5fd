"""Limits on drops: how far a measurement got worse since a baseline run, on the same images.

A drop is greater than 0 where the metric got worse: where it fell, or, for a metric of which less is better, where it
rose. Number, interval and p are those of the paired change (`compare`). What is held against the limit:

point    the drop itself
ci_high  the upper end of its interval: passes only a drop that is surely within the limit
ci_low   the lower end: fails only a drop that is surely beyond the limit. Little evidence passes, so that noise cannot
         stop a release: `min_n` says how little is too little, and the sentence says that the interval holds the limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.gates import words
from spuraudit.gates.judged import ROUNDING, Evidence, Judged, margin_of
from spuraudit.record.directions import GOOD_LOW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.record.comparison import Change, Comparison
    from spuraudit.record.scan import Measurement, Scope
    from spuraudit.record.verdict import Rule

_Key = tuple[str, frozenset[tuple[str, str | int | float]]]


def judge_drops(rule: Rule, matched: Sequence[Measurement], comparison: Comparison) -> Evidence:
    """Every matched measurement against the same one of the baseline run.

    Drops of core features have no better and no worse: they are left out, and counted. Nothing is judged where the
    baseline run is of the same model file with other preprocessing: it is not the model that changed.
    """
    if (problem := _no_baseline(comparison)) is not None:
        return Evidence([], problem)
    changes = {_key(change.metric, change.scope): change for change in comparison.changes}
    judged, left_out = [], 0
    for measurement in matched:
        change = changes.get(_key(measurement.metric, measurement.scope))
        if change is not None and change.change is not None and change.direction is None:
            left_out += 1
        else:
            judged.append(_judge(rule, measurement, change, comparison))
    if not judged:
        why = "neither more nor less dependence on them is better"
        return Evidence([], f"All that {rule.metric} matches are core features, and {why}.", left_out)
    return Evidence(judged, None, left_out)


def _no_baseline(comparison: Comparison) -> str | None:
    """Why the baseline run says nothing about any drop, or None."""
    before, after = comparison.before, comparison.after
    same_file = before.model_sha256 is not None and before.model_sha256 == after.model_sha256
    if same_file and comparison.preprocessing is not None:
        return (
            f"The baseline is the same model file with other preprocessing ({comparison.preprocessing}), so a drop "
            "would not be the model's. Scan the model before with the preprocessing that fits it."
        )
    return None


def drop_of(change: Change) -> float | None:
    """How far it got worse; below 0 where it got better."""
    if change.change is None:
        return None
    return change.change if change.metric in GOOD_LOW else 0.0 - change.change


def interval_of(change: Change) -> tuple[float, float] | None:
    """95 % interval of `drop_of`."""
    if change.ci is None or change.metric in GOOD_LOW:
        return change.ci
    return 0.0 - change.ci[1], 0.0 - change.ci[0]


def _judge(rule: Rule, measurement: Measurement, change: Change | None, comparison: Comparison) -> Judged:
    if change is None:
        missing = _not_compared(measurement, comparison)
        return Judged(measurement, "not evaluated", missing, 0.0, None, None, measurement.n)
    drop, ci = drop_of(change), interval_of(change)
    decisive = drop if rule.bound == "point" else None if ci is None else ci[0] if rule.bound == "ci_low" else ci[1]
    margin = 0.0 if decisive is None else margin_of(rule, decisive)
    reason = _no_evidence(rule, measurement, change, ci)
    if reason is not None:
        return Judged(measurement, "not evaluated", reason, margin, drop, ci, change.n, change)
    assert decisive is not None
    holds = margin >= -ROUNDING
    text = words.dropped(change, rule, decisive, ci, holds)
    return Judged(measurement, "pass" if holds else "fail", text, margin, drop, ci, change.n, change)


def _no_evidence(rule: Rule, measurement: Measurement, change: Change, ci: tuple[float, float] | None) -> str | None:
    """Why nothing can be concluded from this change, or None."""
    name = words.subject(measurement)
    if change.change is None:
        return f"The change of {name} is undefined ({(change.reason or 'no reason recorded').rstrip('.')})."
    if change.n < rule.min_n:
        return f"The change of {name} {words.too_few(change.n, rule.min_n)}"
    if rule.bound != "point" and ci is None:
        return f"The change of {name} has no interval, so {rule.bound} cannot be judged."
    if rule.bound == "point" and _saturated(measurement, change) and (ci is None or margin_of(rule, ci[1]) < -ROUNDING):
        return (
            f"{name} is 1 or -1 by arithmetic only in one of the runs (an accuracy sits at 0 or 100 %), and the "
            "interval of the drop does not hold the limit."
        )
    return None


def _saturated(measurement: Measurement, change: Change) -> bool:
    """RCS at its end in this run, or in the baseline run, whose flags a comparison does not keep."""
    return "saturated" in measurement.flags or (
        change.metric == "rcs" and change.before is not None and abs(change.before) >= 1 - ROUNDING
    )


def _not_compared(measurement: Measurement, comparison: Comparison) -> str:
    known = list(dict.fromkeys(change.metric for change in comparison.changes))
    if measurement.metric in known:
        return f"The baseline run has no {words.subject(measurement)}, so its drop cannot be judged."
    listed = ", ".join(known) or "no metric"
    return f"{measurement.metric} is not compared between runs, so it has no drop; compared are {listed}."


def _key(metric: str, scope: Scope) -> _Key:
    return metric, frozenset(scope.items())
