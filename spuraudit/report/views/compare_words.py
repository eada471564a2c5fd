"""How the page of a comparison names its two runs and writes what is sure and what is not."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from spuraudit.report.formats import NONE
from spuraudit.report.wording import AUDITS

if TYPE_CHECKING:
    from spuraudit.record.comparison import Comparison
    from spuraudit.record.scan import ScanRecord

WORDS = {"better": "better", "worse": "worse", "unclear": "no clear change"}
"""What the direction of a change is called."""
_REASON = re.compile(r"^(before|after): ")
_ONE_SIDED = re.compile(r"^(\w+) ran (before|after) only: ")


def q_text(q: float | None) -> str:
    """'< 0.001', '0.012', or a dash where there was no test."""
    return NONE if q is None else "< 0.001" if q < 0.001 else f"{q:.3f}"


def in_letters(text: str, letters: tuple[str, str] = ("A", "B")) -> str:
    """A reason or note of a comparison, which knows a run before and one after, in the page's letters."""
    sides = {"before": letters[0], "after": letters[1]}
    text = _REASON.sub(lambda found: f"{sides[found[1]]}: ", text)
    return _ONE_SIDED.sub(
        lambda found: f"{AUDITS.get(found[1], found[1])} ran for {sides[found[2]]} only: ",
        text,
    )


def notes(comparison: Comparison, letters: tuple[str, str] = ("A", "B")) -> list[str]:
    """The notes of a comparison in the page's letters."""
    return [in_letters(note, letters) for note in comparison.notes]


def names(records: tuple[ScanRecord, ScanRecord]) -> tuple[str, str]:
    """Names that tell the two apart: of the models; with their hash, or the run, where these are alike."""
    plain = [record.model.name for record in records]
    hashed = [f"{record.model.name} {(record.model.sha256 or 'no hash')[:8]}" for record in records]
    run = [f"{record.model.name}, run {record.run.id[:8]}" for record in records]
    found = next((each for each in (plain, hashed, run) if each[0] != each[1]), run)
    return found[0], found[1]


def default_title(records: tuple[ScanRecord, ScanRecord]) -> str:
    """'fixed.pt against birds.pt'."""
    one, other = names(records)
    return f"{other} against {one}"


def letter(place: int) -> str:
    """A, B, ... Z, AA, AB, ...: what a page calls its runs, counted from 0."""
    head, last = divmod(place, 26)
    return (letter(head - 1) if head else "") + chr(ord("A") + last)
