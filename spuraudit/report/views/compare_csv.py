"""A comparison as a tidy table: RFC 4180 CSV, one row per change and per shortcut, raw numbers, empty where unknown."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from spuraudit.record.units import unit_of
from spuraudit.report.csv_table import SCOPE
from spuraudit.report.views.change_words import EFFECTS

if TYPE_CHECKING:
    from spuraudit.record.comparison import Change, Comparison, Interval, Shortcut

COLUMNS = (
    "run_a",
    "run_b",
    "model_a",
    "model_b",
    "model_sha256_a",
    "model_sha256_b",
    "data",
    "data_fingerprint",
    "kind",
    "metric",
    "definition",
    "unit",
    *SCOPE,
    "a",
    "a_ci_low",
    "a_ci_high",
    "b",
    "b_ci_low",
    "b_ci_high",
    "change",
    "ci_low",
    "ci_high",
    "ci_method",
    "p",
    "q",
    "n",
    "direction",
    "worst_a",
    "worst_b",
    "state",
    "suspected_a",
    "suspected_b",
    "reason",
)


def comparison_csv(comparison: Comparison) -> str:
    """Header and rows, CRLF line ends. `kind`: change or shortcut, whose metric is the effect of its audit.

    Values are raw: proportions in 0..1, RCS in -1..1, changes as B minus A.
    """
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\r\n")
    writer.writeheader()
    common = {
        "run_a": comparison.before.run_id,
        "run_b": comparison.after.run_id,
        "model_a": comparison.before.model,
        "model_b": comparison.after.model,
        "model_sha256_a": comparison.before.model_sha256,
        "model_sha256_b": comparison.after.model_sha256,
        "data": comparison.data,
        "data_fingerprint": comparison.data_fingerprint,
    }
    writer.writerows({**common, **_change(one)} for one in comparison.changes)
    writer.writerows({**common, **_shortcut(one)} for one in comparison.shortcuts)
    return out.getvalue()


def _change(one: Change) -> dict[str, Any]:
    worst = one.worst or (None, None)
    return {
        **{key: one.scope.get(key) for key in SCOPE},
        **_numbers(one),
        "kind": "change",
        "metric": one.metric,
        "definition": one.definition,
        "unit": unit_of(one.metric),
        "ci_method": one.ci_method,
        "direction": one.direction,
        "worst_a": worst[0],
        "worst_b": worst[1],
        "reason": one.reason,
    }


def _shortcut(one: Shortcut) -> dict[str, Any]:
    metric = EFFECTS[one.audit]
    cell = one.cell.model_dump() if one.cell is not None else {}
    number = cell.pop("number", None)
    return {
        **cell,
        **_numbers(one),
        "cell": number,
        "kind": "shortcut",
        "metric": metric,
        "unit": unit_of(metric),
        "class": one.class_name,
        "target_class": one.target_class,
        "feature": one.feature,
        "state": one.state,
        "suspected_a": _yes(one.suspected[0]),
        "suspected_b": _yes(one.suspected[1]),
    }


def _numbers(one: Change | Shortcut) -> dict[str, Any]:
    return {
        **_side("a", one.before, one.before_ci),
        **_side("b", one.after, one.after_ci),
        "change": one.change,
        "ci_low": one.ci[0] if one.ci else None,
        "ci_high": one.ci[1] if one.ci else None,
        "p": one.p,
        "q": one.q,
        "n": one.n,
    }


def _side(name: str, value: float | None, ci: Interval | None) -> dict[str, float | None]:
    low, high = ci or (None, None)
    return {name: value, f"{name}_ci_low": low, f"{name}_ci_high": high}


def _yes(value: bool) -> str:
    return "true" if value else "false"
