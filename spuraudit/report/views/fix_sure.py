"""What surely changed beside the measure that a fix is judged by: losses first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report.formats import listing, many
from spuraudit.report.views.change_words import METRICS, change_interval, change_of, metric_name
from spuraudit.report.views.fix_numbers import key_measures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from spuraudit.record.comparison import Change, Comparison
    from spuraudit.record.fix import FixRecord
    from spuraudit.record.scan import Scope

_MAIN = ("worst_group_accuracy", "clean_accuracy", "core_accuracy", "rcs", "mean_group_accuracy")
_PARTS = {"group": ("group", "groups"), "class": ("class", "classes")}
_MOST = 3
"""Measures that a sentence names."""
_LIKELY = 0.05
"""Up to this q a lower accuracy of a single class or group keeps a gain from being a clean pass."""


@dataclass(frozen=True, slots=True)
class LowerParts:
    """Groups and classes whose clean accuracy is surely lower than `against`, the largest loss first.

    `counts`: kind to how many are lower, and of how many.
    """

    lower: list[Change]
    counts: dict[str, tuple[int, int]]
    against: str

    @property
    def likely(self) -> tuple[str, int] | None:
        """A kind, and how many of it are lower by more than what many comparisons give by chance; None: none is."""
        for kind in self.counts:
            found = [one for one in self.lower if kind in one.scope and (one.q is None or one.q <= _LIKELY)]
            if found:
                return kind, len(found)
        return None


@dataclass(frozen=True, slots=True)
class SureChanges:
    """Intervals without 0. `lost`, `gained`: against the control; `lower`: against the delivered model alone."""

    lost: list[Change]
    lower: list[Change]
    gained: list[Change]
    parts: LowerParts | None

    @property
    def outweigh(self) -> bool:
        """Whether a main measure is worse than it would be, or was, without the fix."""
        return bool(self.lost or self.lower)

    def labels(self) -> list[str]:
        """Short clauses: 'core accuracy and RCS were lost'."""
        said = []
        if self.lost:
            said.append(f"{_short(self.lost)} {'was' if len(self.lost) == 1 else 'were'} lost")
        if self.lower:
            said.append(f"{_short(self.lower)} {'is' if len(self.lower) == 1 else 'are'} lower than before")
        if not said and self.parts is not None and self.parts.likely is not None:
            kind, likely = self.parts.likely
            said.append(f"accuracy of {'a ' + kind if likely == 1 else many(likely, *_PARTS[kind])} was lost")
        return said

    def sentences(self) -> list[str]:
        """Losses, where in the data they are, and only then gains."""
        said = []
        if self.lost:
            said.append(f"Surely worse than the control: {_listed(self.lost)}.")
        if self.lower:
            said.append(f"Surely worse than the delivered model: {_listed(self.lower)}.")
        if self.parts is not None:
            said.append(_where(self.parts))
        if self.gained:
            said.append(f"Surely better than the control: {_listed(self.gained)}.")
        return said


def sure_changes(record: FixRecord, *, ruined: bool = False) -> SureChanges:
    """Of clean, core, mean-group accuracy and RCS. ruined: accuracy fell, and a higher RCS says nothing.

    Where no verdict could be given, the deciding measure is among the losses, and gains are not named.
    """
    verdict, credit, earlier = record.verdict, record.comparisons.credit, record.comparisons.fixed_before
    unknown = verdict.outcome == "unknown"
    decided = (verdict.metric, verdict.scope)
    main = [one for one in key_measures(record) if one[0] in _MAIN]
    main.sort(key=lambda one: _MAIN.index(one[0]))
    others = [one for one in main if unknown or one != decided]
    lost = _found(credit, others, "worse")
    lower: list[Change] = []
    if earlier is not None:
        known = {one.metric for one in lost} | ({verdict.metric} if verdict.outcome in ("gained", "lost") else set())
        lower = [one for one in _found(earlier, main, "worse") if one.metric not in known]
    gained = [one for one in _found(credit, others, "better") if not unknown and not (ruined and one.metric == "rcs")]
    return SureChanges(lost, lower, gained, _parts(credit, earlier))


def _found(side: Comparison, wanted: Sequence[tuple[str, Scope]], direction: str) -> list[Change]:
    """Mean-group accuracy only where clean accuracy does not say the same."""
    found = [one for pair in wanted if (one := side.of(*pair)) is not None and one.direction == direction]
    clean = any(one.metric == "clean_accuracy" for one in found)
    return [one for one in found if not (clean and one.metric == "mean_group_accuracy")]


def _parts(credit: Comparison, earlier: Comparison | None) -> LowerParts | None:
    """Against the control; where nothing is lower than there, against the delivered model."""
    sides = [("the control", credit)] + ([("the delivered model", earlier)] if earlier is not None else [])
    for against, side in sides:
        counts, lower = {}, []
        for kind in _PARTS:
            seen = [one for one in side.changes if one.metric == "clean_accuracy" and set(one.scope) == {kind}]
            worse = [one for one in seen if one.direction == "worse"]
            if worse:
                counts[kind] = (len(worse), len(seen))
                lower += worse
        if lower:
            return LowerParts(sorted(lower, key=lambda one: one.change or 0.0), counts, against)
    return None


def _where(parts: LowerParts) -> str:
    """'Clean accuracy is surely lower than with the control in 2 of 4 groups, most in ...'"""
    most = parts.lower[0]
    places = [f"{lower} of {many(seen, *_PARTS[kind])}" for kind, (lower, seen) in parts.counts.items()]
    name = f"{'most in ' if len(parts.lower) > 1 else ''}{next(iter(most.scope.values()))}"
    return f"Clean accuracy is surely lower than with {parts.against} in {listing(places)}, {name}: {_size(most)}."


def _short(changes: list[Change]) -> str:
    names = [METRICS[one.metric] for one in changes]
    return listing(names) if len(names) < 3 else f"{names[0]} and {many(len(names) - 1, 'other measure')}"


def _listed(changes: list[Change]) -> str:
    said = [f"{metric_name(one.metric, one.scope)} {_size(one)}" for one in changes[:_MOST]]
    more = len(changes) - _MOST
    return listing([*said, many(more, "other measure")] if more > 0 else said)


def _size(one: Change) -> str:
    return f"{change_of(one.metric, one.change)} (95 % interval {change_interval(one.metric, one.ci)})"
