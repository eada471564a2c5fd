"""Limits on the unusual side of their metric: they make sense in a band, and alone they reward the shortcut."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.gates.rules import format_number
from spuraudit.record.directions import GOOD_LOW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.record.scan import ScanRecord
    from spuraudit.record.verdict import Rule

_GOOD_HIGH = frozenset({"rcs", "clean_accuracy", "core_accuracy", "worst_group_accuracy", "mean_group_accuracy"})


def doubts(record: ScanRecord, rules: Sequence[Rule]) -> list[str]:
    """A sentence for each limit that a better number fails; a core feature may well have to matter."""
    core = {feature.name for feature in record.data.features if feature.role == "core"}
    lines = []
    for rule in rules:
        if rule.of == "drop" or rule.scope.get("feature") in core:
            continue
        ends = f"{'at least' if rule.op == '>=' else 'at most'} {format_number(rule.limit)}"
        if rule.op == ">=" and rule.limit > 0 and rule.metric in GOOD_LOW:
            lines.append(f"The gate {rule.id} asks for {rule.metric} of {ends}, and less of it is better.")
        elif rule.op == "<=" and rule.metric.removesuffix("_images") in _GOOD_HIGH:
            lines.append(f"The gate {rule.id} asks for {rule.metric} of {ends}, and more of it is better.")
    return lines
