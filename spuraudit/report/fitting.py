"""Keeping a page within its size: what is given up, in order, and how that is said."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING

from spuraudit.errors import UsageError
from spuraudit.report import bounds
from spuraudit.report.formats import many

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from spuraudit.report.parts import Parts


@dataclass(frozen=True, slots=True)
class Fit:
    """What a page holds. side: longest side of a picture in pixels, None: as stored. cards: those with pictures.

    files: bytes of a file to download.
    """

    charts: bool = True
    side: int | None = None
    exhibits: int = bounds.EXHIBITS
    cards: int = bounds.CARDS
    record: int = bounds.RECORD_BYTES
    files: int = bounds.PACKED_BYTES

    @property
    def counterexamples(self) -> bool:
        """Whether cards also hold images whose answer stays right."""
        return self.exhibits >= bounds.EXHIBITS

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
            lines.append(f"{many(self.exhibits, 'image')} per card instead of {whole.exhibits}, no counterexamples.")
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
FILES = tuple(Fit(files=most) for most in (bounds.PACKED_BYTES, 1_500_000, 300_000, 30_000, 0))
"""Of a page without pictures and charts: the files that travel with it go, the largest first."""


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


def fitted(draw: Callable[[Fit], str], steps: Sequence[Fit], most: int, parts: Parts | None = None) -> str:
    """The first page that has at most `most` bytes with its `parts`. Raises UsageError with the smallest limit."""
    size = 0
    for step in steps:
        if parts is not None:
            parts.start()
        page = draw(step)
        size = len(page.encode()) + (parts.size if parts is not None else 0)
        if size <= most:
            return page
    raise UsageError(
        f"A report of at most {most / 1e6:g} MB is not possible: the smallest takes {size / 1e6:.2f} MB.",
        f"Use --max-report-mb {ceil(size / 1e4) / 100:g} or more, or max_report_mb in the config's `report:`.",
    )
