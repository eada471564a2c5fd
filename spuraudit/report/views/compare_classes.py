"""Per class: how accuracies, RCS and the swap gap changed, the largest change first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report import bounds
from spuraudit.report.formats import NONE, count, many, value_of
from spuraudit.report.views.change_words import capital, change_interval, change_of, metric_name
from spuraudit.report.views.compare_words import q_text

if TYPE_CHECKING:
    from spuraudit.record.comparison import Change
    from spuraudit.record.scan import Scope
    from spuraudit.report.views.compare_pair import Pair


@dataclass(frozen=True, slots=True)
class ChangeCell:
    """A change as shown; `tone` is better or worse where its interval excludes 0, else empty."""

    text: str
    tone: str


@dataclass(frozen=True, slots=True)
class ChangedClass:
    """One class; `others` in the order of the view's `columns`."""

    name: str
    a: str
    b: str
    change: ChangeCell
    interval: str
    q: str
    others: list[ChangeCell]
    n: str


@dataclass(frozen=True, slots=True)
class ClassChanges:
    """`columns`: what changed beside clean accuracy, with its unit."""

    columns: list[str]
    rows: list[ChangedClass]
    left_out: list[str]


def class_changes(pair: Pair) -> ClassChanges | None:
    """None where no number was compared by class."""
    shown = [("clean_accuracy", {}), *_beside(pair)]
    found = []
    for one in pair.records[0].data.classes:
        changes = [pair.changes.get(metric, {**scope, "class": one.name}) for metric, scope in shown]
        if any(change is not None for change in changes):
            found.append((one.name, changes))
    if not found:
        return None
    found.sort(key=lambda pair: -_largest(pair[1]))
    more = len(found) - bounds.CLASS_ROWS
    return ClassChanges(
        [_column(metric, scope) for metric, scope in shown[1:]],
        [_row(name, changes) for name, changes in found[: bounds.CLASS_ROWS]],
        [f"{many(more, 'class', 'classes')} that changed less: see the CSV."] if more > 0 else [],
    )


def _beside(pair: Pair) -> list[tuple[str, Scope]]:
    sigma, swapped = pair.changes.sigma, pair.changes.swapped
    noised = [(metric, sigma) for metric in ("core_accuracy", "rcs")] if sigma else []
    gaps: list[tuple[str, Scope]] = [("swap_gap", {"feature": swapped[0]})] if swapped else []
    return noised + gaps


def _column(metric: str, scope: Scope) -> str:
    unit = "" if metric == "rcs" else ", points"
    return f"{capital(metric_name(metric, scope))}{unit}"


def _largest(changes: list[Change | None]) -> float:
    """RCS and proportions both have a range of length 2: their changes can stand in one order."""
    return max((abs(one.change) for one in changes if one is not None and one.change is not None), default=0.0)


def _row(name: str, changes: list[Change | None]) -> ChangedClass:
    clean, *others = changes
    known = [one.n for one in changes if one is not None]
    return ChangedClass(
        name=name,
        a=NONE if clean is None else value_of(clean.metric, clean.before),
        b=NONE if clean is None else value_of(clean.metric, clean.after),
        change=_cell(clean),
        interval=NONE if clean is None else change_interval(clean.metric, clean.ci),
        q=q_text(None if clean is None else clean.q),
        others=[_cell(one) for one in others],
        n=count(max(known)),
    )


def _cell(change: Change | None) -> ChangeCell:
    if change is None:
        return ChangeCell(NONE, "")
    tone = change.direction if change.direction in ("better", "worse") else ""
    return ChangeCell(change_of(change.metric, change.change, unit=False), tone or "")
