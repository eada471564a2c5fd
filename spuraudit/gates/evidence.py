"""What each measurement that a rule matches comes to: within its limit, beyond it, or no evidence.

And which members of '*' have no measurement at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.gates.drops import judge_drops
from spuraudit.gates.judged import Evidence
from spuraudit.gates.matching import matches, nothing_matched
from spuraudit.gates.members import missing
from spuraudit.gates.values import judge_value

if TYPE_CHECKING:
    from spuraudit.record.comparison import Comparison
    from spuraudit.record.scan import ScanRecord
    from spuraudit.record.verdict import Rule


def gather(record: ScanRecord, rule: Rule, comparison: Comparison | None) -> Evidence:
    """Judge every measurement of `record` that `rule` is about; `comparison`: with the baseline run."""
    if record.data.images == 0:
        return Evidence([], "The record has no images.")
    matched = [measurement for measurement in record.measurements if matches(rule, measurement)]
    if not matched:
        return Evidence([], nothing_matched(record, rule))
    unmeasured = tuple(missing(record, rule, matched))
    if rule.of == "value":
        return Evidence([judge_value(rule, measurement) for measurement in matched], missing=unmeasured)
    if comparison is None:
        return Evidence([], no_baseline(record))
    return judge_drops(rule, matched, comparison)._replace(missing=unmeasured)


def no_baseline(record: ScanRecord) -> str:
    """One sentence: there is nothing to measure a drop from, and the commands that make it."""
    return (
        "There is no baseline run to measure a drop from. Make one with the same data and options: spuraudit scan "
        f"OLD_MODEL --data {record.data.source} -o runs/baseline; then judge with --baseline runs/baseline."
    )
