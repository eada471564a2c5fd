"""Rows of numbers of a comparison: A, B, and the paired change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.record.units import lowest
from spuraudit.report.charts.svg import el, marker
from spuraudit.report.formats import count, interval, value_of
from spuraudit.report.views.arms import LOOKS, ArmCell, ArmMark, arm_bar
from spuraudit.report.views.change_words import EXPLAINS, capital, change_interval, change_of, metric_name
from spuraudit.report.views.compare_words import WORDS, in_letters, q_text

if TYPE_CHECKING:
    from markupsafe import Markup

    from spuraudit.record.comparison import Change
    from spuraudit.record.scan import Scope
    from spuraudit.report.views.compare_pair import Changes, Pair

_ARMS = ("before", "fixed")
"""The looks of A and B, of those that a fix gives its arms."""
_MEANS = {**EXPLAINS, "swap_pull": "extra share given the class the region came from, 0 is best"}


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """One number of both runs; `tone` is better, worse, unclear or empty."""

    name: str
    explains: str
    cells: tuple[ArmCell, ArmCell]
    change: str
    change_interval: str
    q: str
    n: str
    tone: str
    word: str
    bar: Markup | None


@dataclass(frozen=True, slots=True)
class CompareNumbers:
    """`key`: of all images; `groups`: clean accuracy per group, the lowest of A first."""

    key: list[ChangeRow]
    groups: list[ChangeRow]


def compare_numbers(pair: Pair) -> CompareNumbers:
    """The numbers a reader looks for first, and the groups where the dataset has them."""
    found = [pair.changes.get(metric, scope) for metric, scope in key_scopes(pair.changes)]
    groups = sorted(pair.changes.shaped("clean_accuracy", "group"), key=lambda one: one.before or 0.0)
    return CompareNumbers(
        [change_row(one, pair.letters) for one in found if one is not None],
        [change_row(one, pair.letters) for one in groups],
    )


def key_scopes(changes: Changes) -> list[tuple[str, Scope]]:
    """Metric and scope of the key numbers, in the order of the page; noise at the level that stands in front."""
    plain: list[tuple[str, Scope]] = [
        (name, {}) for name in ("clean_accuracy", "mean_group_accuracy", "worst_group_accuracy")
    ]
    sigma = changes.sigma
    noised = [(name, sigma) for name in ("core_accuracy", "spurious_accuracy", "rcs")] if sigma else []
    swaps: list[tuple[str, Scope]] = [
        (name, {"feature": feature})
        for feature in changes.swapped
        for name in ("swap_gap", "swap_other_accuracy", "swap_pull")
    ]
    return plain + noised + swaps


def row_name(metric: str, scope: Scope) -> str:
    """Of a row: 'Swap gap of background'; of a group its own name."""
    return str(scope["group"]) if set(scope) == {"group"} else capital(metric_name(metric, scope))


def explains(metric: str, scope: Scope) -> str:
    """A few words under the name of a number."""
    return "" if set(scope) == {"group"} else _MEANS.get(metric, "")


def sides(change: Change) -> tuple[ArmCell, ArmCell]:
    """Both runs' numbers as shown, with their own intervals."""
    groups = [f"group {name}" for name in change.worst] if change.worst is not None else ["", ""]
    pairs = ((change.before, change.before_ci), (change.after, change.after_ci))
    one, other = (
        ArmCell(value_of(change.metric, value), interval(change.metric, ci), note)
        for (value, ci), note in zip(pairs, groups, strict=True)
    )
    return one, other


def change_row(change: Change, letters: tuple[str, str] = ("A", "B")) -> ChangeRow:
    """A change as a row of a table."""
    metric, name = change.metric, row_name(change.metric, change.scope)
    return ChangeRow(
        name=name,
        explains=explains(metric, change.scope),
        cells=sides(change),
        change=change_of(metric, change.change),
        change_interval=change_interval(metric, change.ci),
        q=q_text(change.q),
        n=count(change.n),
        tone=change.direction or "",
        word=WORDS.get(change.direction or "", in_letters(change.reason or "", letters)),
        bar=pair_bar(change, name, letters),
    )


def pair_bar(change: Change, name: str, letters: tuple[str, str]) -> Markup | None:
    """Both numbers on the metric's whole range."""
    values = zip(_ARMS, letters, (change.before, change.after), (change.before_ci, change.after_ci), strict=True)
    known = [(arm, own, value, ci) for arm, own, value, ci in values if value is not None]
    if not known:
        return None
    said = ", ".join(f"{own} {value_of(change.metric, value)}" for _, own, value, _ in known)
    marks = [ArmMark(arm, value, ci) for arm, _, value, ci in known]
    return arm_bar(marks, float(lowest(change.metric)), 1.0, f"{name}: {said}.")


def sign(side: int) -> Markup:
    """The sign of A (0) or B (1) in every drawing."""
    shape, tone = LOOKS[_ARMS[side]]
    drawn = marker(shape, 7, 7, tone, 5)
    return el("svg", drawn, viewBox="0 0 14 14", width=14, height=14, aria_hidden="true", class_="sign")
