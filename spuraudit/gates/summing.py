"""From the measurements that one rule matched to the rule's result."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Literal

from spuraudit.gates.judged import ROUNDING
from spuraudit.gates.members import ANY_FEATURE
from spuraudit.gates.members import named as members_named
from spuraudit.gates.rules import format_number
from spuraudit.record.verdict import GateResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.gates.judged import Evidence
    from spuraudit.record.scan import Scope
    from spuraudit.record.verdict import Outcome, Rule

#: How a measurement counts: 'ignored' and 'known' ones lie beyond the limit and do not fail.
Standing = Literal["not evaluated", "fail", "ignored", "known", "pass"]

_EXCUSED: dict[Standing, str] = {"ignored": "ignored", "known": "known"}


def summed(rule: Rule, evidence: Evidence, standings: Sequence[Standing]) -> GateResult:
    """The result of a rule; `standings` one per judged measurement. The worst measurement that decided is shown.

    A member of '*' that is missing, and that no ignore took out of `evidence.missing`, leaves the rule not evaluated.
    """
    if evidence.problem is not None:
        return GateResult(rule=rule, outcome="not evaluated", text=evidence.problem, matched=0)
    counts = Counter(standings)
    if evidence.missing:
        return GateResult(
            rule=rule,
            outcome="not evaluated",
            text=unmeasured(rule, evidence.missing, counts["fail"]),
            matched=len(standings),
            failed=counts["fail"],
            ignored=counts["ignored"],
            known=counts["known"],
        )
    outcome, deciding = _decided(rule, counts, len(standings))
    chosen = [one for one, standing in zip(evidence.judged, standings, strict=True) if standing == deciding]
    worst = min(chosen, key=lambda one: one.margin)
    text = _preface(rule, outcome, deciding, counts, len(standings)) + worst.text + _left_out(evidence)
    change = worst.change
    return GateResult(
        rule=rule,
        outcome=outcome,
        text=text,
        matched=len(standings),
        failed=counts["fail"],
        ignored=counts["ignored"],
        known=counts["known"],
        value=worst.number,
        ci=worst.ci,
        n=worst.n,
        scope=worst.measurement.scope,
        baseline=None if change is None else change.before,
        current=None if change is None else change.after,
        p=None if change is None else change.p,
    )


def unmeasured(rule: Rule, members: Sequence[Scope], failed: int) -> str:
    """Two or three sentences: who is missing, how many of the others fail, and the way out."""
    few = len(members) == 1
    said = (
        f"{rule.metric} was not measured for {members_named(members)}, of which the data has images: '*' means "
        f"{'it' if few else 'them'} too."
    )
    others = f" {failed:,} of those that were measured fail." if failed else ""
    first = members[0]
    keys = "".join(f", {key}: {json.dumps(str(value), ensure_ascii=False)}" for key, value in first.items())
    if first.get("feature") == ANY_FEATURE:
        keys = f", class: {json.dumps(str(first['class']), ensure_ascii=False)}"
    entry = f"{{gate: {json.dumps(rule.id, ensure_ascii=False)}{keys}, reason: ...}}"
    return f"{said}{others} Give {'it' if few else 'them'} what the audit needs, or say under ignores: - {entry}"


def _decided(rule: Rule, counts: Counter[Standing], matched: int) -> tuple[Outcome, Standing]:
    """The outcome, and the measurements that decided it.

    Known failures use up what `allow_fraction` allows, so that it is not granted twice; alone they never fail.
    """
    if counts["not evaluated"]:
        return "not evaluated", "not evaluated"
    if counts["fail"]:
        allowed = counts["fail"] + counts["known"] <= rule.allow_fraction * matched + ROUNDING
        return "pass" if allowed else "fail", "fail"
    if counts["ignored"] + counts["known"] < matched:
        return "pass", "pass"
    return "pass", "known" if counts["known"] else "ignored"


def _preface(rule: Rule, outcome: Outcome, deciding: Standing, counts: Counter[Standing], matched: int) -> str:
    excused = [
        f"{counts[one]:,} {'is' if counts[one] == 1 else 'are'} {word}" for one, word in _EXCUSED.items() if counts[one]
    ]
    if matched == 1:
        return f"{deciding.capitalize()}: " if deciding in _EXCUSED else ""
    if deciding == "not evaluated":
        return f"{counts[deciding]:,} of {matched:,} cannot be judged; one of them: "
    if deciding == "fail":
        allowed = f", which allow_fraction {format_number(rule.allow_fraction)} allows" if outcome == "pass" else ""
        return f"{', '.join([f'{counts[deciding]:,} of {matched:,} fail{allowed}', *excused])}; the worst: "
    if deciding == "pass":
        held = matched - counts["ignored"] - counts["known"]
        said = f"All {matched:,} hold" if not excused else f"{held:,} of {matched:,} hold"
        return f"{', '.join([said, *excused])}; the nearest to the limit: "
    return f"None of {matched:,} holds, {' and '.join(excused)}; the worst: "


def _left_out(evidence: Evidence) -> str:
    if not evidence.left_out:
        return ""
    what = (
        "One measurement of a core feature is"
        if evidence.left_out == 1
        else (f"{evidence.left_out:,} measurements of core features are")
    )
    return f" {what} left out: neither more nor less dependence on them is better."
