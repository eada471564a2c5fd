"""Which measurements a rule speaks about, and why it speaks about none."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from spuraudit.errors import did_you_mean
from spuraudit.gates.rules import WILDCARD, format_scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spuraudit.record.scan import Measurement, ScanRecord, Scope
    from spuraudit.record.verdict import Rule

_SHOWN = 8
# A cell's place and the grid's size follow from the cell: they may be named in a rule but need not be.
_GRID_KEYS = {"row", "column", "rows", "columns"}


def matches(rule: Rule, measurement: Measurement) -> bool:
    """Whether the rule is about this measurement.

    Same metric, and the same scope: a rule without `class` never means a class. The one exception is sigma: a rule that
    does not name it means every strength of the noise.
    """
    return (
        rule.metric == measurement.metric
        and _same_keys(rule.scope, measurement.scope)
        and all(same_value(value, measurement.scope[key]) for key, value in rule.scope.items())
    )


def nothing_matched(record: ScanRecord, rule: Rule) -> str:
    """One sentence: why `rule` matched no measurement of `record`, and what it could have named."""
    of_metric = [measurement.scope for measurement in record.measurements if measurement.metric == rule.metric]
    if not of_metric:
        return _unknown_metric(record, rule.metric)
    comparable = [scope for scope in of_metric if _same_keys(rule.scope, scope)]
    if not comparable:
        asked = "over the whole dataset" if not rule.scope else f"by {_join(rule.scope)}"
        return f"{rule.metric} was not measured {asked}; it was measured {_spans(of_metric)}."
    for key, value in rule.scope.items():
        present = _distinct(scope[key] for scope in comparable)
        if not any(same_value(value, other) for other in present):
            near = did_you_mean(str(value), present)
            listed = f"; the record has {_listing(present)}."
            return f"{rule.metric} was not measured for {key} {value!r}{listed}" + (f" {near}" if near else "")
    return f"No measurement of {rule.metric} has the combination {format_scope(rule.scope)}."


def _same_keys(rule_scope: Scope, scope: Scope) -> bool:
    optional = {"sigma", "rows", "columns"} | (_GRID_KEYS if "cell" in scope else set())
    named, measured = set(rule_scope), set(scope)
    return named <= measured and measured - named <= optional


def same_value(asked: str | float | int, measured: str | float | int) -> bool:
    """Whether a value of a rule's scope means the one of a measurement; '*' means every one."""
    if asked == WILDCARD:
        return True
    if isinstance(measured, str) or isinstance(asked, str):
        return str(asked) == str(measured)
    return math.isclose(asked, measured, rel_tol=1e-9)


def _unknown_metric(record: ScanRecord, metric: str) -> str:
    known = _distinct(measurement.metric for measurement in record.measurements)
    if not known:
        text = "The record has no measurements"
    elif near := did_you_mean(metric, known):
        return f"The record has no {metric!r}. {near}"
    else:
        text = f"The record has no {metric!r}; it has {_listing(known)}"
    skipped = [f"{audit.name} ({audit.reason})" for audit in record.audits if audit.status == "skipped"]
    return text + (f"; skipped audits: {'; '.join(skipped)}." if skipped else ".")


def _spans(scopes: Sequence[Scope]) -> str:
    """`over the whole dataset, by class, by class and feature`."""
    spans = []
    for scope in scopes:
        keys = [key for key in scope if key != "sigma" and key not in _GRID_KEYS]
        spans.append(f"by {_join(keys)}" if keys else "over the whole dataset")
    return ", ".join(_distinct(spans))


def _join(words: Iterable[str]) -> str:
    return " and ".join(words)


def _distinct(values: Iterable[str | float | int]) -> list[str]:
    return list(dict.fromkeys(str(value) for value in values))


def _listing(values: Sequence[str]) -> str:
    rest = len(values) - _SHOWN
    return ", ".join(values[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
