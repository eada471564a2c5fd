"""One row per class, the most doubtful first; groups where the dataset has them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report import bounds
from spuraudit.report.formats import NONE, count, interval, many, percent, plain, pts

if TYPE_CHECKING:
    from spuraudit.record.scan import Measurement, ScanRecord
    from spuraudit.report.numbers import Numbers


@dataclass(frozen=True, slots=True)
class ClassRow:
    """A class; `None` columns were not measured."""

    name: str
    images: str
    clean: str
    clean_interval: str
    core: str
    spurious: str
    rcs: str
    gap: str
    suspects: int


@dataclass(frozen=True, slots=True)
class ClassesView:
    """The table and which of its columns hold anything."""

    rows: list[ClassRow]
    groups: list[tuple[str, str, str, str]]
    has_noise: bool
    has_swap: bool
    left_out: list[str]


def classes_view(record: ScanRecord, numbers: Numbers) -> ClassesView:
    """Sorted by suspected features, then by RCS ascending, then by clean accuracy."""
    sigma = numbers.sigma()
    suspected = Counter(finding.class_name for finding in record.findings if finding.suspected)
    rows: list[tuple[tuple[float, float, float, int], ClassRow]] = []
    for item in record.data.classes:
        scope = {"class": item.name}
        clean = numbers.get("clean_accuracy", **scope)
        core, spurious, rcs = (
            (numbers.get(metric, **scope, sigma=sigma) if sigma is not None else None)
            for metric in ("core_accuracy", "spurious_accuracy", "rcs")
        )
        gap = numbers.get("swap_gap", **scope, feature="background")
        order = (-suspected[item.name], _or(rcs, 2.0), _or(clean, 2.0), item.index)
        row = ClassRow(
            item.name,
            count(item.images),
            percent(_value(clean)),
            interval("clean_accuracy", clean.ci if clean else None),
            percent(_value(core)),
            percent(_value(spurious)),
            plain(_value(rcs), 2) + ("*" if rcs is not None and "saturated" in rcs.flags else ""),
            pts(_value(gap)),
            suspected[item.name],
        )
        rows.append((order, row))
    ordered = [row for _, row in sorted(rows, key=lambda pair: pair[0])]
    over = len(ordered) - bounds.CLASS_ROWS
    return ClassesView(
        ordered[: bounds.CLASS_ROWS],
        _groups(numbers),
        sigma is not None,
        any(row.gap != NONE for row in ordered),
        [f"{many(over, 'class', 'classes')}: see scan.json or the CSV."] if over > 0 else [],
    )


def _value(item: Measurement | None) -> float | None:
    return item.value if item is not None else None


def _or(item: Measurement | None, otherwise: float) -> float:
    value = _value(item)
    return otherwise if value is None else value


def _groups(numbers: Numbers) -> list[tuple[str, str, str, str]]:
    found = sorted(numbers.shaped("clean_accuracy", "group"), key=lambda item: _or(item, 2.0))
    return [
        (str(item.scope["group"]), percent(item.value), interval("clean_accuracy", item.ci), count(item.n))
        for item in found[: bounds.ROWS]
    ]
