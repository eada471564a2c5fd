"""Markdown in sections of rows that make room in a fixed order."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from spuraudit.gates.outputs.facts import (
    HEADLINES,
    accepted_what,
    count,
    effect,
    effect_interval,
    excused,
    headline,
    ignored_what,
    interval,
    limit,
    standing,
    value,
)
from spuraudit.record.markdown import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spuraudit.record.scan import Finding
    from spuraudit.record.verdict import AcceptedResult, GateResult, Verdict

_SENTENCE = 1000
_CUTS = (200, 50, 20, 10, 5, 0)
_LABELS = {"pass": "pass", "warn": "warning", "fail": "**FAIL**", "not evaluated": "**NOT EVALUATED**"}


class Section(NamedTuple):
    """A heading, what stands before its rows (the head of a table), and rows, each of which can be left out."""

    title: str
    rows: list[str]
    what: str
    """What a row is, for `12 more gates`."""
    head: str = ""

    def text(self, rows: int) -> str:
        """With at most so many rows, and a word about the rest."""
        if not self.rows:
            return ""
        shown = f"{self.head}{''.join(self.rows[:rows])}" if rows else ""
        rest = len(self.rows) - rows
        more = f"\n{rest:,} more {self.what} in the report.\n" if rest > 0 else ""
        return f"\n### {self.title}\n\n{shown}{more}"


def fitted(first: str, sections: Sequence[Section], most: int, size: Callable[[str], int]) -> str:
    """`first`, then the sections, with rows left out from the last section forwards until it all fits in `most`.

    `first` is never cut. The last section has lost all its rows before the one in front of it loses any.
    """
    rows = [len(section.rows) for section in sections]
    texts = [section.text(count) for section, count in zip(sections, rows, strict=True)]
    total = size(first) + sum(map(size, texts))
    for place in reversed(range(len(sections))):
        for cut in _CUTS:
            if total <= most:
                return first + "".join(texts)
            shorter = sections[place].text(min(cut, rows[place]))
            total += size(shorter) - size(texts[place])
            texts[place] = shorter
    return first + "".join(texts)


def opening(verdict: Verdict) -> str:
    """Headline, and what was judged: model, data, run, baseline."""
    word, _, said = headline(verdict).partition(": ")
    model = f"Model {safe(verdict.model)}" if verdict.model else "Model unknown"
    parts = [model + (f" (sha256 {verdict.model_sha256[:12]})" if verdict.model_sha256 else "")]
    parts += [f"data {safe(verdict.data)}"] if verdict.data else []
    parts += [f"run {safe(verdict.run_id)}"]
    parts += [f"baseline run {safe(verdict.baseline)}"] if verdict.baseline else []
    return f"## spuraudit: {word}\n\n**{said}**\n\n{', '.join(parts)}.\n"


def unjudged(message: str, hint: str | None) -> str:
    """What stands in place of a verdict where there is none."""
    said = f"## spuraudit: {HEADLINES['not evaluated']}\n\n**{safe(message, _SENTENCE)}**\n"
    return f"{said}\n{safe(hint, _SENTENCE)}\n" if hint else said


def gate_sections(verdict: Verdict) -> tuple[Section, Section, Section]:
    """Gates that need a look; these, the inconclusive and the excused ones in words; gates that pass."""
    look = [gate for gate in verdict.gates if standing(gate) != "pass"]
    hold = [gate for gate in verdict.gates if standing(gate) == "pass"]
    doubtful = [gate for gate in hold if "inconclusive" in gate.text or excused(gate)]
    said = [f"- {safe(gate.rule.id)}: {safe(gate.text, _SENTENCE)}\n" for gate in (*look, *doubtful)]
    columns = ("", "gate", "value", "95 % interval", "limit", "n", "waived")
    return (
        Section("Gates to look at", [_gate_row(gate) for gate in look], "gates", _head(*columns)),
        Section("In words", said, "explanations"),
        Section("Gates that pass", [_gate_row(gate) for gate in hold], "gates", _head(*columns)),
    )


def _gate_row(gate: GateResult) -> str:
    waived = [f"{gate.ignored:,} ignored"] if gate.ignored else []
    waived += [f"{gate.known:,} known"] if gate.known else []
    numbers = (value(gate), interval(gate), limit(gate).replace("<", "&lt;").replace(">", "&gt;"), count(gate))
    return _row(_LABELS[standing(gate)], safe(gate.rule.id), *numbers, ", ".join(waived) or "-")


def ignore_section(verdict: Verdict) -> Section:
    """Ignores with reason and state; those that cover nothing come first."""
    ranked = sorted(verdict.ignores, key=lambda one: one.state == "used")
    rows = [
        _row(
            one.state if one.state == "used" else f"**{one.state}**",
            safe(ignored_what(one.ignore)),
            safe(one.ignore.reason),
            "-" if one.ignore.expires is None else one.ignore.expires.isoformat(),
            f"{one.covered:,}",
        )
        for one in ranked
    ]
    return Section("Ignored", rows, "ignores", _head("", "what", "reason", "until", "covers"))


def accepted_sections(verdict: Verdict) -> tuple[Section, Section, Section]:
    """Accepted findings that hold now, that match nothing any more, and that are still there."""

    def rows(state: str) -> list[str]:
        return [_accepted_row(one) for one in verdict.accepted if one.state == state]

    return (
        Section("Fixed: accepted findings that hold now", rows("fixed"), "fixed findings"),
        Section("Stale: accepted findings that nothing matches", rows("stale"), "stale findings"),
        Section("Known: accepted findings that are still there", rows("known"), "known findings"),
    )


def _accepted_row(result: AcceptedResult) -> str:
    return f"- {safe(accepted_what(result.accepted))}\n"


def note_section(verdict: Verdict) -> Section:
    """What a reader must know."""
    return Section("Notes", [f"- {safe(note, _SENTENCE)}\n" for note in verdict.notes], "notes")


def finding_section(findings: Sequence[Finding]) -> Section:
    """The suspected spurious features of the record, most serious first."""
    rows = [
        _row(
            safe(finding.id),
            safe(finding.class_name),
            safe(finding.feature + (f", against {finding.target_class}" if finding.target_class else "")),
            finding.audit.replace("_", " "),
            f"{effect(finding)} ({effect_interval(finding)})",
            f"{finding.q:.2g}",
            f"{finding.n:,}",
        )
        for finding in findings
        if finding.suspected
    ]
    head = _head("", "class", "feature", "audit", "effect (95 % interval)", "q", "n")
    return Section("Suspected spurious features", rows, "suspected features", head)


def _head(*names: str) -> str:
    return _row(*names) + f"|{' --- |' * len(names)}\n"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"
