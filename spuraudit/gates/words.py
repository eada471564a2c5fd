"""The sentences and numbers of a verdict. Proportions in percent, differences in points, RCS and the rest plain."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.gates.rules import format_scope
from spuraudit.record.directions import GOOD_LOW
from spuraudit.record.units import unit_of

if TYPE_CHECKING:
    from spuraudit.record.comparison import Change
    from spuraudit.record.scan import Measurement
    from spuraudit.record.units import Unit
    from spuraudit.record.verdict import Rule

_PERCENT: dict[str, str] = {"proportion": " %", "difference": " points"}
_DIFFERENCES: dict[Unit, Unit] = {"proportion": "difference", "probability": "probability_difference"}
_MOST_DIGITS = 6


def unit_of_rule(rule: Rule) -> Unit:
    """The unit of the limit and of what is held against it: a drop of a proportion is a difference."""
    unit = unit_of(rule.metric)
    return unit if rule.of == "value" else _DIFFERENCES.get(unit, unit)


def show(number: float, unit: Unit, digits: int = 1) -> str:
    """`84.5 %`, `-3.2 points`, `0.262`: `digits` decimals of a percentage, two more of a plain number."""
    if unit in _PERCENT:
        return f"{_fixed(100 * number, digits)}{_PERCENT[unit]}"
    return _fixed(number, digits + 2)


def show_limit(limit: float, unit: Unit) -> str:
    """The limit with as many decimals as it has: `80 %`, `12.5 points`, `0.2`."""
    if unit in _PERCENT:
        return f"{round(100 * limit, 10):.10g}{_PERCENT[unit]}"
    return f"{limit:.10g}"


def show_interval(ci: tuple[float, float], unit: Unit, digits: int = 1) -> str:
    """`80.1 to 88.0 %`, `0.241 to 0.283`."""
    low, high = (show(end, unit, digits) for end in ci)
    return f"{low.removesuffix(_PERCENT.get(unit, ''))} to {high}"


def digits_apart(number: float, limit: float, unit: Unit) -> int:
    """Decimals for `show` that keep a number from looking equal to a limit that it misses (0.1999 is not 0.2)."""
    if number == limit:
        return 1
    for digits in range(1, _MOST_DIGITS):
        if show(number, unit, digits) != show(limit, unit, digits):
            return digits
    return 1


def subject(measurement: Measurement) -> str:
    """`core_accuracy[class=monarch,sigma=0.25]`."""
    return measurement.metric + format_scope(measurement.scope)


def judged(measurement: Measurement, rule: Rule, decisive: float, holds: bool) -> str:
    """One sentence for a measurement that passed or failed: value, interval, n, limit."""
    unit = unit_of(measurement.metric)
    value = measurement.value if measurement.value is not None else decisive
    digits = digits_apart(decisive, rule.limit, unit)
    evidence = [f"n = {measurement.n:,}"]
    if rule.bound == "point":
        said = f"{subject(measurement)} is {show(value, unit, digits)}"
        if measurement.ci:
            evidence.insert(0, f"95 % interval {show_interval(measurement.ci, unit, digits)}")
    else:
        end = "lower" if rule.bound == "ci_low" else "upper"
        said = f"The {end} end of the 95 % interval of {subject(measurement)} is {show(decisive, unit, digits)}"
        evidence.insert(0, f"value {show(value, unit, digits)}")
    return f"{said} ({', '.join(evidence)}), {_comparison(rule, holds, unit)}{_doubt(measurement, rule, holds)}."


def too_few(n: int, min_n: int) -> str:
    """`rests on n = 9 images; at least 50 are asked (min_n).`"""
    return f"rests on n = {n:,} images; at least {min_n:,} are asked (min_n)."


def dropped(change: Change, rule: Rule, decisive: float, ci: tuple[float, float] | None, holds: bool) -> str:
    """One sentence for a drop within or beyond its limit: both numbers, interval of the drop, p, n, limit."""
    unit, own = unit_of_rule(rule), unit_of(rule.metric)
    digits = digits_apart(decisive, rule.limit, unit)
    name = change.metric + format_scope(change.scope)
    worse = "rise" if change.metric in GOOD_LOW else "drop"
    evidence = [] if ci is None else [f"95 % interval of the {worse} {show_interval(ci, unit, digits)}"]
    evidence += [] if change.p is None else [f"p = {change.p:.2g}"]
    evidence.append(f"n = {change.n:,}")
    step = change.change or 0.0
    moved = f"fell by {show(-step, unit, digits)}" if step < 0 else f"rose by {show(step, unit, digits)}"
    said = f"{name} {moved if step else 'did not change'} since the baseline run"
    ends = f" from {show(change.before or 0.0, own)} to {show(change.after or 0.0, own)}" if step else ""
    limit = show_limit(rule.limit, unit)
    asked = f"within the limit of {limit} as asked" if holds else f"beyond the limit of {limit}"
    if rule.bound != "point":
        end = "lower" if rule.bound == "ci_low" else "upper"
        asked = f"and the {end} end of the interval is {asked}"
    doubt = ""
    if ci is not None and rule.bound != "ci_high" and ci[0] < rule.limit < ci[1]:
        doubt = "; inconclusive: the interval contains the limit" if holds else "; the interval contains the limit"
    return f"{said}{ends} ({', '.join(evidence)}), {asked}{doubt}."


def _comparison(rule: Rule, holds: bool, unit: Unit) -> str:
    limit = show_limit(rule.limit, unit)
    if holds:
        return f"{'at least' if rule.op == '>=' else 'at most'} {limit} as asked"
    return f"{'below' if rule.op == '>=' else 'above'} the limit of {limit}"


def _doubt(measurement: Measurement, rule: Rule, holds: bool) -> str:
    if rule.bound != "point" or measurement.ci is None or not measurement.ci[0] < rule.limit < measurement.ci[1]:
        return ""
    return "; inconclusive: the interval contains the limit" if holds else "; the interval contains the limit"


def _fixed(number: float, digits: int) -> str:
    text = f"{number:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text
