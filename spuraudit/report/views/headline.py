"""The verdict in one sentence, the gates, and what a reader must not conclude."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.record.units import unit_of
from spuraudit.report.formats import NARROW, NONE, count, interval, many, percent, signed, value_of
from spuraudit.report.shown import suspects
from spuraudit.report.wording import AUDITS, short

if TYPE_CHECKING:
    from spuraudit.record.scan import ScanRecord, Scope
    from spuraudit.record.verdict import GateResult, IgnoreResult, Rule, Verdict

LABELS = {"pass": "Passed", "fail": "Failed", "not evaluated": "Not evaluated"}
TONES = {"pass": "pass", "fail": "fail", "not evaluated": "unknown"}
ACCEPTED = {
    "known": "still beyond the limit and not counted",
    "fixed": "within it now",
    "stale": "that no gate matches any more",
}
"""What became of an accepted finding."""


@dataclass(frozen=True, slots=True)
class GateRow:
    """A gate as the table shows it."""

    id: str
    tone: str
    label: str
    rule: str
    value: str
    interval: str
    n: str
    text: str


@dataclass(frozen=True, slots=True)
class Headline:
    """`tone`: pass, fail, unknown or open (no gates). `ignores`: gate and scope, reason, until, what it covers."""

    tone: str
    label: str
    verdict: str
    found: str
    cautions: list[str]
    gates: list[GateRow]
    ignores: list[tuple[str, str, str, str]]
    notes: list[str]


def headline(record: ScanRecord, verdict: Verdict | None) -> Headline:
    """What stands at the top of every output."""
    gates = verdict.gates if verdict is not None else []
    if verdict is None or not gates:
        tone, label, said = "open", "No gates", "No gates were set, so nothing was passed or failed."
    else:
        tone, label, said = TONES[verdict.outcome], LABELS[verdict.outcome], _judged(verdict)
    return Headline(
        tone,
        label,
        said,
        found(record),
        cautions(record),
        [_gate(gate) for gate in gates],
        [_ignore(result) for result in verdict.ignores] if verdict is not None else [],
        [*verdict.notes, *_accepted(verdict)] if verdict is not None else [],
    )


def _judged(verdict: Verdict) -> str:
    total = len(verdict.gates)
    gates = many(total, "gate")
    failed = sum(gate.outcome == "fail" and gate.rule.severity == "error" for gate in verdict.gates)
    warned = sum(gate.outcome == "fail" and gate.rule.severity == "warn" for gate in verdict.gates)
    unknown = sum(gate.outcome == "not evaluated" for gate in verdict.gates)
    warning = f", with {many(warned, 'warning')}" if warned else ""
    if verdict.outcome == "pass":
        passed = total - warned
        all_of = f"all {gates}" if not warned else f"{passed} of {gates}"
        return f"The model passes {'the only gate' if total == 1 and not warned else all_of}{warning}."
    if verdict.outcome == "fail":
        return f"The model fails {'the only gate' if total == 1 else f'{failed} of {gates}'}{warning}."
    rest = f", and {failed} failed" if failed else ""
    return f"The model could not be judged: {unknown} of {gates} had too little evidence{rest}."


def _ignore(result: IgnoreResult) -> tuple[str, str, str, str]:
    ignore = result.ignore
    what = ", ".join(part for part in (ignore.gate or "every gate", ignore.metric) if part)
    covers = {
        "used": f"covers {many(result.covered, 'number')}",
        "stale": "covers nothing any more: remove it",
        "expired": f"expired; it covered {many(result.covered, 'number')}",
    }[result.state]
    scope = f"{what}: {scope_text(ignore.scope)}" if ignore.scope else what
    return scope, ignore.reason, str(ignore.expires) if ignore.expires else "no end", covers


def _accepted(verdict: Verdict) -> list[str]:
    """What became of the findings that were accepted when the gates were introduced."""
    if not verdict.accepted:
        return []
    states = Counter[str](item.state for item in verdict.accepted)
    parts = [f"{states[state]} {text}" for state, text in ACCEPTED.items() if states[state]]
    return [f"Of {many(len(verdict.accepted), 'accepted finding')}: {', '.join(parts)}."]


def found(record: ScanRecord) -> str:
    """What the audit found, in one sentence."""
    groups = suspects(record)
    tested = len(record.findings)
    if groups:
        strongest = short(groups[0].lead)
        if len(groups) == 1:
            return f"The audit found one suspected spurious feature: {strongest}."
        return f"The audit found {len(groups)} suspected spurious features. The strongest is the {strongest}."
    if tested:
        if tested == 1:
            return "The audit tested one feature or region and does not suspect it."
        return f"The audit tested {count(tested)} features and regions and suspects none of them."
    return "No single feature or region was tested, so this run cannot name a spurious feature."


def cautions(record: ScanRecord) -> list[str]:
    """Sentences that keep a good result from being read as more than it is."""
    ran = {audit.name for audit in record.audits if audit.status == "run"}
    out: list[str] = []
    if "region_swap" not in ran and not any(finding.suspected for finding in record.findings):
        out.append(
            "Region swap was not run. Noise leaves colour and layout readable, so noise alone cannot show that a model "
            "does not rely on the background."
        )
    told = {"region_swap"} if out else set()
    skipped = [AUDITS[audit.name] for audit in record.audits if audit.status == "skipped" and audit.name not in told]
    if skipped:
        out.append(f"Not run: {', '.join(skipped)}. The reasons are under “What was not measured”.")
    return out


def scope_text(scope: Scope) -> str:
    """'class = monarch, sigma = 0.25'; 'all images' for the empty scope."""
    return ", ".join(f"{key.replace('_', ' ')} = {value}" for key, value in scope.items()) or "all images"


def _gate(result: GateResult) -> GateRow:
    rule = result.rule
    sign = "at least" if rule.op == ">=" else "at most"
    bound = {"point": "", "ci_low": " (lower end of the interval)", "ci_high": " (upper end of the interval)"}[
        rule.bound
    ]
    warned = result.outcome == "fail" and rule.severity == "warn"
    limit = f"{sign} {_limit(rule)}{bound}"
    metric = _judged_as(rule)
    told = f"got worse since the baseline by {limit}" if rule.of == "drop" else limit
    return GateRow(
        id=rule.id,
        tone="unknown" if warned else TONES[result.outcome],
        label="Warning" if warned else LABELS[result.outcome],
        rule=f"{rule.metric}, {scope_text(rule.scope)}: {told}",
        value=value_of(metric, result.value),
        interval=interval(metric, result.ci),
        n=NONE if result.n is None else str(result.n),
        text=_why(result),
    )


def _judged_as(rule: Rule) -> str:
    """A metric with the unit of what the limit is on: a drop of an accuracy is a difference."""
    return "drop" if rule.of == "drop" and unit_of(rule.metric) == "proportion" else rule.metric


def _limit(rule: Rule) -> str:
    """The limit as it was written, in the unit of the numbers that are judged."""
    unit = unit_of(_judged_as(rule))
    scale, name = {"proportion": (100, f"{NARROW}%"), "difference": (100, f"{NARROW}points")}.get(unit, (1, ""))
    return f"{signed(f'{rule.limit * scale:g}')}{name}"


def _why(result: GateResult) -> str:
    """What the row's numbers do not say: why nothing was decided, which of several measurements decided, exceptions."""
    if result.outcome == "not evaluated":
        return result.text
    rule = result.rule
    parts = [f"decided by {scope_text(result.scope)}, the worst of {result.matched}"] if result.matched > 1 else []
    if rule.of == "drop":
        parts.append(result.text)
    if rule.allow_fraction:
        parts.append(f"{percent(rule.allow_fraction)} of {result.matched} may lie beyond the limit, {result.failed} do")
    parts += [
        f"{many(number, 'number')} beyond the limit {why}"
        for number, why in ((result.ignored, "ignored"), (result.known, "accepted earlier"))
        if number
    ]
    return "; ".join(parts)
