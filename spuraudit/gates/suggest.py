"""Starting gates for a finished run: limits a little worse than what it has now, and why some numbers get none."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from spuraudit.gates import words
from spuraudit.gates.judge import judge
from spuraudit.gates.matching import matches
from spuraudit.gates.rules import MIN_N, WILDCARD
from spuraudit.record.units import lowest, unit_of
from spuraudit.record.verdict import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from spuraudit.record.scan import Measurement, ScanRecord, Scope

#: Between the present interval and the limit: at least this, else this share of the interval's width.
LEAST_MARGIN, MARGIN_SHARE = 0.01, 0.25
#: At most so many features get gates of their own: those with the highest upper ends.
MOST_FEATURES = 5
_FRONT_SIGMA = 0.25
#: Limits are whole hundredths.
_STEP = 0.01


@dataclass(frozen=True)
class Suggestion:
    """A gate that the run passes. `measured`: what its limit comes from, in one line; `remark`: what to know of it."""

    rule: Rule
    measured: str
    remark: str = ""


@dataclass(frozen=True)
class LeftOut:
    """A number of the run that got no gate, and why."""

    what: str
    reason: str


@dataclass(frozen=True)
class Suggested:
    """Gates in the order in which a reader wants them, and what got none."""

    gates: tuple[Suggestion, ...]
    left_out: tuple[LeftOut, ...]


def suggest(record: ScanRecord, min_n: int = MIN_N) -> Suggested:
    """Gates on the ends of the present intervals that face the wrong side, less a margin, rounded to 0.01.

    Each of them passes on `record`. No gate comes from a number that could not be judged (undefined, n below `min_n`,
    no interval), from an RCS that is saturated, or where the limit would be one that nothing can miss.
    """
    found = [_one(record, rule) for rule in _candidates(record, min_n)]
    return Suggested(
        tuple(one for one in found if isinstance(one, Suggestion)),
        tuple(one for one in found if isinstance(one, LeftOut)),
    )


def _candidates(record: ScanRecord, min_n: int) -> Iterator[Rule]:
    """Rules about what the record holds, with the loosest limit that means anything."""
    sigma = _sigma(record)
    noise: Scope = {} if sigma is None else {"sigma": sigma}
    floors: list[tuple[str, str, Scope]] = [
        ("rcs-floor", "rcs", noise),
        ("core-accuracy-floor", "core_accuracy", noise),
        ("worst-class-floor", "core_accuracy", {"class": WILDCARD, **noise}),
        ("clean-accuracy-floor", "clean_accuracy", {}),
        ("worst-group-floor", "worst_group_accuracy", {}),
        ("core-recall-floor", "core_mean_label_recall", noise),
    ]
    swapped: list[Scope] = [{"feature": name} for name in _features(record, "swap_gap")]
    noised: list[Scope] = [{"class": WILDCARD, "feature": name} for name in _features(record, "feature_drop_excess")]
    ceilings: list[tuple[str, str, Scope]] = [
        *(("swap-gap", "swap_gap", scope) for scope in swapped),
        *(("feature-drop-excess", "feature_drop_excess", scope) for scope in noised),
        ("patch-drop", "patch_argmin_drop", {"class": WILDCARD, "target_class": WILDCARD}),
    ]
    taken: set[str] = set()
    for id, metric, scope in floors:
        yield _rule(id, metric, scope, ">=", lowest(metric) + _STEP, min_n)
    for id, metric, scope in ceilings:
        yield _rule(_free(id, scope, taken), metric, scope, "<=", 1 - _STEP, min_n)


def _rule(id: str, metric: str, scope: Scope, op: Literal[">=", "<="], limit: float, min_n: int) -> Rule:
    bound: Literal["ci_low", "ci_high"] = "ci_low" if op == ">=" else "ci_high"
    return Rule(id=id, metric=metric, scope=scope, op=op, limit=limit, bound=bound, min_n=min_n)


def _free(id: str, scope: Scope, taken: set[str]) -> str:
    """`swap-gap-background`: plain letters, each once."""
    plain = re.sub(r"[^a-z0-9]+", "-", str(scope.get("feature", "")).lower()).strip("-")[:40]
    base = f"{id}-{plain}".rstrip("-")
    name = next(name for n in range(len(taken) + 2) if (name := f"{base}-{n + 1}" if n else base) not in taken)
    taken.add(name)
    return name


def _sigma(record: ScanRecord) -> float | None:
    """0.25 where the noise audit asked it, else its smallest."""
    levels = {float(m.scope["sigma"]) for m in record.measurements if set(m.scope) == {"sigma"}}
    return _FRONT_SIGMA if _FRONT_SIGMA in levels else min(levels, default=None)


def _features(record: ScanRecord, metric: str) -> list[str]:
    """Features that are not core, those with the highest upper ends first: a core feature has to matter."""
    core = {feature.name for feature in record.data.features if feature.role == "core"}
    highest: dict[str, float] = {}
    for one in record.measurements:
        name = str(one.scope.get("feature", ""))
        if one.metric == metric and name and name not in core and not set(one.scope) - {"feature", "class"}:
            highest[name] = max(highest.get(name, -1.0), one.ci[1] if one.ci else -1.0)
    return sorted(highest, key=lambda name: -highest[name])[:MOST_FEATURES]


def _one(record: ScanRecord, rule: Rule) -> Suggestion | LeftOut | None:
    """The gate with its limit, why there is none, or None where the run did not measure this."""
    matched = [measurement for measurement in record.measurements if matches(rule, measurement)]
    if not matched:
        return None
    what = rule.metric + "".join(f", {key} {value}" for key, value in rule.scope.items())
    judged = judge(record, [rule]).gates[0]
    if judged.outcome == "not evaluated":
        return LeftOut(what, judged.text)
    if saturated := next((one for one in matched if "saturated" in one.flags), None):
        shown = words.show(saturated.value or 0.0, unit_of(rule.metric))
        return LeftOut(what, f"{shown} by arithmetic only: an accuracy sits at 0 or 100 %.")
    worst = _worst(rule, matched)
    limit = _limit(rule, worst)
    measured = f"{_preface(len(matched))}{_described(worst)}"
    if not lowest(rule.metric) < limit < 1:
        return LeftOut(what, f"{measured}. Less a margin the limit is one that nothing can miss.")
    return Suggestion(rule.model_copy(update={"limit": limit}), measured, _remark(rule, worst))


def _worst(rule: Rule, matched: Sequence[Measurement]) -> Measurement:
    """The measurement that decides: the lowest lower end, or the highest upper end."""
    end, sign = (0, 1) if rule.op == ">=" else (1, -1)
    return min(matched, key=lambda one: sign * _interval(one)[end])


def _interval(measurement: Measurement) -> tuple[float, float]:
    assert measurement.ci is not None, "judged, and so in the record"
    return measurement.ci


def _limit(rule: Rule, worst: Measurement) -> float:
    low, high = _interval(worst)
    margin = max(LEAST_MARGIN, MARGIN_SHARE * (high - low))
    if rule.op == ">=":
        return max(float(lowest(rule.metric)), math.floor(round(100 * (low - margin), 6)) / 100)
    return min(1.0, math.ceil(round(100 * (high + margin), 6)) / 100)


def _preface(matched: int) -> str:
    return "" if matched == 1 else f"the worst of {matched:,}: "


def _described(measurement: Measurement) -> str:
    """`rcs[sigma=0.25] 0.263, 95 % interval 0.213 to 0.313, n = 640`."""
    unit = unit_of(measurement.metric)
    value = words.show(measurement.value or 0.0, unit)
    ends = words.show_interval(_interval(measurement), unit)
    return f"{words.subject(measurement)} {value}, 95 % interval {ends}, n = {measurement.n:,}"


def _remark(rule: Rule, worst: Measurement) -> str:
    low, high = _interval(worst)
    if rule.metric == "rcs" and high < 0:
        return "Below 0 the background counts for more than the object: this gate only keeps it from getting worse."
    if rule.op == "<=" and low > 0:
        return "Above 0 for certain: the model relies on it, and this gate only keeps it from getting worse."
    return ""
