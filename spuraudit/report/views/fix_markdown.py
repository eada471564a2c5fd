"""The short form of a fix for a pull request or a job summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.record.markdown import safe
from spuraudit.report.formats import count, many
from spuraudit.report.views.fix_cost import cost_view
from spuraudit.report.views.fix_headline import fix_headline
from spuraudit.report.views.fix_numbers import numbers_view
from spuraudit.report.views.fix_shortcuts import shortcuts_view

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spuraudit.record.fix import FixRecord

ROWS = 10
"""Rows of a table: a comment of any forge holds all of them together."""
SENTENCE = 600
"""Characters of a sentence: the longest name three measures with their intervals."""


def fix_markdown(record: FixRecord, *, title: str | None = None) -> str:
    """Verdict, sure losses and gains, what got worse, key numbers, shortcuts and cost, in this order."""
    shortcuts = shortcuts_view(record)
    head = fix_headline(record, shortcuts)
    shown = title or f"{record.method.name} on {record.model.name}"
    said = " ".join(safe(line, SENTENCE) for line in (head.statement, *head.others, head.shortcuts))
    parts = [f"## {safe(shown)}", "", f"**{safe(head.label)}.** {said}", ""]
    parts += [f"> **Worse:** {safe(line, SENTENCE)}\n" for line in head.worse[:ROWS]]
    if len(head.worse) > ROWS:
        parts.append(f"> {many(len(head.worse) - ROWS, 'more shortcut')} got worse.\n")
    parts += [f"> **The control depends on it less:** {safe(line, SENTENCE)}\n" for line in head.less[:ROWS]]
    numbers = numbers_view(record)
    rows = [
        (
            safe(row.name),
            *(f"{arm.value} ({arm.interval})" for arm in row.arms),
            f"{row.beyond} ({row.beyond_interval})",
            row.n,
        )
        for row in numbers.key
    ]
    parts += ["### Key numbers", "", *_table(("number", *numbers.arms, "fixed beyond control (95 %)", "n"), rows)]
    if shortcuts.rows:
        cells = [
            (
                row.label,
                safe(row.name),
                row.audit,
                *row.effects,
                f"{row.change} ({row.change_interval})",
                safe(row.credit),
            )
            for row in shortcuts.rows[:ROWS]
        ]
        head_row = ("", "shortcut", "audit", *numbers.arms, f"change against {shortcuts.against}", "credit")
        parts += ["### Shortcuts", "", *_table(head_row, cells)]
        if len(shortcuts.rows) > ROWS:
            parts.append(f"{many(len(shortcuts.rows) - ROWS, 'more shortcut')} in report.html.\n")
    cost = cost_view(record)
    lower = f"{count(cost.lower) if cost.lower else 'none'} {'are' if cost.lower > 1 else 'is'} lower for sure"
    said = f"Of {many(cost.compared, 'accuracy', 'accuracies')} compared with {cost.sides}, {lower}. {cost.ratio}"
    parts.append(f"{said.strip()}\n")
    return "\n".join(parts)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    names = list(head)
    lines = [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    return [*lines, *(f"| {' | '.join(cells)} |" for cells in rows), ""]
