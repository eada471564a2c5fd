"""Rules over a record: pass, fail or not evaluated. Needs a record and nothing else; no evidence never passes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from spuraudit.errors import ConfigError, NotEvaluatedError, UsageError
from spuraudit.gates import baseline
from spuraudit.gates.doubts import doubts
from spuraudit.gates.evidence import gather
from spuraudit.gates.ignores import covers, covers_unmeasured, ignore_results, in_force, unknown_gates
from spuraudit.gates.members import classes_left_out, named
from spuraudit.gates.rules import GRAMMAR, check_rule, format_rule
from spuraudit.gates.summing import Standing, summed
from spuraudit.record.verdict import AcceptedFindings, GateResult, Outcome, Rule, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date

    from spuraudit.gates.judged import Evidence, Judged
    from spuraudit.record.comparison import Comparison
    from spuraudit.record.scan import ScanRecord, Scope
    from spuraudit.record.verdict import Accepted, AcceptedResult, Ignore

    _Known = Mapping[baseline.Identity, Accepted]

# Outcomes from worst to best: the exit codes 2, 1, 0.
_ORDER: tuple[Outcome, ...] = ("not evaluated", "fail", "pass")
_SHOWN = 5


class _Gate(NamedTuple):
    """A rule, what it matched, and how each of these counts; `excused`: missing members that an ignore names."""

    rule: Rule
    evidence: Evidence
    standings: list[Standing]
    excused: list[Scope]
    result: GateResult


def judge(
    record: ScanRecord,
    rules: Sequence[Rule],
    *,
    ignores: Sequence[Ignore] = (),
    today: date | None = None,
    comparison: Comparison | None = None,
    accepted: AcceptedFindings | None = None,
    strict: bool = False,
    config: str | None = None,
) -> Verdict:
    """The verdict of `rules` over `record`; equal arguments give equal verdicts, in the order of `rules`.

    ignores: measurements beyond a limit that do not fail; `today` is the day on which they may have expired.
    comparison: of the baseline run (before) with this run (after), for limits on drops.
    accepted: measurements beyond a limit that are known; `strict` fails where one of them is fixed or stale.
    config: name of the file that the rules came from.

    A rule is not evaluated where its metric or scope is not in the record, the record has no images, a matched value is
    null, rests on fewer than `min_n` images, lacks the interval that `bound` asks for, or is saturated (RCS at 1 or -1
    by arithmetic) with an interval that does not hold the limit; a limit on a drop also where there is no comparison or
    no change in it. Nothing excuses that: neither an ignore nor `severity: warn` nor `allow_fraction`. A rule with '*'
    is not evaluated either where a class, group or feature that the data holds was not measured (`members`), unless an
    ignore names it. Not evaluated outranks fail outranks pass, both among the measurements that one rule matched and
    among rules.

    Raises UsageError where there are no rules, ConfigError where one makes no sense or two share an id, RunError where
    the run is its own baseline or the accepted findings are of other images or definitions.
    """
    if comparison is not None:
        baseline.check_comparison(record, comparison)
    if accepted is not None:
        baseline.check_accepted(record, accepted)
    active = in_force(ignores, today)
    gates = _gates(record, rules, active, comparison, accepted)
    beyond = [(gate.rule, one.measurement) for gate in gates for one in gate.evidence.judged if one.outcome == "fail"]
    unmeasured = [(gate.rule, member) for gate in gates for member in gate.evidence.missing]
    became = [] if accepted is None else baseline.accepted_results(accepted, _by_identity(gates))
    outcomes = [_counted(gate.result) for gate in gates]
    if strict and any(one.state != "known" for one in became):
        outcomes.append("fail")
    return Verdict(
        run_id=record.run.id,
        outcome=worst_outcome(outcomes),
        gates=[gate.result for gate in gates],
        model=record.model.name,
        model_sha256=record.model.sha256,
        data=record.data.name,
        config=config,
        baseline=None if comparison is None else comparison.before.run_id,
        ignores=ignore_results(ignores, active, beyond, unmeasured),
        accepted=became,
        notes=[
            *unknown_gates(ignores, rules),
            *doubts(record, rules),
            *_of_members(record, gates),
            *_of_baseline(comparison),
            *(_strictly(became) if strict else []),
        ],
    )


def accept(
    record: ScanRecord,
    rules: Sequence[Rule],
    *,
    ignores: Sequence[Ignore] = (),
    today: date | None = None,
    comparison: Comparison | None = None,
    before: AcceptedFindings | None = None,
) -> AcceptedFindings:
    """Every measurement that fails its gate now and that no ignore covers, to be given to `judge` as `accepted`.

    before: the findings that these replace; what they hold and is no worse now keeps the better number of the two.
    Raises NotEvaluatedError where a gate could not be evaluated: what it would fail is not known. Otherwise as `judge`.
    """
    if comparison is not None:
        baseline.check_comparison(record, comparison)
    gates = _gates(record, rules, in_force(ignores, today), comparison, None)
    unknown = [gate.result for gate in gates if gate.result.outcome == "not evaluated"]
    if unknown:
        raise NotEvaluatedError(
            f"The gate {unknown[0].rule.id!r} could not be evaluated, so what fails is not known. {unknown[0].text}",
            "Correct the gate, or scan with what it needs; then write the baseline.",
        )
    failing = [gate for gate in gates if gate.result.outcome == "fail"]
    return baseline.accept(
        record,
        [
            (gate.rule, one)
            for gate in failing
            for one, standing in zip(gate.evidence.judged, gate.standings, strict=True)
            if standing == "fail"
        ],
        before,
    )


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


def _gates(
    record: ScanRecord,
    rules: Sequence[Rule],
    active: Sequence[Ignore],
    comparison: Comparison | None,
    accepted: AcceptedFindings | None,
) -> list[_Gate]:
    if not rules:
        raise UsageError("There are no gates to judge, so nothing could pass.", f"A gate is {GRAMMAR}")
    check_rules(rules)
    findings = [] if accepted is None else accepted.findings
    known = {baseline.identity(one.gate, one.metric, one.scope): one for one in findings}
    found = []
    for rule in rules:
        evidence = gather(record, rule, comparison)
        evidence = evidence._replace(judged=[_beside(rule, one, known) for one in evidence.judged])
        standings = [_standing(rule, one, active, known) for one in evidence.judged]
        excused = [one for one in evidence.missing if any(covers_unmeasured(ignore, rule, one) for ignore in active)]
        left = evidence._replace(missing=tuple(one for one in evidence.missing if one not in excused))
        found.append(_Gate(rule, evidence, standings, excused, summed(rule, left, standings)))
    return found


def _standing(rule: Rule, one: Judged, active: Sequence[Ignore], known: _Known) -> Standing:
    if one.outcome != "fail":
        return one.outcome
    if any(covers(ignore, rule, one.measurement) for ignore in active):
        return "ignored"
    finding = _finding(rule, one, known)
    return "fail" if finding is None or baseline.excuse(finding, rule, one) is not None else "known"


def _beside(rule: Rule, one: Judged, known: _Known) -> Judged:
    """A failure that its accepted finding does not excuse says why."""
    finding = _finding(rule, one, known)
    why = baseline.excuse(finding, rule, one) if finding is not None and one.outcome == "fail" else None
    return one if why is None else one._replace(text=f"{one.text.removesuffix('.')}; {why}.")


def _finding(rule: Rule, one: Judged, known: _Known) -> Accepted | None:
    return known.get(baseline.identity(rule.id, one.measurement.metric, one.measurement.scope))


def _by_identity(gates: Sequence[_Gate]) -> dict[baseline.Identity, tuple[Rule, Judged]]:
    return {
        baseline.identity(gate.rule.id, one.measurement.metric, one.measurement.scope): (gate.rule, one)
        for gate in gates
        for one in gate.evidence.judged
    }


def _counted(result: GateResult) -> Outcome:
    """What a gate does to the verdict: a warning does not fail it."""
    return "pass" if result.outcome == "fail" and result.rule.severity == "warn" else result.outcome


def _of_members(record: ScanRecord, gates: Sequence[_Gate]) -> list[str]:
    """Who is not behind the gates: missing members that are ignored, and classes left out of overall numbers."""
    lines = [f"Not measured for {gate.rule.id}, and ignored: {named(gate.excused)}." for gate in gates if gate.excused]
    left_out: dict[tuple[str, ...], list[str]] = {}
    for gate in gates:
        if gate.evidence.judged and (classes := classes_left_out(record, gate.rule)):
            left_out.setdefault(tuple(classes), []).append(gate.rule.id)
    held = sum(bool(one.images) for one in record.data.classes)
    for absent, ids in left_out.items():
        shown = named([{"class": name} for name in absent])
        behind = ", ".join(ids[:_SHOWN]) + (f" and {len(ids) - _SHOWN:,} more gates" if len(ids) > _SHOWN else "")
        lines.append(f"No image of {len(absent):,} of {held:,} classes is behind {behind}: {shown}.")
    return lines


def _of_baseline(comparison: Comparison | None) -> list[str]:
    if comparison is None:
        return []
    sha = (comparison.before.model_sha256 or "")[:12]
    said = [
        f"The baseline run is of the same model (sha256 {sha}), so nothing can have dropped: "
        "gates on drops say nothing here."
    ]
    return [*(said if comparison.same_model else []), *comparison.notes]


def _strictly(became: Sequence[AcceptedResult]) -> list[str]:
    count = sum(one.state != "known" for one in became)
    if not count:
        return []
    what = "1 accepted finding is" if count == 1 else f"{count:,} accepted findings are"
    return [f"{what} fixed or stale, which fails a strict baseline: write it again."]
