"""The verdict of a comparison in plain sentences: what B relies on less or more, and what became of accuracy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report.formats import many, points
from spuraudit.report.views.change_words import (
    EFFECTS,
    capital,
    change_interval,
    change_of,
    metric_name,
    shortcut_name,
)
from spuraudit.report.views.compare_shortcuts import in_words, surely_better, surely_worse
from spuraudit.report.views.compare_words import names, notes
from spuraudit.report.wording import AUDITS

if TYPE_CHECKING:
    from spuraudit.record.comparison import Change, Shortcut
    from spuraudit.report.views.compare_pair import Pair

_TONES = {"better": "pass", "worse": "fail", "mixed": "unknown", "same": "open"}


@dataclass(frozen=True, slots=True)
class CompareHeadline:
    """`tone`: pass, fail, unknown or open, as everywhere; `worse`: one sentence per loss."""

    tone: str
    label: str
    statement: str
    worse: list[str]
    cautions: list[str]


def compare_headline(pair: Pair) -> CompareHeadline:
    """Better or worse is what is sure: an interval without 0, and q of at most 0.05 for a shortcut."""
    numbers = [one for one in deciding(pair) if one.direction in ("better", "worse")]
    shortcuts = pair.comparison.shortcuts
    worse = surely_worse(shortcuts)
    lost = [one for one in numbers if one.direction == "worse"]
    gained = len(lost) < len(numbers) or bool(surely_better(shortcuts))
    outcome = ("mixed" if gained else "worse") if worse or lost else "better" if gained else "same"
    b = pair.letters[1]
    label = {
        "better": f"{b} is better",
        "worse": f"{b} is worse",
        "mixed": f"{b} is better in some ways and worse in others",
        "same": "no clear difference",
    }[outcome]
    lines = [_lost(one) for one in lost] + [_worse(one) for one in worse]
    return CompareHeadline(_TONES[outcome], label, statement(pair), lines, _cautions(pair))


def deciding(pair: Pair) -> list[Change]:
    """The few numbers that decide beside the shortcuts: clean and worst-group accuracy, RCS, swap gaps."""
    wanted = [("clean_accuracy", {}), ("worst_group_accuracy", {}), ("rcs", pair.changes.sigma)]
    found = [pair.changes.get(metric, scope) for metric, scope in wanted]
    gaps = [pair.changes.get("swap_gap", {"feature": feature}) for feature in pair.changes.swapped]
    return [one for one in (*found, *gaps) if one is not None]


def statement(pair: Pair) -> str:
    """'B (new.pt) relies less on background of landbird; clean accuracy fell by 3.2 points (...).'"""
    accuracy = _accuracy(pair)
    return f"{_reliance(pair)}{'; ' if accuracy else ''}{accuracy}."


def _reliance(pair: Pair) -> str:
    who = f"{pair.letters[1]} ({names(pair.records)[1]})"
    tested = pair.comparison.shortcuts
    less, more = in_words(surely_better(tested)), in_words(surely_worse(tested))
    if less and more:
        return f"{who} relies less on {less}, but more on {more}"
    if less or more:
        return f"{who} relies {'less' if less else 'more'} on {less or more}"
    return _overall(pair, who)


def _overall(pair: Pair, who: str) -> str:
    """Where no single shortcut changed for sure: the numbers over all classes."""
    gaps = [pair.changes.get("swap_gap", {"feature": feature}) for feature in pair.changes.swapped]
    for gap in gaps:
        if gap is not None and gap.direction in ("better", "worse"):
            verb = "less" if gap.direction == "better" else "more"
            return f"{who} relies {verb} on {gap.scope['feature']}, over all classes"
    rcs = pair.changes.get("rcs", pair.changes.sigma)
    if rcs is not None and rcs.direction in ("better", "worse"):
        verb = "less" if rcs.direction == "better" else "more"
        return f"{who} relies {verb} on what is around the object, as RCS has it"
    tested = len(pair.comparison.shortcuts)
    if not tested and rcs is None:
        return f"What {' and '.join(pair.letters)} rely on was not tested by these runs"
    of_tested = f": none of {many(tested, 'tested shortcut')} fell or grew with q ≤ 0.05" if tested else ""
    return f"{' and '.join(pair.letters)} show no sure difference in what they rely on{of_tested}"


def _accuracy(pair: Pair) -> str:
    clean = pair.changes.get("clean_accuracy", {})
    if clean is None or clean.change is None:
        return ""
    ends = f"95 % interval {change_interval('clean_accuracy', clean.ci)}, {many(clean.n, 'image')}"
    if clean.direction == "unclear":
        return f"clean accuracy shows no clear change ({change_of('clean_accuracy', clean.change)}, {ends})"
    verb = "fell" if clean.change < 0 else "rose"
    return f"clean accuracy {verb} by {points(abs(clean.change))} ({ends})"


def _lost(one: Change) -> str:
    name = capital(metric_name(one.metric, one.scope))
    return f"{name}: {change_of(one.metric, one.change)} (95 % interval {change_interval(one.metric, one.ci)})."


def _worse(one: Shortcut) -> str:
    metric = EFFECTS[one.audit]
    size, ends = change_of(metric, one.change), change_interval(metric, one.ci)
    return f"{shortcut_name(one)} ({AUDITS[one.audit].lower()}): {size} (95 % interval {ends})."


def _cautions(pair: Pair) -> list[str]:
    a, b = pair.letters
    found = notes(pair.comparison, pair.letters)
    if pair.same_scan:
        found.insert(
            0, f"{a} and {b} are the same scan of the same model: this can only show whether it repeats itself."
        )
    elif pair.same_weights:
        found.insert(0, f"{a} and {b} have the same weights; what differs between them is listed under Provenance.")
    return found
