"""Region swap: per feature, class and class pair; and why it can disagree with noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report import bounds
from spuraudit.report.charts.bars import Mark, dumbbell
from spuraudit.report.charts.colour import heat_class
from spuraudit.report.formats import NONE, count, interval, listing, many, percent, plain, points, pts
from spuraudit.report.shown import shown_cards
from spuraudit.report.views.suspect_card import PanelView, panel_view

if TYPE_CHECKING:
    from collections.abc import Iterable

    from markupsafe import Markup

    from spuraudit.record.scan import Exhibit, Finding, Measurement, ScanRecord, Scope
    from spuraudit.report.fitting import Fit
    from spuraudit.report.numbers import Numbers
    from spuraudit.report.pictures import Pictures

FLAT = 0.1
"""Matrices whose gaps all lie below are folded: most of them are one colour."""
COMPOSITE_SIDE = 112
"""Pixels of a composite beside the class pairs."""


Pair = tuple[str, str, str]
"""Region, class of the images, class of the donors."""


@dataclass(frozen=True, slots=True)
class SwapRow:
    """One class (or one class pair) under region swap; differences in points."""

    feature: str
    class_name: str
    donor: str
    same: str
    other: str
    gap: str
    interval: str
    pull: str
    n: str
    q: str
    bar: Markup | None


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """A gap with the class of its colours; `pair`: region, the images' class, the donors'."""

    pair: Pair
    shown: str
    colour: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """Gaps of one feature: rows are the images' classes, columns the donors'.

    `partial`: classes were left out. `flat`: no gap reaches FLAT; `largest` in points.
    """

    feature: str
    largest: str
    flat: bool
    partial: bool
    donors: list[str]
    rows: list[tuple[str, list[MatrixCell | None]]]


@dataclass(frozen=True, slots=True)
class Composite:
    """An image of a class with the region of a donor of its own class, and with that of another class's."""

    id: str
    class_name: str
    donor: str
    region: str
    card: str
    panels: list[PanelView]


@dataclass(frozen=True, slots=True)
class Composites:
    """The shown ones, and the id of that of each class pair, for the matrices."""

    shown: list[Composite]
    links: dict[Pair, str]


@dataclass(frozen=True, slots=True)
class SwapView:
    """The section; `overall` one row per feature."""

    overall: list[SwapRow]
    classes: list[SwapRow]
    pairs: list[SwapRow]
    matrices: list[Matrix]
    several_features: bool
    left_out: list[str]


def swap_view(record: ScanRecord, numbers: Numbers) -> SwapView | None:
    """None where region swap left no numbers."""
    tested = {
        (finding.feature, finding.class_name): finding for finding in record.findings if finding.audit == "region_swap"
    }
    overall = _largest(numbers.shaped("swap_gap", "feature"))
    classes = _largest(numbers.shaped("swap_gap", "feature", "class"))
    pairs = _largest(numbers.shaped("swap_gap", "feature", "class", "donor_class"))
    if not (overall or classes or pairs):
        return None
    features = {str(item.scope["feature"]) for item in (*overall, *classes, *pairs)}
    matrices = _matrices(pairs, record, numbers)
    return SwapView(
        [_row(item, numbers, tested) for item in overall],
        [_row(item, numbers, tested) for item in classes[: bounds.ROWS]],
        [_row(item, numbers, tested) for item in pairs[: bounds.ROWS]],
        matrices[: bounds.MATRICES],
        len(features) > 1,
        [
            f"{many(len(rows) - most, name, several)} with smaller gaps: see scan.json or the CSV."
            for rows, most, name, several in (
                (matrices, bounds.MATRICES, "matrix", "matrices"),
                (classes, bounds.ROWS, "row", "rows"),
                (pairs, bounds.ROWS, "class pair", "class pairs"),
            )
            if len(rows) > most
        ],
    )


def _largest(items: Iterable[Measurement]) -> list[Measurement]:
    return sorted(items, key=lambda item: -(item.value if item.value is not None else -2.0))


def _at(numbers: Numbers, metric: str, scope: Scope) -> float | None:
    found = numbers.get(metric, **scope)
    return found.value if found is not None else None


def _row(gap: Measurement, numbers: Numbers, found: dict[tuple[str, str], Finding]) -> SwapRow:
    scope = gap.scope
    feature, name = str(scope["feature"]), str(scope.get("class", ""))
    whole = {key: value for key, value in scope.items() if key != "donor_class"}
    same = _at(numbers, "swap_same_accuracy", scope)
    # The control has no donor class: a pair is compared with the class's own same-class accuracy.
    same = same if same is not None else _at(numbers, "swap_same_accuracy", whole)
    other = _at(numbers, "swap_other_accuracy", scope)
    finding = found.get((feature, name)) if "donor_class" not in scope else None
    bar = None
    if same is not None and other is not None:
        label = f"{name or 'All classes'}: same class {percent(same)}, other class {percent(other)}."
        bar = dumbbell(
            Mark("same", same, "", "control", "ring"), Mark("other", other, "", "spurious", "diamond"), label
        )
    return SwapRow(
        feature,
        name,
        str(scope.get("donor_class", "")),
        percent(same),
        percent(other),
        pts(gap.value),
        interval("swap_gap", gap.ci),
        pts(_at(numbers, "swap_pull", scope)),
        count(gap.n),
        (f"{finding.q:.3f}" if finding.q >= 0.001 else "< 0.001") if finding else NONE,
        bar,
    )


def _matrices(pairs: list[Measurement], record: ScanRecord, numbers: Numbers) -> list[Matrix]:
    """One per feature, that with the largest gap first."""
    by_feature: dict[str, list[Scope]] = {}
    for item in pairs:
        if item.value is not None:
            by_feature.setdefault(str(item.scope["feature"]), []).append(item.scope)
    order = {item.name: item.index for item in record.data.classes}
    made = [_matrix(feature, gaps, order, numbers) for feature, gaps in by_feature.items()]
    return [matrix for matrix in made if matrix is not None]


def _matrix(feature: str, gaps: list[Scope], order: dict[str, int], numbers: Numbers) -> Matrix | None:
    """The classes that lose most and the donors that take most, in the data's order; None below three of either.

    gaps: scopes of the class pairs, the largest gap first.
    """
    losing = list(dict.fromkeys(str(scope["class"]) for scope in gaps))
    chosen = set(losing[: bounds.MATRIX])
    taking = list(dict.fromkeys(str(scope["donor_class"]) for scope in gaps if scope["class"] in chosen))
    if len(losing) < 3 or len(taking) < 3:
        return None
    names = sorted(chosen, key=lambda name: (order.get(name, len(order)), name))
    donors = sorted(taking[: bounds.MATRIX], key=lambda name: (order.get(name, len(order)), name))
    rows = [(name, [_cell(feature, name, donor, numbers) for donor in donors]) for name in names]
    largest = _at(numbers, "swap_gap", gaps[0]) or 0.0
    return Matrix(
        feature, points(largest), largest < FLAT, len(losing) > len(names) or len(taking) > len(donors), donors, rows
    )


def _cell(feature: str, name: str, donor: str, numbers: Numbers) -> MatrixCell | None:
    value = _at(numbers, "swap_gap", {"feature": feature, "class": name, "donor_class": donor})
    if value is None:
        return None
    return MatrixCell((feature, name, donor), pts(value, 0), heat_class(value))


def composites(record: ScanRecord, pictures: Pictures, fit: Fit) -> Composites:
    """One image per class pair that the cards of region swap show, small: the cards show them large."""
    side = min(fit.side or COMPOSITE_SIDE, COMPOSITE_SIDE)
    made: dict[Pair, Composite] = {}
    for lead, exhibit in _one_of_each_card_first(record, fit):
        panels = [panel for panel in exhibit.panels if panel.kind in ("image", "same", "other")]
        donor = next((panel.donor_class for panel in panels if panel.donor_class and panel.kind == "other"), "")
        pair = (lead.feature, lead.class_name, donor)
        if pair in made or len(made) == bounds.COMPOSITES:
            continue
        views = [panel_view(panel, pictures, side) for panel in panels]
        if views and all(view.source for view in views):
            made[pair] = Composite(f"pair-{len(made) + 1}", lead.class_name, donor, lead.feature, lead.id, views)
    return Composites(list(made.values()), {pair: composite.id for pair, composite in made.items() if pair[2]})


def _one_of_each_card_first(record: ScanRecord, fit: Fit) -> list[tuple[Finding, Exhibit]]:
    cards = [card for card in shown_cards(record)[: fit.cards] if card.lead.audit == "region_swap"]
    return [
        (card.lead, card.exhibits[place])
        for place in range(bounds.EXHIBITS)
        for card in cards
        if place < len(card.exhibits)
    ]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Noise says the model is fine, region swap says it is not: the numbers of both."""

    rcs: str
    core: str
    spurious: str
    sigma: str
    classes: str
    gap: str
    same: str
    other: str
    worst: str


def disagreement(record: ScanRecord, numbers: Numbers) -> Disagreement | None:
    """Where RCS is above 0 while region swap suspects the background; else None."""
    sigma = numbers.sigma()
    suspected = [
        finding
        for finding in record.findings
        if finding.suspected and finding.audit == "region_swap" and finding.feature == "background"
    ]
    rcs = numbers.get("rcs", sigma=sigma) if sigma is not None else None
    if sigma is None or rcs is None or rcs.value is None or rcs.value <= 0 or not suspected:
        return None
    level: Scope = {"sigma": sigma}
    overall: Scope = {"feature": "background"}
    worst = max(suspected, key=lambda finding: finding.effect)
    gap = _at(numbers, "swap_gap", overall)
    return Disagreement(
        rcs=plain(rcs.value, 2),
        core=percent(_at(numbers, "core_accuracy", level)),
        spurious=percent(_at(numbers, "spurious_accuracy", level)),
        sigma=f"{sigma:g}",
        classes=listing([finding.class_name for finding in suspected]),
        gap=points(gap if gap is not None else worst.effect),
        same=percent(worst.numbers.get("same")),
        other=percent(worst.numbers.get("other")),
        worst=worst.class_name,
    )
