"""The short form for a pull request or a job summary: verdict, gates, key numbers, first findings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.record.markdown import code, safe
from spuraudit.report.formats import many, q_value
from spuraudit.report.numbers import Numbers
from spuraudit.report.views.headline import headline
from spuraudit.report.views.key_numbers import key_groups
from spuraudit.report.views.provenance import command_line
from spuraudit.report.wording import AUDITS, effect, effect_interval, feature_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spuraudit.record.scan import ScanRecord
    from spuraudit.record.verdict import Verdict

MOST = 60_000
"""Characters: GitHub's documented limit of a comment is 65,536."""
ROWS = (20, 10, 5)
"""Rows of a table: as many as fit, of these."""
_COMMAND = 2000


def markdown_text(record: ScanRecord, verdict: Verdict | None, *, title: str | None = None) -> str:
    """Sections in order of weight; rows, then whole sections are left out, and that is said, to stay below MOST."""
    head = headline(record, verdict)
    shown = title or f"{record.model.name} on {record.data.name}"
    first = [
        f"<!-- spuraudit run={record.run.id} -->",
        f"## {safe(shown)}",
        "",
        f"**{head.label}.** {safe(head.verdict)} {safe(head.found)}",
        *[f"\n> {safe(caution)}" for caution in head.cautions],
    ]
    text = "\n".join(first) + "\n"
    dropped: list[str] = []
    for name, write in (("gates", _gates), ("key numbers", _numbers), ("findings", _findings), ("provenance", _made)):
        bodies = (write(record, verdict, rows) for rows in ROWS)
        body = next((body for body in bodies if len(text) + len(body) < MOST - 300), None)
        if body is None:
            dropped.append(name)
        else:
            text += body
    if dropped:
        text += f"\nLeft out because of the length limit: {', '.join(dropped)}. See report.html.\n"
    return text


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    names = list(head)
    lines = [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    lines += [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join(lines) + "\n"


def _more(total: int, rows: int, name: str) -> str:
    return f"\n{many(total - rows, f'more {name}')} in report.html.\n" if total > rows else ""


def _gates(record: ScanRecord, verdict: Verdict | None, rows: int) -> str:
    gates = headline(record, verdict).gates
    if not gates:
        return ""
    cells = [(row.label, safe(row.id), safe(row.rule), row.value, row.interval, row.n) for row in gates[:rows]]
    table = _table(("", "gate", "rule", "value", "95 % interval", "n"), cells)
    return "\n### Gates\n\n" + table + _more(len(gates), rows, "gate")


def _numbers(record: ScanRecord, _: Verdict | None, __: int) -> str:
    rows = [
        (f"{row.name} <sub>{safe(row.explains)}</sub>", row.value, row.interval, row.n)
        for group in key_groups(Numbers(record.measurements))
        for row in group.rows
    ]
    return "\n### Key numbers\n\n" + _table(("number", "value", "95 % interval", "n"), rows) if rows else ""


def _findings(record: ScanRecord, _: Verdict | None, rows: int) -> str:
    suspected = [finding for finding in record.findings if finding.suspected]
    if not suspected:
        return ""
    cells = [
        (
            safe(finding.id),
            safe(finding.class_name),
            safe(feature_name(finding) + (f", against {finding.target_class}" if finding.target_class else "")),
            AUDITS[finding.audit],
            f"{effect(finding)} ({effect_interval(finding)})",
            q_value(finding.q).replace("<", "&lt;"),
            str(finding.n),
        )
        for finding in suspected[:rows]
    ]
    table = _table(("", "class", "feature", "audit", "effect (95 % interval)", "q", "n"), cells)
    return "\n### Suspected spurious features\n\n" + table + _more(len(suspected), rows, "suspected feature")


def _made(record: ScanRecord, _: Verdict | None, __: int) -> str:
    sha = (record.model.sha256 or "unknown")[:12]
    typed = code(command_line(record), _COMMAND) if record.run.argv else "not started from a command line."
    return (
        f"\nModel sha256 {sha}, data {record.data.fingerprint[:12]}, run {record.run.id}, spuraudit "
        f"{safe(record.tool.version)}: {typed}\n"
    )
