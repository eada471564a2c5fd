"""Baselines: a run to measure drops from, and findings that were accepted when the gates were introduced.

An accepted finding is one measurement of one gate, known by gate id, metric and scope and never by a count, so that a
new failure cannot hide behind an old one that was repaired.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.errors import RunError, UsageError
from spuraudit.gates.rules import format_scope
from spuraudit.record.verdict import Accepted, AcceptedFindings, AcceptedResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from spuraudit.gates.judged import Judged
    from spuraudit.record.comparison import Comparison
    from spuraudit.record.scan import Measurement, ScanRecord, Scope
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


def accepted_results(accepted: AcceptedFindings, judged: Mapping[Identity, Judged]) -> list[AcceptedResult]:
    """What became of each accepted finding; `judged`: every measurement that a gate matched."""
    results = []
    for finding in accepted.findings:
        now = judged.get(identity(finding.gate, finding.metric, finding.scope))
        state = "stale" if now is None else "fixed" if now.outcome == "pass" else "known"
        results.append(AcceptedResult(accepted=finding, state=state, value=None if now is None else now.number))
    return results


def accept(record: ScanRecord, failing: Iterable[tuple[Rule, Judged]]) -> AcceptedFindings:
    """The findings file of what fails now."""
    return AcceptedFindings(
        data_fingerprint=record.data.fingerprint,
        split=record.data.split,
        images=record.data.images,
        model=record.model.name,
        run_id=record.run.id,
        findings=[_accepted(rule, one.measurement, one.number) for rule, one in failing],
    )


def _accepted(rule: Rule, measurement: Measurement, number: float | None) -> Accepted:
    return Accepted(
        gate=rule.id,
        metric=measurement.metric,
        scope=measurement.scope,
        definition=measurement.definition,
        value=number,
    )


def describe(results: Sequence[AcceptedResult]) -> list[str]:
    """A sentence on how many are known, and one for each that is fixed or stale."""
    count = sum(one.state == "known" for one in results)
    lines = [f"{count:,} of {len(results):,} accepted findings still fail."] if results else []
    said = {"fixed": "holds now", "stale": "is not measured by this gate any more"}
    for one in results:
        if one.state in said:
            finding = one.accepted
            name = finding.metric + format_scope(finding.scope)
            lines.append(f"The accepted finding {finding.gate}: {name} {said[one.state]}: write the baseline again.")
    return lines
