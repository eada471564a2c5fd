"""GitHub Actions: annotations at the gate's line, and the summary of a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.gates.ignores import describe
from spuraudit.gates.outputs.facts import STRICT, config_file, only_strict, standing
from spuraudit.gates.outputs.sections import (
    accepted_sections,
    finding_section,
    fitted,
    gate_sections,
    ignore_section,
    note_section,
    opening,
)
from spuraudit.record.markdown import one_line

if TYPE_CHECKING:
    from spuraudit.record.scan import ScanRecord
    from spuraudit.record.verdict import Verdict

MOST_ANNOTATIONS = 10
"""Of a level and step: GitHub drops the others without a word."""
LIMIT_SUMMARY = 1024 * 1024
"""Bytes: above, GitHub drops the whole summary of a step."""
MOST_SUMMARY = 900 * 1024
"""Ours: just below the limit a summary has been seen to vanish without a word."""
_LONGEST = 1000


def annotation_lines(verdict: Verdict) -> list[str]:
    """Workflow commands, one line each: an error per gate that failed or could not be evaluated, then warnings.

    Warnings are failed gates of severity warn and expired ignores. Where a level has more than ten, nine and a line
    that counts the rest.
    """
    kinds = [(standing(gate), gate) for gate in verdict.gates]
    errors = [
        _command("error", verdict, gate.rule.line, gate.rule.id, gate.text)
        for kind, gate in kinds
        if kind in ("fail", "not evaluated")
    ]
    if strict := only_strict(verdict):
        errors.append(_command("error", verdict, None, STRICT, strict))
    warnings = [
        _command("warning", verdict, gate.rule.line, gate.rule.id, gate.text) for kind, gate in kinds if kind == "warn"
    ]
    warnings += [
        _command("warning", verdict, one.ignore.line, "expired ignore", describe(one))
        for one in verdict.ignores
        if one.state == "expired"
    ]
    return _capped("error", verdict, errors) + _capped("warning", verdict, warnings)


def step_summary(verdict: Verdict, record: ScanRecord, most: int = MOST_SUMMARY) -> str:
    """The verdict as the summary of a step, at most `most` bytes of UTF-8.

    Suspected features make room first, then gates that hold, known findings and so on upwards; the verdict never does.
    """
    look, said, hold = gate_sections(verdict)
    fixed, stale, known = accepted_sections(verdict)
    rest = (ignore_section(verdict), stale, fixed, known, hold, finding_section(record.findings))
    return fitted(opening(verdict), (look, note_section(verdict), said, *rest), most, lambda text: len(text.encode()))


def annotation_unjudged(message: str, hint: str | None) -> str:
    """The workflow command where an error came in place of a verdict; it points at no line."""
    text = one_line(" ".join(filter(None, (message, hint))), _LONGEST)
    return f"::error title=spuraudit not evaluated::{_data(text)}"


def _capped(level: str, verdict: Verdict, commands: list[str]) -> list[str]:
    if len(commands) <= MOST_ANNOTATIONS:
        return commands
    shown = MOST_ANNOTATIONS - 1
    rest = f"{len(commands) - shown:,} more in the report."
    return [*commands[:shown], _command(level, verdict, None, "more", rest)]


def _command(level: str, verdict: Verdict, line: int | None, title: str, text: str) -> str:
    properties = {"file": config_file(verdict), "line": str(line or 1), "title": f"spuraudit {one_line(title, 200)}"}
    written = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{level} {written}::{_data(one_line(text, _LONGEST))}"


def _data(text: str) -> str:
    """Escaped as the runner reads it back; the percent sign first."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
