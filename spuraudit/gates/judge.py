"""Rules over a record: pass, fail or not evaluated. Needs a record and nothing else; no evidence never passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from spuraudit.errors import ConfigError, UsageError
from spuraudit.gates import words
from spuraudit.gates.matching import matches, nothing_matched
from spuraudit.gates.rules import GRAMMAR, check_rule, format_rule
from spuraudit.record.units import unit_of
from spuraudit.record.verdict import GateResult, Outcome, Rule, Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.record.scan import Measurement, ScanRecord

# Outcomes from worst to best: the exit codes 2, 1, 0.
_ORDER: tuple[Outcome, ...] = ("not evaluated", "fail", "pass")
# 0.8 - 0.7 is 0.10000000000000009 in binary: ten points must pass a limit of ten points.
_ROUNDING = 1e-9


class _Judged(NamedTuple):
    """One measurement under one rule; `margin` is how far it lies on the right side of the limit."""

    measurement: Measurement
    outcome: Outcome
    text: str
    margin: float


def judge(record: ScanRecord, rules: Sequence[Rule]) -> Verdict:
    """The verdict of `rules` over `record`; equal arguments give equal verdicts, in the order of `rules`.

    A rule is not evaluated where its metric or scope is not in the record, the record has no images, a matched value is
    null, rests on fewer than `min_n` images, lacks the interval that `bound` asks for, or is saturated (RCS at 1 or -1
    by arithmetic) with an interval that does not hold the limit. Not evaluated outranks fail outranks pass, both among
    the measurements that one rule matched and among rules. Raises UsageError where there are no rules and ConfigError
    where one makes no sense or two share an id.
    """
    if not rules:
        raise UsageError("There are no gates to judge, so nothing could pass.", f"A gate is {GRAMMAR}")
    check_rules(rules)
    gates = [_judge_rule(record, rule) for rule in rules]
    return Verdict(run_id=record.run.id, outcome=worst_outcome([gate.outcome for gate in gates]), gates=gates)


def worst_outcome(outcomes: Sequence[Outcome]) -> Outcome:
    """Not evaluated before fail before pass."""
    return min(outcomes, key=_ORDER.index)


def check_rules(rules: Sequence[Rule]) -> None:
    """Raises ConfigError where a rule makes no sense or two share an id: to be known before a long scan."""
    seen: dict[str, Rule] = {}
    for rule in rules:
        check_rule(rule)
        if rule.id in seen:
            raise ConfigError(
                f"Two gates have the id {rule.id!r}: {format_rule(seen[rule.id])} and {format_rule(rule)}.",
                "Give each gate its own id.",
            )
        seen[rule.id] = rule


def _judge_rule(record: ScanRecord, rule: Rule) -> GateResult:
    if record.data.images == 0:
        return GateResult(rule=rule, outcome="not evaluated", text="The record has no images.", matched=0)
    matched = [measurement for measurement in record.measurements if matches(rule, measurement)]
    if not matched:
        return GateResult(rule=rule, outcome="not evaluated", text=nothing_matched(record, rule), matched=0)
    judged = [_judge_one(rule, measurement) for measurement in matched]
    outcome = worst_outcome([one.outcome for one in judged])
    deciding = [one for one in judged if one.outcome == outcome]
    worst = min(deciding, key=lambda one: one.margin)
    return GateResult(
        rule=rule,
        outcome=outcome,
        text=_preface(outcome, len(deciding), len(judged)) + worst.text,
        matched=len(judged),
        value=worst.measurement.value,
        ci=worst.measurement.ci,
        n=worst.measurement.n,
        scope=worst.measurement.scope,
    )


def _preface(outcome: Outcome, deciding: int, matched: int) -> str:
    if matched == 1:
        return ""
    if outcome == "pass":
        return f"All {matched:,} hold; the nearest to the limit: "
    what = "cannot be judged; one of them" if outcome == "not evaluated" else "fail; the worst"
    return f"{deciding:,} of {matched:,} {what}: "


def _judge_one(rule: Rule, measurement: Measurement) -> _Judged:
    decisive = _decisive(rule, measurement)
    margin = 0.0 if decisive is None else _margin(rule, decisive)
    reason = _no_evidence(rule, measurement)
    if reason is not None:
        return _Judged(measurement, "not evaluated", reason, margin)
    assert decisive is not None
    holds = margin >= -_ROUNDING
    text = words.judged(measurement, rule, decisive, holds)
    return _Judged(measurement, "pass" if holds else "fail", text, margin)


def _decisive(rule: Rule, measurement: Measurement) -> float | None:
    if rule.bound == "point" or measurement.ci is None:
        return measurement.value if rule.bound == "point" else None
    return measurement.ci[0] if rule.bound == "ci_low" else measurement.ci[1]


def _margin(rule: Rule, number: float) -> float:
    return number - rule.limit if rule.op == ">=" else rule.limit - number


def _no_evidence(rule: Rule, measurement: Measurement) -> str | None:
    """Why nothing can be concluded from this measurement, or None."""
    name = words.subject(measurement)
    if measurement.value is None:
        return f"{name} is undefined: {(measurement.reason or 'no reason recorded').rstrip('.')}."
    if measurement.n < rule.min_n:
        return f"{name} rests on n = {measurement.n:,} images; at least {rule.min_n:,} are asked (min_n)."
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
    if _margin(rule, end) >= -_ROUNDING:
        return None
    limit = words.show_limit(rule.limit, unit)
    return f"{why}, and its interval {words.show_interval(measurement.ci, unit)} does not hold the limit of {limit}."
