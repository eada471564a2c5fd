"""Baselines: a run to measure drops from, and findings that were accepted when the gates were introduced.

An accepted finding is one measurement of one gate, known by gate id, metric and scope and never by a count, so that a
new failure cannot hide behind an old one that was repaired. It excuses that measurement under the limit that it was
accepted under, while the number is not worse than the accepted one: worse is a number whose 95 % interval lies wholly
on the wrong side of the accepted one, and without an interval any number on that side. The accepted number never
creeps: where the file is written again, a finding that is still known keeps the better of the two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from spuraudit.errors import RunError, UsageError
from spuraudit.gates import words
from spuraudit.gates.judged import ROUNDING
from spuraudit.gates.rules import format_rule, format_scope
from spuraudit.record.verdict import Accepted, AcceptedFindings, AcceptedResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from spuraudit.gates.judged import Judged
    from spuraudit.record.comparison import Comparison
    from spuraudit.record.scan import ScanRecord, Scope
    from spuraudit.record.verdict import Rule

Identity = tuple[str, str, frozenset[tuple[str, str | int | float]]]

_AGAIN = "Write the accepted findings of this data anew with --write-baseline."


def identity(gate: str, metric: str, scope: Scope) -> Identity:
    """What makes two findings the same one."""
    return gate, metric, frozenset(scope.items())


def check_comparison(record: ScanRecord, comparison: Comparison) -> None:
    """Refuse a comparison that says nothing about `record`. Raises UsageError or RunError."""
    if comparison.after.run_id != record.run.id:
        raise UsageError(
            f"The comparison is of run {comparison.after.run_id}, not of run {record.run.id}.",
            "Compare the baseline with the run that is judged.",
        )
    if comparison.before.record_sha256 == comparison.after.record_sha256:
        raise RunError(
            f"Run {record.run.id} is its own baseline: compared with itself, nothing can have dropped.",
            "Give the run of the model before: spuraudit scan OLD_MODEL with the same data and options.",
        )


def check_accepted(record: ScanRecord, accepted: AcceptedFindings) -> None:
    """Refuse findings that are not about the numbers of `record`. Raises RunError: other images or definitions."""
    data = record.data
    for what, then, now in (
        ("data", accepted.data_fingerprint[:12], data.fingerprint[:12]),
        ("split", accepted.split, data.split),
        ("number of images", accepted.images, data.images),
    ):
        if then != now:
            raise RunError(f"The accepted findings are not of this run's {what}: {then} then, {now} now.", _AGAIN)
    measured = {identity("", one.metric, one.scope): one.definition for one in record.measurements}
    for finding in accepted.findings:
        now = measured.get(identity("", finding.metric, finding.scope), finding.definition)
        if now != finding.definition:
            name = finding.metric + format_scope(finding.scope)
            raise RunError(
                f"{name} is another quantity than the accepted one: {finding.definition} then, {now} now.", _AGAIN
            )


def excuse(finding: Accepted, rule: Rule, now: Judged) -> str | None:
    """Why an accepted finding does not excuse this failure of its gate, or None: then the failure is known."""
    if other := other_limit(finding, rule):
        return other
    if finding.value is None or now.number is None or not _worse(rule, finding.value, now):
        return None
    unit = words.unit_of_rule(rule)
    digits = words.digits_apart(now.number, finding.value, unit)
    then, held = (words.show(number, unit, digits) for number in (finding.value, now.number))
    return f"it is worse than accepted: {then} then, {held} now"


def other_limit(finding: Accepted, rule: Rule) -> str | None:
    """What differs where a finding was accepted under another limit than the rule's; None also for an old file."""
    if finding.op is None or finding.limit is None:
        return None
    then = rule.model_copy(
        update={
            "op": finding.op,
            "limit": finding.limit,
            "of": finding.of or "value",
            "bound": finding.bound or "point",
        }
    )
    was, now = (format_rule(one.model_copy(update={"scope": {}})) for one in (then, rule))
    return None if was == now else f"it was accepted under another limit: {was} then, {now} now"


def _worse(rule: Rule, accepted: float, now: Judged) -> bool:
    assert now.number is not None
    low, high = now.ci or (now.number, now.number)
    beyond = accepted - high if rule.op == ">=" else low - accepted
    return beyond > ROUNDING


def accepted_results(
    accepted: AcceptedFindings, judged: Mapping[Identity, tuple[Rule, Judged]]
) -> list[AcceptedResult]:
    """What became of each accepted finding; `judged`: every measurement that a gate matched."""
    return [_became(one, judged.get(identity(one.gate, one.metric, one.scope))) for one in accepted.findings]


def _became(finding: Accepted, found: tuple[Rule, Judged] | None) -> AcceptedResult:
    if found is None:
        return AcceptedResult(accepted=finding, state="stale")
    rule, now = found
    other = other_limit(finding, rule)
    state: Literal["known", "fixed", "stale"] = "stale" if other else "fixed" if now.outcome == "pass" else "known"
    reason = excuse(finding, rule, now) if now.outcome == "fail" else other
    return AcceptedResult(accepted=finding, state=state, value=now.number, reason=reason)


def accept(
    record: ScanRecord, failing: Iterable[tuple[Rule, Judged]], before: AcceptedFindings | None = None
) -> AcceptedFindings:
    """The findings file of what fails now; `before`: the one that it replaces."""
    findings = {} if before is None else {identity(one.gate, one.metric, one.scope): one for one in before.findings}
    if before is not None and (before.data_fingerprint, before.split, before.images) != (
        record.data.fingerprint,
        record.data.split,
        record.data.images,
    ):
        findings = {}
    return AcceptedFindings(
        data_fingerprint=record.data.fingerprint,
        split=record.data.split,
        images=record.data.images,
        model=record.model.name,
        run_id=record.run.id,
        findings=[
            _accepted(rule, one, findings.get(identity(rule.id, one.measurement.metric, one.measurement.scope)))
            for rule, one in failing
        ],
    )


def _accepted(rule: Rule, now: Judged, before: Accepted | None) -> Accepted:
    """The finding with its limit; its number stays the one that was accepted before, unless that is no better."""
    measurement, number = now.measurement, now.number
    same = before is not None and before.definition == measurement.definition and excuse(before, rule, now) is None
    if before is not None and same and before.value is not None and number is not None:
        number = max(before.value, number) if rule.op == ">=" else min(before.value, number)
    return Accepted(
        gate=rule.id,
        metric=measurement.metric,
        scope=measurement.scope,
        definition=measurement.definition,
        value=number,
        op=rule.op,
        limit=rule.limit,
        of=rule.of,
        bound=rule.bound,
    )


def describe(results: Sequence[AcceptedResult]) -> list[str]:
    """A sentence on how many are known, and one for each that is fixed, stale or worse."""
    count = sum(one.state == "known" for one in results)
    lines = [f"{count:,} of {len(results):,} accepted findings still fail."] if results else []
    said = {"fixed": "it holds now", "stale": "it is not measured by this gate any more", "known": ""}
    for one in results:
        if what := one.reason or said[one.state]:
            finding = one.accepted
            name = finding.metric + format_scope(finding.scope)
            again = "write the baseline again" if one.state != "known" else "it fails as a new one"
            lines.append(f"The accepted finding {finding.gate}: {name}: {what}; {again}.")
    if any(one.accepted.limit is None for one in results):
        lines.append("The accepted findings do not say their limits: they are of an older version; write them again.")
    return lines
