"""A zoo in a sentence: how many models on what, which looks most and least at the object, what failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spuraudit.report.formats import NARROW, count, interval, listing, many, plain
from spuraudit.report.views.zoo_notes import apart

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
    unlike = apart(evidence)
    ordered = [(model, rcs) for model, rcs in by_rcs(evidence) if model.entry.id not in unlike]
    failed = [(model.name, model.reason or "no reason was recorded") for model in evidence.failed]
    return Summary(_statement(evidence, ordered), _cautions(evidence, ordered), failed)


def by_rcs(evidence: ZooEvidence) -> list[tuple[AuditedModel, Measurement]]:
    """Models with an RCS, the highest first; equal ones in the order of the zoo file."""
    found = [
        (model, rcs)
        for model in evidence.audited
        if (rcs := model.figure("rcs", evidence.sigma)) is not None and rcs.value is not None
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
    return f"{plain(rcs.value)}{ends}"


def _cautions(evidence: ZooEvidence, ordered: list[tuple[AuditedModel, Measurement]]) -> list[str]:
    out = []
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
    saturated = [model.entry.name for model, rcs in ordered if "saturated" in rcs.flags]
    if saturated:
        out.append(
            f"RCS at its limit by arithmetic only (an accuracy sits at 0 or 100{NARROW}%): {listing(saturated, 5)}. "
            "Read the accuracies instead."
        )
    return out


def _touch(one: Measurement, other: Measurement) -> bool:
    return bool(one.ci and other.ci and one.ci[0] <= other.ci[1] and other.ci[0] <= one.ci[1])
