"""The short form of a comparison for a pull request or a job summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.record.markdown import safe
from spuraudit.report.formats import many
from spuraudit.report.views.compare_classes import class_changes
from spuraudit.report.views.compare_facts import side_views
from spuraudit.report.views.compare_headline import compare_headline
from spuraudit.report.views.compare_limits import limits
from spuraudit.report.views.compare_numbers import compare_numbers
from spuraudit.report.views.compare_shortcuts import pair_shortcuts
from spuraudit.report.views.compare_words import default_title

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from spuraudit.report.views.compare_pair import Pair

ROWS = 10
"""Rows of a table: a comment of any forge holds all of them together."""


def comparison_markdown(pair: Pair, *, title: str | None = None) -> str:
    """Verdict, what got worse, which is which, key numbers, shortcuts, classes, what was not compared."""
    head = compare_headline(pair)
    parts = [
        f"<!-- spuraudit compare={pair.comparison.before.run_id}..{pair.comparison.after.run_id} -->",
        f"## {safe(title or default_title(pair.records))}",
        "",
        f"**{safe(head.label[:1].upper() + head.label[1:])}.** {safe(head.statement)}",
        "",
        *(f"> **Worse:** {safe(line)}\n" for line in head.worse[:ROWS]),
        *([f"> {many(len(head.worse) - ROWS, 'more loss', 'more losses')} on the page.\n"] * (len(head.worse) > ROWS)),
        *(f"> {safe(line)}\n" for line in head.cautions[:ROWS]),
        *_sides(pair),
        *_numbers(pair),
        *_shortcuts(pair),
        *_classes(pair),
        *_limits(pair),
    ]
    return "\n".join(parts) + "\n"


def _sides(pair: Pair) -> list[str]:
    return [
        f"- **{side.letter}** ({side.role}): {safe(side.name)}, {safe(side.arch)}, SHA-256 "
        f"{side.sha[:12] or 'unknown'}, run {side.run}, {side.date}"
        for side in side_views(pair)
    ] + [""]


def _numbers(pair: Pair) -> list[str]:
    a, b = pair.letters
    rows = [
        (
            safe(row.name),
            *(f"{cell.value} ({cell.interval})" for cell in row.cells),
            f"{row.change} ({row.change_interval})",
            safe(row.q),
            row.n,
            safe(row.word),
        )
        for row in compare_numbers(pair).key
    ]
    return _titled("Key numbers", ("number", a, b, "change (95 %)", "q", "n", ""), rows)


def _shortcuts(pair: Pair) -> list[str]:
    view = pair_shortcuts(pair.comparison)
    rows = [
        (
            row.label,
            safe(row.name),
            row.audit,
            *row.effects,
            f"{row.change} ({row.change_interval})",
            safe(row.q),
            row.n,
        )
        for row in view.rows
    ]
    return _titled("Shortcuts", ("", "shortcut", "audit", *pair.letters, "change (95 %)", "q", "n"), rows)


def _classes(pair: Pair) -> list[str]:
    view = class_changes(pair)
    if view is None:
        return []
    rows = [
        (safe(row.name), row.a, row.b, f"{row.change.text} ({row.interval})", *(one.text for one in row.others), row.n)
        for row in view.rows
    ]
    names = ("class", *(f"clean {letter}" for letter in pair.letters), "change, points (95 %)")
    return _titled("Classes that changed most", (*names, *(safe(name) for name in view.columns), "n"), rows)


def _limits(pair: Pair) -> list[str]:
    rows = [(safe(what), safe(why)) for what, why in limits(pair)]
    return _titled("Not compared", ("what", "why"), rows)


def _titled(title: str, head: Iterable[str], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A table of at most ROWS rows; nothing where there is no row."""
    if not rows:
        return []
    names = list(head)
    lines = [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    lines += [f"| {' | '.join(cells)} |" for cells in rows[:ROWS]]
    more = [f"{many(len(rows) - ROWS, 'more row')} on the page.", ""] if len(rows) > ROWS else []
    return [f"### {title}", "", *lines, "", *more]
