"""Region swap: does another class's surroundings pull the model away? (Generalises BG-gap of the Backgrounds Challenge,
Xiao et al. 2021, to any masked feature.)

Noise asks whether destroying a region hurts; colour and layout stay readable through it. Here the region is replaced
by that of a donor image, of the same class (the control: it carries all artefacts of compositing) and of another
class; the donor's own object is painted out first. gap = accuracy(same) - accuracy(other).

Regions do not overlap, so that a finding means one thing: the background is what is neither core nor annotated as a
spurious feature, and a donor of the background has its annotated features painted out too. Where only the core is
annotated, the background's overall gap is BG-gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from spuraudit.audits.base import BACKGROUND, BLANK_SHARE, SUSPECT_Q, Cohort, Question, Shown, Summary
from spuraudit.audits.findings import fingerprint
from spuraudit.audits.measure import accuracy, difference, exclude
from spuraudit.perturb.draws import rng_of
from spuraudit.perturb.exchange import swap_region
from spuraudit.record.scan import AuditRecord, Exclusion, Finding, Measurement
from spuraudit.stats.multiple import benjamini_hochberg
from spuraudit.stats.paired import sign_flip

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from spuraudit.audits.rows import Block, Rows
    from spuraudit.audits.sample import Sample
    from spuraudit.data.dataset import ImageRow
    from spuraudit.record.scan import Scope


@dataclass(frozen=True)
class _Arms:
    """One feature's answers: right answers over the trials per image (images,), and the raw rows of both arms."""

    asked: NDArray[np.bool_]
    same: NDArray[np.float64]
    other: NDArray[np.float64]
    same_rows: Block
    other_rows: Block


@dataclass(frozen=True)
class RegionSwapAudit:
    """`trials` donors of the same class and `trials` donors of other classes per image and feature, keyed."""

    cohort: Cohort
    trials: int = 3

    @cached_property
    def _by_class(self) -> dict[int, list[ImageRow]]:
        donors: dict[int, list[ImageRow]] = {}
        # Sorted: which donors are drawn must not depend on the order of a file.
        for row in sorted(self.cohort.donors, key=lambda row: row.id):
            if row.has_core:
                donors.setdefault(row.label, []).append(row)
        return donors

    def features(self, row: ImageRow) -> list[str]:
        """The background of an image with a core mask, and its annotated spurious features."""
        if not row.has_core:
            return []
        return [BACKGROUND] + [mask.feature for mask in row.masks if mask.role == "spurious"]

    def questions(self, row: ImageRow) -> list[Question]:
        """Both arms for each feature; nothing where no donor of the class, or of another one, exists."""
        same = [donor for donor in self._by_class.get(row.label, []) if donor.id != row.id]
        elsewhere = sorted(label for label in self._by_class if label != row.label)
        if not same or not elsewhere:
            return []
        asked = []
        for feature in self.features(row):
            rng = rng_of(self.cohort.seed, row.id, f"swap:{feature}")
            chosen = [same[i] for i in rng.choice(len(same), self.trials, replace=len(same) < self.trials)]
            asked += [Question(f"swap.same:{feature}", t, d.id, d.label) for t, d in enumerate(chosen)]
            for trial in range(self.trials):
                of_class = self._by_class[elsewhere[int(rng.integers(len(elsewhere)))]]
                donor = of_class[int(rng.integers(len(of_class)))]
                asked.append(Question(f"swap.other:{feature}", trial, donor.id, donor.label))
        return asked

    def show(self, sample: Sample, questions: Sequence[Question], donors: Mapping[str, Sample]) -> Shown:
        """x o (1 - s) + fill(donor) o s; s is the background or the feature's soft mask."""
        features = [question.condition.partition(":")[2] for question in questions]
        regions = torch.stack([_mask(sample, feature) for feature in features])
        lenders = [donors[question.donor or ""] for question in questions]
        lent = [
            lender.bare_background if feature == BACKGROUND else lender.without_object
            for lender, feature in zip(lenders, features, strict=True)
        ]
        return Shown(swap_region(sample.pixels, regions, torch.stack(lent)), region_share=regions.mean(dim=(-2, -1)))

    @property
    def definition(self) -> str:
        """Everything a number of this audit depends on."""
        return (
            f"region_swap/1;background=1-core-spurious;fill=mirrored;donors={self.cohort.donors_from};trials={self.trials};"
            f"input={self.cohort.height}x{self.cohort.width};seed={self.cohort.seed};mean=class;{self.cohort.suffix}"
        )

    def summarise(self, rows: Rows) -> Summary:
        """Gap and pull: overall, per class, per class pair; a finding per (class, feature)."""
        features = sorted({feature for row in rows.images for feature in self.features(row)})
        measurements: list[Measurement] = []
        tested: list[tuple[Finding, float]] = []
        for feature in features:
            arms = self._arms(rows, feature)
            if not arms.asked.any():
                continue
            measurements += self._measure(rows, arms, arms.asked, {"feature": feature})
            for label in np.unique(rows.labels[arms.asked]):
                chosen = arms.asked & (rows.labels == label)
                scope: Scope = {"feature": feature, "class": self.cohort.class_names[label]}
                of_class = self._measure(rows, arms, chosen, scope)
                measurements += of_class
                tested.append(self._finding(rows, arms, chosen, feature, of_class))
            measurements += self._pairs(rows, arms, feature)
        q_values = benjamini_hochberg([p for _, p in tested])
        findings = [_judged(finding, q) for (finding, _), q in zip(tested, q_values, strict=True)]
        definitions = {
            self.definition: "Accuracy with the region taken from a donor image of the same class, and of another "
            "class, the donor's object painted out with mirrored pixels; gap = same - other; pull = share answered "
            "with the other donor's class, beyond that share under same-class donors."
        }
        return Summary(
            measurements, findings, definitions, self._record(rows, features), self._exclusions(rows, features)
        )

    def _exclusions(self, rows: Rows, features: list[str]) -> tuple[Exclusion, ...]:
        silent = np.array([row.has_core and not self.questions(row) for row in rows.images], dtype=bool)
        found = exclude(rows, silent, "No donor of the same class or of another one: not in the region swap.")
        for feature in features:
            asked = np.zeros(rows.count, dtype=bool)
            asked[rows.block(f"swap.other:{feature}").image] = True
            blank = asked & ~self._arms(rows, feature).asked
            found += exclude(
                rows, blank, f"Region or object is blank in the crop: not in the region swap of {feature}."
            )
        return found

    def _arms(self, rows: Rows, feature: str) -> _Arms:
        same, other = rows.block(f"swap.same:{feature}"), rows.block(f"swap.other:{feature}")
        asked = np.zeros(rows.count, dtype=bool)
        # Blank region: nothing was swapped. The whole image: its object is blank, and nothing of it was kept.
        asked[other.image] = (other.region_share >= BLANK_SHARE) & (other.region_share <= 1 - BLANK_SHARE)
        return _Arms(
            asked, same.per_image(same.correct, rows.count), other.per_image(other.correct, rows.count), same, other
        )

    def _measure(self, rows: Rows, arms: _Arms, chosen: NDArray[np.bool_], scope: Scope) -> list[Measurement]:
        """Accuracies of both arms, gap and pull over the chosen images."""
        strata = rows.strata(
            chosen,
            arms.same / self.trials,
            arms.other / self.trials,
            _pull(rows, arms, len(self.cohort.class_names)) / self.trials,
        )
        seed, definition = self.cohort.seed, self.definition
        return [
            accuracy("swap_same_accuracy", definition, scope, [s[:, 0] for s in strata]),
            accuracy("swap_other_accuracy", definition, scope, [s[:, 1] for s in strata]),
            difference("swap_gap", definition, scope, strata, (1, -1, 0), seed),
            difference("swap_pull", definition, scope, strata, (0, 0, 1), seed),
        ]

    def _pairs(self, rows: Rows, arms: _Arms, feature: str) -> list[Measurement]:
        """Per (class, donor class): the trials with such a donor against the same images' same-class trials."""
        found = []
        other = arms.other_rows
        pairs = sorted({(int(a), int(b)) for a, b in zip(other.label, other.donor_label, strict=True)})
        for label, donor in pairs:
            of_pair = (other.label == label) & (other.donor_label == donor)
            images = other.image[of_pair]
            asked = np.bincount(images, minlength=rows.count)
            right = np.bincount(images, weights=other.correct[of_pair], minlength=rows.count)
            kept = rows.sorted((asked > 0) & arms.asked)
            stacked = np.stack([arms.same[kept] / self.trials, right[kept] / asked[kept]], axis=1)
            names = self.cohort.class_names
            scope: Scope = {"feature": feature, "class": names[label], "donor_class": names[donor]}
            found += [
                accuracy("swap_other_accuracy", self.definition, scope, [stacked[:, 1]]),
                difference("swap_gap", self.definition, scope, [stacked], (1, -1), self.cohort.seed),
            ]
        return found

    def _finding(
        self, rows: Rows, arms: _Arms, chosen: NDArray[np.bool_], feature: str, measured: list[Measurement]
    ) -> tuple[Finding, float]:
        same, other, gap, pull = measured
        p = sign_flip((arms.same - arms.other)[chosen].astype(np.int64))
        name = str(gap.scope["class"])
        finding = Finding(
            id="F000",
            fingerprint=fingerprint("region_swap", self.cohort.dataset.name, name, feature),
            audit="region_swap",
            suspected=False,
            class_name=name,
            feature=feature,
            role="background" if feature == BACKGROUND else "spurious",
            effect=gap.value or 0.0,
            effect_ci=gap.ci or (0.0, 0.0),
            n=gap.n,
            p=p,
            q=1.0,
            numbers={
                "clean": float(rows.clean[chosen].mean()),
                "same": same.value,
                "other": other.value,
                "gap": gap.value,
                "pull": pull.value,
            },
        )
        return finding, p

    def _record(self, rows: Rows, features: list[str]) -> AuditRecord:
        asked = [row for row in rows.images if self.questions(row)]
        notes = []
        if self.cohort.donor_split is None:
            notes.append(
                "Donors come from the audited images themselves. In a set that was balanced by design, same-class "
                "donors carry every background and the gap shrinks: give the dataset a train split where it has one."
            )
        return AuditRecord(
            name="region_swap",
            status="run",
            params={"trials": self.trials, "features": features, "donor_split": self.cohort.donor_split},
            images=len(asked),
            passes=sum(len(self.questions(row)) for row in asked),
            notes=notes,
        )

    def panels(self, finding: Finding, row: ImageRow) -> list[tuple[str, Question]]:
        """The composite with the first same-class donor beside that with the first other-class donor."""
        asked = [q for q in self.questions(row) if q.condition.endswith(f":{finding.feature}")]
        arms = {q.condition.partition(":")[0]: q for q in reversed(asked)}
        return [(kind, arms[f"swap.{kind}"]) for kind in ("same", "other") if f"swap.{kind}" in arms]

    def region(self, sample: Sample, finding: Finding) -> Tensor:
        """What is swapped."""
        return _mask(sample, finding.feature)


def _mask(sample: Sample, feature: str) -> Tensor:
    return sample.background if feature == BACKGROUND else sample.masks[feature]


def _pull(rows: Rows, arms: _Arms, classes: int) -> NDArray[np.float64]:
    """(images,) summed over trials: answered with the donor's class, minus that class's share under same donors."""
    same, other = arms.same_rows, arms.other_rows
    trials = np.bincount(same.image, minlength=rows.count).clip(1)
    known = same.predicted >= 0
    answered = np.bincount(same.image[known] * classes + same.predicted[known], minlength=rows.count * classes)
    usual = answered[other.image * classes + other.donor_label] / trials[other.image]
    return other.per_image((other.predicted == other.donor_label) - usual, rows.count)


def _judged(finding: Finding, q: float) -> Finding:
    return finding.model_copy(update={"q": q, "suspected": finding.effect > 0 and q <= SUSPECT_Q})
