"""Ignores: what may lie beyond a limit for a stated reason, until a date.

They never cover a number that is no evidence. What was not measured at all they cover where they name it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.errors import UsageError, did_you_mean
from spuraudit.gates.matching import same_value
from spuraudit.gates.rules import WILDCARD, format_scope
from spuraudit.record.verdict import IgnoreResult

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from spuraudit.record.scan import Measurement, Scope
    from spuraudit.record.verdict import Ignore, Rule


def covers(ignore: Ignore, rule: Rule, measurement: Measurement) -> bool:
    """Whether an ignore is about this measurement under this rule, whatever the day.

    Every key that it names must be the measurement's; keys that it does not name may have any value.
    """
    return (
        ignore.gate in (None, rule.id)
        and ignore.metric in (None, measurement.metric)
        and all(key in measurement.scope and same_value(v, measurement.scope[key]) for key, v in ignore.scope.items())
    )


def covers_unmeasured(ignore: Ignore, rule: Rule, member: Scope) -> bool:
    """Whether an ignore excuses that a member of '*' was not measured: it must name it, and not say '*' in turn."""
    scope = {**rule.scope, **member}
    return (
        ignore.gate in (None, rule.id)
        and ignore.metric in (None, rule.metric)
        and any(ignore.scope.get(key, WILDCARD) != WILDCARD for key in member)
        and all(key in scope and same_value(value, scope[key]) for key, value in ignore.scope.items())
    )


def in_force(ignores: Sequence[Ignore], today: date | None) -> list[Ignore]:
    """Those that have not expired: the day named in `expires` is the last one. Raises UsageError without `today`."""
    if today is None and any(ignore.expires is not None for ignore in ignores):
        raise UsageError("An ignore expires on a day, and no day was given to judge on.", "Give judge() today's date.")
    return [one for one in ignores if one.expires is None or (today is not None and today <= one.expires)]


def ignore_results(
    ignores: Sequence[Ignore],
    active: Sequence[Ignore],
    beyond: Sequence[tuple[Rule, Measurement]],
    unmeasured: Sequence[tuple[Rule, Scope]],
) -> list[IgnoreResult]:
    """What became of each ignore; `beyond`: every measurement beyond a limit, `unmeasured`: every missing member."""
    results = []
    for ignore in ignores:
        of = [rule.id for rule, measurement in beyond if covers(ignore, rule, measurement)]
        of += [rule.id for rule, member in unmeasured if covers_unmeasured(ignore, rule, member)]
        state = "expired" if ignore not in active else "used" if of else "stale"
        results.append(IgnoreResult(ignore=ignore, state=state, covered=len(of), gates=list(dict.fromkeys(of))))
    return results


def unknown_gates(ignores: Sequence[Ignore], rules: Sequence[Rule]) -> list[str]:
    """A sentence per ignore that names a gate that is not judged."""
    known = [rule.id for rule in rules]
    return [
        f"The {subject(ignore)} names the gate {ignore.gate!r}, which is not judged. "
        f"{did_you_mean(ignore.gate, known)}".strip()
        for ignore in ignores
        if ignore.gate is not None and ignore.gate not in known
    ]


def subject(ignore: Ignore) -> str:
    """`ignore in line 12 (core_accuracy[class=crane])`."""
    where = "" if ignore.line is None else f" in line {ignore.line}"
    named = " ".join(filter(None, (ignore.gate, (ignore.metric or "") + format_scope(ignore.scope))))
    return f"ignore{where} ({named})"


def describe(result: IgnoreResult) -> str:
    """One sentence: what it covers and why, or that it covers nothing."""
    ignore = result.ignore
    failures = "1 failure" if result.covered == 1 else f"{result.covered:,} failures"
    until = "" if ignore.expires is None else f", until {ignore.expires.isoformat()}"
    said = {
        "used": f"covers {failures}{until}",
        "stale": "covers nothing and can be removed",
        "expired": f"expired on {ignore.expires} and covers nothing any more"
        + (f" ({failures} would be covered)" if result.covered else ""),
    }[result.state]
    return f"The {subject(ignore)} {said}: {ignore.reason}"
