"""What `--fail-on` asks of a comparison: each condition holds, fails, or cannot be evaluated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report.formats import listing, many
from spuraudit.report.views.change_words import capital, change_interval, change_of, metric_name, shortcut_name
from spuraudit.report.views.compare_shortcuts import in_words
from spuraudit.report.views.compare_words import in_letters
from spuraudit.report.wording import AUDITS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.record.comparison import Change, Shortcut
    from spuraudit.record.verdict import Outcome
    from spuraudit.report.views.compare_pair import Pair

CONDITIONS = {
    "worse": "any of the following but new-shortcut, as far as both runs measured it",
    "accuracy": "clean accuracy fell",
    "worst-group": "the accuracy of the worst group fell",
    "rcs": "RCS fell",
    "swap-gap": "the swap gap of a feature grew",
    "worse-shortcut": "a shortcut grew, with q of at most 0.05",
    "new-shortcut": "a shortcut is suspected that was not, whether or not its growth is sure",
}
"""Value of `--fail-on` to what fails it."""
MIN_N = 50
"""Fewest images that a number may rest on."""
_PARTS = ("accuracy", "worst-group", "rcs", "swap-gap", "worse-shortcut")


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition, what it came to, and a sentence with the numbers."""

    name: str
    outcome: Outcome
    text: str


def judge_conditions(pair: Pair, wanted: Sequence[str], min_n: int = MIN_N) -> list[Condition]:
    """One entry per condition. A fall is one whose 95 % interval excludes 0; too few images are no evidence.

    A shortcut that got worse fails, whatever the others rest on. `worse` leaves out what neither run measured; what was
    measured and cannot be judged is not evaluated.
    """
    found: list[Condition] = []
    for name in dict.fromkeys(wanted):
        parts = [one for one in _PARTS if _measured(pair, one)] if name == "worse" else [name]
        if not parts:
            found.append(Condition(name, "not evaluated", "The runs share no number that could get worse."))
        found += [_judged(pair, part, min_n) for part in parts if part not in {one.name for one in found}]
    return found


def outcome_of(conditions: Sequence[Condition]) -> Outcome:
    """Not evaluated outranks fail, fail outranks pass."""
    outcomes = {one.outcome for one in conditions}
    return "not evaluated" if "not evaluated" in outcomes else "fail" if "fail" in outcomes else "pass"


def _measured(pair: Pair, name: str) -> bool:
    return bool(pair.comparison.shortcuts) if name.endswith("-shortcut") else bool(_changes(pair, name))


def _changes(pair: Pair, name: str) -> list[Change]:
    """The changes that a condition on numbers looks at."""
    if name == "swap-gap":
        return pair.changes.shaped("swap_gap", "feature")
    if name == "rcs":
        return pair.changes.shaped("rcs", "sigma")
    change = pair.changes.get({"accuracy": "clean_accuracy", "worst-group": "worst_group_accuracy"}[name], {})
    return [] if change is None else [change]


def _judged(pair: Pair, name: str, min_n: int) -> Condition:
    return _shortcuts(pair, name, min_n) if name.endswith("-shortcut") else _numbers(pair, name, min_n)


def _numbers(pair: Pair, name: str, min_n: int) -> Condition:
    changes = _changes(pair, name)
    if not changes:
        return Condition(name, "not evaluated", "Neither run measured it.")
    undefined = next((one for one in changes if one.change is None), None)
    if undefined is not None:
        reason = in_letters(undefined.reason or "undefined", pair.letters)
        return Condition(name, "not evaluated", f"{_name(undefined)} has no change: {reason}.")
    few = next((one for one in changes if one.n < min_n), None)
    if few is not None:
        return Condition(
            name, "not evaluated", f"{_name(few)} rests on {many(few.n, 'image')}; at least {min_n} are asked for."
        )
    worse = [one for one in changes if one.direction == "worse"]
    said = "; ".join(_said(one) for one in worse or changes)
    return Condition(name, "fail" if worse else "pass", f"{said}.")


def _name(one: Change) -> str:
    return capital(metric_name(one.metric, one.scope))


def _said(one: Change) -> str:
    ends = f"95 % interval {change_interval(one.metric, one.ci)}, n {one.n}"
    return f"{_name(one)}: {change_of(one.metric, one.change)} ({ends})"


def _shortcuts(pair: Pair, name: str, min_n: int) -> Condition:
    state = name.removesuffix("-shortcut")
    tested = pair.comparison.shortcuts
    if not tested:
        return Condition(name, "not evaluated", "Neither run tested a shortcut.")
    lonely = _one_sided(pair)
    if lonely:
        return Condition(name, "not evaluated", f"{listing(lonely)} ran for one of the two only.")
    found = [one for one in tested if one.state == state]
    if found:
        return Condition(name, "fail", f"{many(len(found), f'{state} shortcut')}: {in_words(found)}.")
    few = [(one, n) for one, n in _resting(pair, state) if n < min_n]
    if few:
        one, n = min(few, key=lambda rests: rests[1])
        verb = "rests" if len(few) == 1 else "rest"
        said = f"{len(few):,} of {many(len(tested), 'shortcut')} {verb} on fewer than {many(min_n, 'image')}"
        such = f"{shortcut_name(one)} ({AUDITS[one.audit].lower()}) on {many(n, 'image')}"
        return Condition(name, "not evaluated", f"{said}, such as {such}.")
    return Condition(name, "pass", f"None of {many(len(tested), 'shortcut')} is {state}.")


def _resting(pair: Pair, state: str) -> list[tuple[Shortcut, int]]:
    """The shortcuts that could have become what is asked, each with the images that say whether it did.

    worse: images of both runs, 0 where they have none in common. new: images of the run after; what was suspected
    before, or was not tested after, is not new.
    """
    tested = pair.comparison.shortcuts
    if state == "worse":
        return [(one, one.n) for one in tested]
    after = {(f.audit, f.class_name, f.target_class, f.feature): f.n for f in pair.records[1].findings}
    keys = [(one.audit, one.class_name, one.target_class, one.feature) for one in tested]
    return [(one, after[key]) for one, key in zip(tested, keys, strict=True) if key in after and not one.suspected[0]]


def _one_sided(pair: Pair) -> list[str]:
    """Audits that ran for one of the runs only: its shortcuts have nothing to be compared with."""
    ran = [{audit.name for audit in record.audits if audit.status == "run"} for record in pair.records]
    return [said for name, said in AUDITS.items() if (name in ran[0]) != (name in ran[1])]
