"""Keeping a page within its size: what is given up, in order, and how that is said."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING

from spuraudit.errors import UsageError
from spuraudit.report import bounds
from spuraudit.report.formats import many

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Fit:
    """What a page holds. side: longest side of a picture in pixels, None: as stored. cards: those with pictures."""

    charts: bool = True
    side: int | None = None
    exhibits: int = bounds.EXHIBITS
    cards: int = bounds.CARDS
    record: int = bounds.RECORD_BYTES

    def said(self, whole: Fit, most: int) -> list[str]:
        """What was given up of `whole` for a page of at most `most` bytes, a sentence each; none for the same fit."""
        lines = []
        if self.side is not None:
            lines.append(f"Pictures are at most {self.side} pixels wide and high.")
        if self.cards == 0 < whole.cards:
            lines.append("No pictures; their descriptions stay.")
        elif self.cards < whole.cards:
            lines.append(f"Only the first {self.cards} cards have pictures.")
        if self.exhibits < whole.exhibits:
            lines.append(f"{many(self.exhibits, 'image')} per card instead of {whole.exhibits}.")
        if self.charts != whole.charts:
            lines.append("Charts do not answer to the pointer; the drawn ones hold the same numbers.")
        if self.record < whole.record:
            lines.append("The embedded record is cut down.")
        return [f"To stay within {most / 1e6:g} MB (--max-report-mb):", *lines] if lines else []


_SIDES = (None, 160, 112)
_FEWER = (
    Fit(side=112, exhibits=1),
    Fit(side=112, exhibits=1, cards=10),
    Fit(side=96, exhibits=1, cards=4),
    Fit(exhibits=1, cards=0),
)
_RECORDS = (300_000, 30_000)


def ladder(*, charts: bool, pictures: bool) -> list[Fit]:
    """The whole page first, the smallest last.

    Pictures become thumbnails, then the charts that answer to the pointer go (4.8 MB) and pictures have their size
    back, then pictures become few; the record is cut last.
    """
    sides = _SIDES if pictures else _SIDES[:1]
    steps = [Fit(side=side) for side in sides] if charts else []
    steps += [Fit(charts=False, side=side) for side in sides]
    steps += [replace(step, charts=False) for step in _FEWER] if pictures else []
    return steps + [replace(steps[-1], record=record) for record in _RECORDS]


def fitted(draw: Callable[[Fit], str], steps: list[Fit], most: int) -> str:
    """The first page of at most `most` bytes. Raises UsageError with the smallest limit that works."""
    size = 0
    for step in steps:
        page = draw(step)
        size = len(page.encode())
        if size <= most:
            return page
    raise UsageError(
        f"A report of at most {most / 1e6:g} MB is not possible: the smallest takes {size / 1e6:.2f} MB.",
        f"Use --max-report-mb {ceil(size / 1e4) / 100:g} or more.",
    )
