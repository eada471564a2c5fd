"""What every output says of a verdict: its headline, a gate's standing and numbers, and where the gate is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from spuraudit.gates import words
from spuraudit.gates.config import FILE_NAME
from spuraudit.gates.rules import WILDCARD, format_scope
from spuraudit.record.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spuraudit.record.scan import Finding, Scope
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


def headline(verdict: Verdict) -> str:
    """`FAILED: 1 of 3 gates failed; failures: 2 ignored.`"""
    total = len(verdict.gates)
    standings = [standing(one) for one in verdict.gates]
    failed, warned, unknown = (standings.count(kind) for kind in ("fail", "warn", "not evaluated"))
    parts = [f"{failed} of {total} gates failed"] if failed else []
    if unknown:
        parts.append(f"{unknown} of {total} gates could not be evaluated")
    if not parts and total > warned:
        parts.append(f"{total - warned} of {total} gates hold")
    if warned:
        parts.append(f"{warned} of {total} gates only warned")
    said = ", ".join(parts).replace("1 of 1 gates", "the gate").replace("gate hold", "gate holds")
    return f"{HEADLINES[verdict.outcome]}: {said}{_excused(verdict)}."


def _excused(verdict: Verdict) -> str:
    """`; failures: 2 ignored, 3 known; accepted findings that are fixed or stale: 1`, or nothing."""
    ignored = sum(one.ignored for one in verdict.gates)
    known = sum(one.known for one in verdict.gates)
    counts = ", ".join(f"{count:,} {name}" for count, name in ((ignored, "ignored"), (known, "known")) if count)
    over = sum(one.state != "known" for one in verdict.accepted)
    said = f"; failures: {counts}" if counts else ""
    return said + (f"; accepted findings that are fixed or stale: {over:,}" if over else "")


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
    """The ignores in use that can cover measurements of a gate."""
    rule = result.rule

    def covers(ignore: Ignore) -> bool:
        named = ignore.gate in (None, rule.id) and ignore.metric in (None, rule.metric)
        return named and all(_meets(rule.scope, key, asked) for key, asked in ignore.scope.items())

    return [one for one in verdict.ignores if one.state == "used" and covers(one.ignore)]


def _meets(scope: Scope, key: str, asked: str | float | int) -> bool:
    given = scope.get(key, WILDCARD)
    return WILDCARD in (given, asked) or str(given) == str(asked)


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


def one_line(text: str, most: int) -> str:
    """White space and control characters as single spaces, and at most `most` characters."""
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else " " for letter in text)
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def listed(names: Iterable[str], most: int) -> list[str]:
    """The first `most`, and how many are left out."""
    every = list(names)
    rest = len(every) - most
    return every[:most] + ([f"{rest:,} more"] if rest > 0 else [])
