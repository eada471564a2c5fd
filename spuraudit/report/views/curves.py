"""The curves of single source images under a sweep: what the paper of patch swap shows (Hagos et al. 2022, figure 3).

A mean over source images hides an image whose lowest cell is another; its own curve does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report import bounds
from spuraudit.report.charts.curve import Curve, curve_chart
from spuraudit.report.formats import count, many, plain

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from markupsafe import Markup

    from spuraudit.record.scan import Measurement, PatchCurve, ScanRecord

Pair = tuple[str, str]
"""(source class, target class)."""


@dataclass(frozen=True, slots=True)
class CurveView:
    """One source image, drawn."""

    image: str
    reading: str
    chart: Markup


def curves_by_pair(record: ScanRecord) -> dict[Pair, list[PatchCurve]]:
    """The record's curves in its order. Empty for records written before curves were kept."""
    found: dict[Pair, list[PatchCurve]] = {}
    for curve in record.curves:
        found.setdefault((curve.class_name, curve.target_class), []).append(curve)
    return found


def drawn_curves(curves: Sequence[PatchCurve]) -> list[PatchCurve]:
    """Those of a pair that are drawn: the first ones that have an asked cell."""
    asked = [curve for curve in curves if any(value is not None for value in curve.certainty)]
    return asked[: bounds.CURVES]


def curve_view(curve: PatchCurve) -> CurveView:
    """The chart of one image and its reading in a few words."""
    lowest = _reading(curve.argmin, curve.certainty, curve.unperturbed)
    plain_lowest = _reading(curve.plain_argmin, curve.plain_certainty, curve.plain_unperturbed)
    reading = f"cell {lowest}"
    if curve.plain_argmin != curve.argmin:
        reading += f"; without dropout cell {plain_lowest}"
    if curve.settled is False:
        reading += "; not settled"
    label = (
        f"Certainty over cells, {curve.image}, {curve.class_name} with cells of {curve.target_class}: lowest at cell "
        f"{lowest}; without dropout lowest at cell {plain_lowest}."
    )
    chart = curve_chart(
        Curve(
            columns=curve.columns,
            level=curve.unperturbed,
            values=curve.certainty,
            plain=curve.plain_certainty,
            marked=curve.argmin,
            plain_marked=curve.plain_argmin,
        ),
        label,
    )
    return CurveView(curve.image, reading, chart)


def agreement_sentence(curves: Sequence[PatchCurve], measured: Measurement | None, sources: int) -> str | None:
    """Whether dropout changed the answer."""
    share = _share([curve.argmin == curve.plain_argmin for curve in curves], measured, sources)
    return share and f"Without dropout, the lowest cell is the same in {share}."


def settled_sentence(curves: Sequence[PatchCurve], measured: Measurement | None, sources: int) -> str | None:
    """How often an adaptive search told the lowest cell from all that were left; None for full sweeps."""
    share = _share([curve.settled for curve in curves if curve.settled is not None], measured, sources)
    return share and f"The adaptive search settled the lowest cell in {share}."


def _share(seen: Sequence[bool], measured: Measurement | None, sources: int) -> str | None:
    """'11 of 12 source images': of all sources where that was measured, else of those with a curve."""
    if measured is not None and measured.value is not None:
        part, total, first = round(measured.value * measured.n), measured.n, ""
    elif seen:
        part, total, first = sum(seen), len(seen), "the first " if len(seen) < sources else ""
    else:
        return None
    return f"{count(part)} of {first}{many(total, 'source image')}"


def curve_notes(curves: Iterable[PatchCurve]) -> list[str]:
    """What a reader must know of the drawn curves: gaps, and cells with fewer targets behind them."""
    gaps, fewest, most = False, None, 0
    uneven = False
    for curve in curves:
        gaps = gaps or None in curve.certainty
        asked = [
            number
            for number, value in zip(curve.targets, curve.certainty, strict=False)
            if value is not None and number > 0
        ]
        if asked and min(asked) < max(asked):
            uneven = True
            fewest = min(asked) if fewest is None else min(fewest, min(asked))
            most = max(most, max(asked))
    notes = []
    if gaps:
        notes.append("A gap in a line is a cell that was not asked.")
    if uneven:
        notes.append(
            "Cells dropped early by the adaptive search are means over fewer target images "
            f"({fewest} to {most} per cell); the lowest cell is one of those left at the end."
        )
    return notes


def not_drawn(total: int, drawn: int) -> list[str]:
    """Curves that are in the record and not on the page."""
    rest = total - drawn
    return [f"{many(rest, 'curve')} of single source images not drawn: see curves in scan.json."] if rest else []


def _reading(cell: int, values: Sequence[float | None], level: float) -> str:
    value = values[cell - 1] if 1 <= cell <= len(values) else None
    return f"{cell}, {plain(value, 2)} instead of {plain(level, 2)}"
