"""Region swap: per feature, class and class pair; and why it can disagree with noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report import bounds
from spuraudit.report.charts.bars import Mark, dumbbell
from spuraudit.report.charts.colour import cividis, ink_on
from spuraudit.report.formats import NONE, count, interval, listing, many, percent, plain, points, pts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from markupsafe import Markup

    from spuraudit.record.scan import Finding, Measurement, ScanRecord, Scope
    from spuraudit.report.numbers import Numbers

MATRIX_CLASSES = 12


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
    """A gap with the colours of its cell; empty on the diagonal."""

    shown: str
    background: str
    ink: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """Gaps of one feature: rows are the images' classes, columns the donors'."""

    feature: str
    donors: list[str]
    rows: list[tuple[str, list[MatrixCell | None]]]


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
    found = {
        (finding.feature, finding.class_name): finding for finding in record.findings if finding.audit == "region_swap"
    }
    overall = _largest(numbers.shaped("swap_gap", "feature"))
    classes = _largest(numbers.shaped("swap_gap", "feature", "class"))
    pairs = _largest(numbers.shaped("swap_gap", "feature", "class", "donor_class"))
    if not (overall or classes or pairs):
        return None
    features = {str(item.scope["feature"]) for item in (*overall, *classes, *pairs)}
    names = [item.name for item in record.data.classes if any(row.scope["class"] == item.name for row in classes)]
    matrices = (
        [_matrix(feature, names, numbers) for feature in sorted(features)] if 2 < len(names) <= MATRIX_CLASSES else []
    )
    return SwapView(
        [_row(item, numbers, found) for item in overall],
        [_row(item, numbers, found) for item in classes[: bounds.ROWS]],
        [_row(item, numbers, found) for item in pairs[: bounds.ROWS]],
        matrices if pairs else [],
        len(features) > 1,
        [
            f"{many(len(rows) - bounds.ROWS, name)} with smaller gaps: see scan.json or the CSV."
            for rows, name in ((classes, "row"), (pairs, "class pair"))
            if len(rows) > bounds.ROWS
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


def _matrix(feature: str, names: list[str], numbers: Numbers) -> Matrix:
    rows: list[tuple[str, list[MatrixCell | None]]] = []
    for name in names:
        cells: list[MatrixCell | None] = []
        for donor in names:
            scope: Scope = {"feature": feature, "class": name, "donor_class": donor}
            value = _at(numbers, "swap_gap", scope)
            colour = cividis(value) if value is not None else ""
            cells.append(MatrixCell(pts(value, 0), colour, ink_on(colour)) if value is not None else None)
        if any(cells):
            rows.append((name, cells))
    return Matrix(feature, names, rows)


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
