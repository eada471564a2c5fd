"""A zoo in a sentence: how many models on what, which looks most and least at the object, what failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report.formats import NARROW, count, interval, listing, many, plain
from spuraudit.report.views.zoo_notes import apart
from spuraudit.report.views.zoo_warnings import NEAR_CHANCE, PREPROCESSING, with_notice

if TYPE_CHECKING:
    from spuraudit.record.scan import Measurement
    from spuraudit.report.zoo_evidence import AuditedModel, ZooEvidence


@dataclass(frozen=True, slots=True)
class Summary:
    """The band at the top. `failed`: (name, reason)."""

    statement: str
    cautions: list[str]
    failed: list[tuple[str, str]]


def summary_view(evidence: ZooEvidence) -> Summary:
    """The statement, what keeps it from being read as more than it is, and every failed model."""
    ordered = in_order(evidence)
    failed = [(model.name, model.reason or "no reason was recorded") for model in evidence.failed]
    return Summary(_statement(evidence, ordered), _cautions(evidence, ordered), failed)


def in_order(evidence: ZooEvidence) -> list[tuple[AuditedModel, Measurement]]:
    """Models that the RCS puts in an order, the highest first: none that is saturated, unless all are."""
    found = _with_rcs(evidence)
    return [pair for pair in found if not _saturated(pair[1])] or found


def _saturated(rcs: Measurement) -> bool:
    return "saturated" in rcs.flags


def _with_rcs(evidence: ZooEvidence) -> list[tuple[AuditedModel, Measurement]]:
    """Comparable models with an RCS, the highest first; equal ones in the order of the zoo file."""
    unlike = apart(evidence)
    found = [
        (model, rcs)
        for model in evidence.audited
        if (rcs := model.figure("rcs", evidence.sigma)) is not None
        and rcs.value is not None
        and model.entry.id not in unlike
    ]
    return sorted(found, key=lambda pair: -(pair[1].value or 0.0))


def _statement(evidence: ZooEvidence, ordered: list[tuple[AuditedModel, Measurement]]) -> str:
    zoo, done = evidence.zoo, len(evidence.audited)
    failed = len(evidence.failed)
    if not done:
        return f"None of the {many(len(zoo.models), 'model')} of {zoo.zoo} could be evaluated on {zoo.data}."
    said = f"{_one(done)} evaluated on {zoo.data}, {_images(evidence)}."
    if len(ordered) == 1:
        said += f" {ordered[0][0].entry.name} has RCS {_rcs(ordered[0][1])}."
    elif ordered and ordered[0][1].value == ordered[-1][1].value:
        said += f" {listing([model.entry.name for model, _ in ordered])} have the same RCS, {_value(ordered[0][1])}."
    elif ordered:
        most, least = ordered[0], ordered[-1]
        said += (
            f" {most[0].entry.name} looks most at the object, RCS {_rcs(most[1])}, and {least[0].entry.name} least, "
            f"RCS {_rcs(least[1])}."
        )
    else:
        said += " No model has an RCS."
    return said + (f" {many(failed, 'model')} failed." if failed else "")


def _one(done: int) -> str:
    return "One model was" if done == 1 else f"{count(done)} models were"


def _images(evidence: ZooEvidence) -> str:
    numbers = sorted(
        {
            found.n
            for model in evidence.audited
            if (found := model.figure("core", evidence.sigma) or model.figure("clean", evidence.sigma)) is not None
        }
    )
    if not numbers:
        return "without a number over all images"
    if len(numbers) == 1:
        return many(numbers[0], "image")
    return f"{count(numbers[0])} to {many(numbers[-1], 'image')} per model"


def _rcs(rcs: Measurement) -> str:
    ends = f" (95{NARROW}% {interval('rcs', rcs.ci)})" if rcs.ci else ""
    return f"{_value(rcs)}{ends}"


def _value(rcs: Measurement) -> str:
    return f"{plain(rcs.value)}{', saturated' if _saturated(rcs) else ''}"


def _cautions(evidence: ZooEvidence, ordered: list[tuple[AuditedModel, Measurement]]) -> list[str]:
    out = _warned(evidence)
    unlike = len(apart(evidence))
    if unlike:
        out.append(
            f"The figures of {many(unlike, 'model')} are defined differently from the others, cannot be compared with "
            "them and are left out of this sentence: see “What was not measured”."
        )
    if len(ordered) > 1:
        high, low = (
            sum(_touch(ordered[end][1], other[1]) for other in ordered if other is not ordered[end]) for end in (0, -1)
        )
        if high or low:
            out.append(
                "The ends of this order are not settled by this many images: the RCS intervals of "
                f"{many(high, 'other model')} overlap with that of the highest, those of {count(low)} with that of the "
                "lowest."
            )
    saturated = [model.entry.name for model, rcs in _with_rcs(evidence) if _saturated(rcs)]
    if saturated:
        left = "" if _saturated(ordered[0][1]) else " They have no place in the order above."
        out.append(
            f"Saturated, RCS at its limit by arithmetic only (an accuracy sits at 0 or 100{NARROW}%): "
            f"{listing(saturated, 5)}. Read the accuracies instead.{left}"
        )
    return out


def _warned(evidence: ZooEvidence) -> list[str]:
    out = []
    doubted = with_notice(evidence.audited, PREPROCESSING)
    if doubted:
        out.append(
            f"Another preprocessing answers far more images right ({PREPROCESSING}) for {_of(doubted, evidence)}: "
            f"{listing(doubted, 5)}. Figures under a wrong preprocessing are not those of the model as it was trained."
        )
    chance = with_notice(evidence.audited, NEAR_CHANCE)
    if chance:
        out.append(
            f"Clean accuracy is near chance ({NEAR_CHANCE}) for {_of(chance, evidence)}: {listing(chance, 5)}. What "
            "noise takes from guesses says nothing of object or surroundings: an RCS there is not to be read."
        )
    return out


def _of(names: list[str], evidence: ZooEvidence) -> str:
    return f"{count(len(names))} of {many(len(evidence.audited), 'model')}"


def _touch(one: Measurement, other: Measurement) -> bool:
    return bool(one.ci and other.ci and one.ci[0] <= other.ci[1] and other.ci[0] <= one.ci[1])
