"""Limits on a number itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.gates import words
from spuraudit.gates.judged import ROUNDING, Judged, margin_of
from spuraudit.record.units import unit_of

if TYPE_CHECKING:
    from spuraudit.record.scan import Measurement
    from spuraudit.record.verdict import Rule


def judge_value(rule: Rule, measurement: Measurement) -> Judged:
    """A limit on the number itself."""
    decisive = _decisive(rule, measurement)
    margin = 0.0 if decisive is None else margin_of(rule, decisive)
    held = (margin, measurement.value, measurement.ci, measurement.n)
    if (reason := _no_evidence(rule, measurement)) is not None:
        return Judged(measurement, "not evaluated", reason, *held)
    assert decisive is not None
    holds = margin >= -ROUNDING
    return Judged(measurement, "pass" if holds else "fail", words.judged(measurement, rule, decisive, holds), *held)


def _decisive(rule: Rule, measurement: Measurement) -> float | None:
    if rule.bound == "point" or measurement.ci is None:
        return measurement.value if rule.bound == "point" else None
    return measurement.ci[0] if rule.bound == "ci_low" else measurement.ci[1]


def _no_evidence(rule: Rule, measurement: Measurement) -> str | None:
    """Why nothing can be concluded from this measurement, or None."""
    name = words.subject(measurement)
    if measurement.value is None:
        return f"{name} is undefined: {(measurement.reason or 'no reason recorded').rstrip('.')}."
    if measurement.n < rule.min_n:
        return f"{name} {words.too_few(measurement.n, rule.min_n)}"
    if rule.bound != "point" and measurement.ci is None:
        return f"{name} has no interval in the record, so {rule.bound} cannot be judged."
    if rule.bound == "point" and "saturated" in measurement.flags:
        return _saturated(rule, measurement)
    return None


def _saturated(rule: Rule, measurement: Measurement) -> str | None:
    unit = unit_of(measurement.metric)
    why = f"{words.subject(measurement)} is {words.show(measurement.value or 0.0, unit)} by arithmetic only"
    why += " (an accuracy sits at 0 or 100 %)"
    if measurement.ci is None:
        return f"{why} and has no interval, so its point value is no evidence."
    end = measurement.ci[0] if rule.op == ">=" else measurement.ci[1]
    if margin_of(rule, end) >= -ROUNDING:
        return None
    limit = words.show_limit(rule.limit, unit)
    return f"{why}, and its interval {words.show_interval(measurement.ci, unit)} does not hold the limit of {limit}."
