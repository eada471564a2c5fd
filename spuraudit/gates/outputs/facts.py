"""What every output says of a verdict: its headline, a gate's standing and numbers, and where the gate is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from spuraudit.gates import words
from spuraudit.gates.config import FILE_NAME
from spuraudit.gates.rules import format_scope
from spuraudit.record.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spuraudit.record.scan import Finding
    from spuraudit.record.units import Unit
    from spuraudit.record.verdict import Accepted, AcceptedResult, GateResult, Ignore, IgnoreResult, Outcome, Verdict

Standing = Literal["pass", "warn", "fail", "not evaluated"]
"""The outcome of a gate, where the failure of one that only warns is no failure."""
STRICT = "accepted findings"
"""The name of what `only_strict` says, where a gate's id would stand."""

_LISTED = 20
HEADLINES: dict[Outcome, str] = {"pass": "PASSED", "fail": "FAILED", "not evaluated": "NOT EVALUATED"}


def standing(result: GateResult) -> Standing:
    """`warn` for a failed gate of severity warn, else the outcome."""
    return "warn" if result.outcome == "fail" and result.rule.severity == "warn" else result.outcome


def excused(result: GateResult) -> bool:
    """Whether a gate passes although no measurement is within its limit: its failures are ignored or known."""
    beyond = result.failed + result.ignored + result.known
    return result.outcome == "pass" and result.ignored + result.known > 0 and beyond >= result.matched


def headline(verdict: Verdict) -> str:
    """`FAILED: 1 of 3 gates failed; failures: 2 ignored.`"""
    total = len(verdict.gates)
    if total == 1 and excused(verdict.gates[0]):
        return f"{HEADLINES[verdict.outcome]}: 1 gate; {_exceptions(verdict)}{_over(verdict)}."
    standings = [standing(one) for one in verdict.gates]
    failed, warned, unknown = (standings.count(kind) for kind in ("fail", "warn", "not evaluated"))
    spared = sum(map(excused, verdict.gates))
    parts = [f"{failed} of {total} gates failed"] if failed else []
    if unknown:
        parts.append(f"{unknown} of {total} gates could not be evaluated")
    judged = not parts
    if judged and total > warned + spared:
        parts.append(f"{total - warned - spared} of {total} gates hold")
    if warned:
        parts.append(f"{warned} of {total} gates only warned")
    if judged and spared:
        how = "does not hold and passes by exception" if spared == 1 else "do not hold and pass by exception"
        parts.append(f"{spared} of {total} gates {how}")
    said = ", ".join(parts).replace("1 of 1 gates", "the gate").replace("gate hold", "gate holds")
    counts = _failures(verdict)
    return f"{HEADLINES[verdict.outcome]}: {said}{f'; failures: {counts}' if counts else ''}{_over(verdict)}."


def _exceptions(verdict: Verdict) -> str:
    """`its failure is ignored until 2026-12-31`, `its failures: 2 ignored, 1 known`; of a verdict of one gate."""
    (gate,) = verdict.gates
    if gate.matched != 1:
        return f"its failures: {_failures(verdict)}"
    if gate.known:
        return "its failure is known"
    until = [one.ignore.expires for one in ignores_of(verdict, gate)]
    last = "" if not until or None in until else f" until {max(day for day in until if day is not None)}"
    return f"its failure is ignored{last}"


def _failures(verdict: Verdict) -> str:
    """`2 ignored, 3 known`, or nothing."""
    ignored = sum(one.ignored for one in verdict.gates)
    known = sum(one.known for one in verdict.gates)
    return ", ".join(f"{count:,} {name}" for count, name in ((ignored, "ignored"), (known, "known")) if count)


def _over(verdict: Verdict) -> str:
    """`; accepted findings that are fixed or stale: 1`, or nothing."""
    over = sum(one.state != "known" for one in verdict.accepted)
    return f"; accepted findings that are fixed or stale: {over:,}" if over else ""


def only_strict(verdict: Verdict) -> str | None:
    """What failed the verdict where no gate did: accepted findings that are fixed or stale, judged strictly."""
    if verdict.outcome != "fail" or any(standing(one) == "fail" for one in verdict.gates):
        return None
    over = [accepted_what(one.accepted) for one in verdict.accepted if one.state != "known"]
    shown = "; ".join(listed(over, _LISTED))
    return f"Accepted findings that are fixed or stale fail a strict baseline; write it again: {shown}."


def config_file(verdict: Verdict) -> str:
    """The file that a gate points at; gates of the command line alone point at the usual one."""
    return verdict.config or FILE_NAME


def value(result: GateResult) -> str:
    """`70.0 %`, or `-` where there is none."""
    return "-" if result.value is None else words.show(result.value, words.unit_of_rule(result.rule))


def interval(result: GateResult) -> str:
    """`60.0 to 80.0 %`, or `-` where there is none."""
    return "-" if result.ci is None else words.show_interval(result.ci, words.unit_of_rule(result.rule))


def limit(result: GateResult) -> str:
    """`ci_low >= 80 %`, `drop <= 2 points`."""
    rule = result.rule
    asked: list[str] = [rule.bound] if rule.bound != "point" else []
    asked += ["drop"] if rule.of == "drop" else []
    return " ".join([*asked, rule.op, words.show_limit(rule.limit, words.unit_of_rule(result.rule))])


def count(result: GateResult) -> str:
    """Images behind the number, or `-`."""
    return "-" if result.n is None else f"{result.n:,}"


def numbers(result: GateResult) -> list[tuple[str, str]]:
    """Name and text of every number of a gate, those it has."""
    own = unit_of(result.rule.metric)
    known = [
        ("value", value(result)),
        ("95 % interval", interval(result)),
        ("limit", limit(result)),
        ("n", count(result)),
        ("baseline", "-" if result.baseline is None else words.show(result.baseline, own)),
        ("current", "-" if result.current is None else words.show(result.current, own)),
        ("p", "-" if result.p is None else f"{result.p:.3g}"),
        ("measurements", f"{result.matched:,}"),
        ("beyond the limit", f"{result.failed:,}"),
        ("ignored", f"{result.ignored:,}" if result.ignored else "-"),
        ("known", f"{result.known:,}" if result.known else "-"),
    ]
    return [(name, text) for name, text in known if text != "-"]


def ignores_of(verdict: Verdict, result: GateResult) -> list[IgnoreResult]:
    """The ignores in use that cover failures of a gate."""
    return [one for one in verdict.ignores if one.state == "used" and result.rule.id in one.gates]


def known_of(verdict: Verdict, result: GateResult) -> list[AcceptedResult]:
    """The accepted findings of a gate that still lie beyond its limit."""
    return [one for one in verdict.accepted if one.state == "known" and one.accepted.gate == result.rule.id]


def ignored_what(ignore: Ignore) -> str:
    """`feature_drop[class=monarch] of gate no-drop`; `every gate` where it names nothing."""
    what = f"{ignore.metric or ''}{format_scope(ignore.scope)}"
    gate = f"gate {ignore.gate}" if ignore.gate else ""
    return " of ".join(part for part in (what, gate) if part) or "every gate"


def accepted_what(accepted: Accepted) -> str:
    """`feature_drop[class=monarch] of gate no-drop`."""
    return f"{accepted.metric}{format_scope(accepted.scope)} of gate {accepted.gate}"


def effect(finding: Finding) -> str:
    """`41.2 points` of accuracy, or `0.738` of certainty."""
    return words.show(finding.effect, _effect_unit(finding))


def effect_interval(finding: Finding) -> str:
    """The 95 % interval of the effect."""
    return words.show_interval(finding.effect_ci, _effect_unit(finding))


def _effect_unit(finding: Finding) -> Unit:
    return "probability_difference" if finding.audit == "patch_swap" else "difference"


def listed(names: Iterable[str], most: int) -> list[str]:
    """The first `most`, and how many are left out."""
    every = list(names)
    rest = len(every) - most
    return every[:most] + ([f"{rest:,} more"] if rest > 0 else [])
