"""The comment on a pull request: verdict, gates, what was waived, notes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spuraudit.gates.outputs.sections import (
    accepted_sections,
    fitted,
    gate_sections,
    ignore_section,
    note_section,
    opening,
    unjudged,
)

if TYPE_CHECKING:
    from spuraudit.record.verdict import Verdict

MARKER = "<!-- spuraudit:verdict -->"
"""Line 1, so that a bot finds its own comment and updates it."""
MOST = 60_000
"""Characters: GitHub's documented limit of a comment is 65,536."""


def comment(verdict: Verdict) -> str:
    """The verdict as a comment of at most 60,000 characters; rows make room from the end, the verdict never does."""
    look, said, hold = gate_sections(verdict)
    fixed, stale, known = accepted_sections(verdict)
    sections = (look, note_section(verdict), said, ignore_section(verdict), stale, fixed, known, hold)
    return fitted(f"{MARKER}\n{opening(verdict)}", sections, MOST, len)


def comment_unjudged(message: str, hint: str | None) -> str:
    """The comment where an error came in place of a verdict."""
    return f"{MARKER}\n{unjudged(message, hint)}"
