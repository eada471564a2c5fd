"""Feature drop: what noise on one annotated feature costs, beyond the same noise energy elsewhere in the image.

Drop: CoRM paper, appendix K; Salient ImageNet, section 5 (undilated soft mask, sigma 0.25, clamped). Control: equal
clamped L2 norm per image in another region (idea: Salient ImageNet, appendix L; see `perturb.control`).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from spuraudit.audits.base import BACKGROUND, SUSPECT_Q, Cohort, Question, Shown, Summary
from spuraudit.audits.findings import fingerprint
from spuraudit.audits.measure import accuracy, difference, exclude
from spuraudit.audits.noising import noise_runs
from spuraudit.perturb.control import control_region, match_energy
from spuraudit.perturb.dilation import radius_for
from spuraudit.perturb.noise import add_noise, energy
from spuraudit.record.limits import ENERGY_TOLERANCE
from spuraudit.record.scan import AuditRecord, Finding, Measurement
from spuraudit.stats.multiple import benjamini_hochberg
from spuraudit.stats.paired import sign_flip

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from spuraudit.audits.rows import Rows
    from spuraudit.audits.sample import Sample
    from spuraudit.data.dataset import ImageRow
    from spuraudit.record.scan import Role, Scope


@dataclass(frozen=True)
class _Tested:
    """One (class, feature) pair with everything measured about it."""

    class_name: str
    feature: str
    role: Role
    measurements: list[Measurement]
    drop: float
    excess: Measurement
    p_excess: float
    unmatched: int
    numbers: dict[str, float | None]


@dataclass(frozen=True)
class FeatureDropAudit:
    """Every (class, feature) with masks; where none is spurious, `background`: the complement of the dilated core."""

    cohort: Cohort
    sigma: float = 0.25
    trials: int = 5
    iterations: int = 15

    @cached_property
    def radius(self) -> int:
        """Dilation radius of the core for the `background` feature, pixels."""
        return radius_for(min(self.cohort.height, self.cohort.width), self.iterations)

    @cached_property
    def has_spurious(self) -> bool:
        """Whether the dataset annotates any spurious feature itself."""
        return any(feature.role == "spurious" for feature in self.cohort.dataset.features)

    def features(self, row: ImageRow) -> dict[str, Role]:
        """Features audited on one image."""
        found: dict[str, Role] = {mask.feature: mask.role for mask in row.masks}
        if row.has_core and not self.has_spurious:
            found[BACKGROUND] = "background"
        return found

    def questions(self, row: ImageRow) -> list[Question]:
        """The noised feature and its control, `trials` times each."""
        return [
            Question(f"{kind}:{feature}@{self.sigma}", trial)
            for feature in self.features(row)
            for kind in ("feature", "control")
            for trial in range(self.trials)
        ]

    def mask(self, sample: Sample, feature: str) -> Tensor:
        """(H, W) soft region of a feature in this image."""
        return 1 - sample.dilated_core(self.radius) if feature == BACKGROUND else sample.masks[feature]

    def show(self, sample: Sample, questions: Sequence[Question], donors: Mapping[str, Sample]) -> Shown:
        """Noise on the feature; for a control question as much energy elsewhere as this trial's feature noise had."""
        del donors
        shown = sample.pixels.new_empty((len(questions), *sample.pixels.shape))
        energies, shares = shown.new_empty(len(questions)), shown.new_empty(len(questions))
        for condition, places, z in noise_runs(sample, self.cohort.seed, questions):
            kind, _, rest = condition.partition(":")
            region = self.mask(sample, rest.rpartition("@")[0])
            add_noise(sample.pixels, region, z, self.sigma, out=shown[places])
            energies[places] = energy(sample.pixels, shown[places])
            if kind == "control":
                elsewhere = control_region(region, sample.core)
                shown[places], energies[places] = match_energy(sample.pixels, elsewhere, z, energies[places])
            shares[places] = region.mean()
        return Shown(shown, energies, shares)

    @property
    def definition(self) -> str:
        """Everything a number of this audit depends on."""
        return (
            f"feature_drop/corm-2022-k+energy-control;sigma={self.sigma};pixels=0..1;clamp=yes;mask=soft;"
            f"background=1-square{2 * self.radius + 1}@{self.cohort.height}x{self.cohort.width};"
            f"trials={self.trials};{self.cohort.suffix}"
        )

    def summarise(self, rows: Rows) -> Summary:
        """Drops, control drops and findings of every (class, feature)."""
        members: dict[tuple[int, str], list[int]] = defaultdict(list)
        roles: dict[tuple[int, str], Role] = {}
        for position in rows.sorted(np.ones(rows.count, dtype=bool)).tolist():
            row = rows.images[position]
            for feature, role in self.features(row).items():
                members[row.label, feature].append(position)
                roles[row.label, feature] = role
        names = sorted({feature for _, feature in members})
        blank = {feature: rows.blank(f"feature:{feature}@{self.sigma}") for feature in names}
        members = {key: [i for i in images if not blank[key[1]][i]] for key, images in members.items()}
        scores = {feature: self._scores(rows, feature) for feature in names}
        tested = [
            self._test(rows, label, feature, roles[label, feature], np.array(members[label, feature]), scores[feature])
            for label, feature in sorted(members)
            if members[label, feature]
        ]
        definitions = {
            self.definition: "Accuracy on the images of a (class, feature) pair as they are, with noise on the "
            "feature, and with noise of equal energy elsewhere in the same image; drop = clean - noised, excess = "
            "drop - control drop."
        }
        measurements = [m for one in tested for m in one.measurements]
        exclusions = [
            exclusion
            for feature in names
            for exclusion in exclude(
                rows, blank[feature], f"Mask of {feature} is blank in the model's crop: not counted."
            )
        ]
        record = self._record(rows, tested)
        return Summary(measurements, self._findings(tested), definitions, record, tuple(exclusions))

    def _scores(self, rows: Rows, feature: str) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """(images,) right answers over the trials: feature noised, control noised; whether energies match."""
        noised = rows.block(f"feature:{feature}@{self.sigma}")
        control = rows.block(f"control:{feature}@{self.sigma}")
        wanted = noised.per_image(noised.energy, rows.count)
        reached = control.per_image(control.energy, rows.count)
        matched = np.abs(reached - wanted) <= ENERGY_TOLERANCE * wanted
        return (
            noised.per_image(noised.correct, rows.count),
            control.per_image(control.correct, rows.count),
            matched,
        )

    def _test(
        self,
        rows: Rows,
        label: int,
        feature: str,
        role: Role,
        members: NDArray[np.int64],
        scores: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]],
    ) -> _Tested:
        name = self.cohort.class_names[label]
        clean = rows.clean[members].astype(float)
        noised, control, matched = scores[0][members], scores[1][members], scores[2][members]
        stacked = np.stack([clean, noised / self.trials, control / self.trials], axis=1)
        kept = stacked[matched]
        scope: Scope = {"class": name, "feature": feature}
        one = [stacked]
        base = accuracy("feature_clean_accuracy", self.definition, scope, [clean])
        under = accuracy("feature_noised_accuracy", self.definition, scope, [stacked[:, 1]])
        drop = difference("feature_drop", self.definition, scope, one, (1, -1, 0), self.cohort.seed)
        other = difference("control_drop", self.definition, scope, [kept], (1, 0, -1), self.cohort.seed)
        excess = difference("feature_drop_excess", self.definition, scope, [kept], (0, -1, 1), self.cohort.seed)
        p_drop = sign_flip((self.trials * clean - noised).astype(np.int64))
        return _Tested(
            class_name=name,
            feature=feature,
            role=role,
            measurements=[base, under, drop, other, excess],
            drop=drop.value or 0.0,
            excess=excess,
            p_excess=sign_flip((control - noised)[matched].astype(np.int64)),
            unmatched=int((~matched).sum()),
            numbers={
                "clean": base.value,
                "noised": under.value,
                "drop": drop.value,
                "control": float(kept[:, 2].mean()) if len(kept) else None,
                "control_drop": other.value,
                "p_clean": p_drop,
            },
        )

    def _findings(self, tested: list[_Tested]) -> list[Finding]:
        """q over what could be a finding (everything not core); core pairs form a family of their own."""
        found = []
        comparable = [one for one in tested if one.excess.value is not None]
        for family in (
            [one for one in comparable if one.role != "core"],
            [one for one in comparable if one.role == "core"],
        ):
            q_values = benjamini_hochberg([one.p_excess for one in family])
            found += [self._finding(one, q) for one, q in zip(family, q_values, strict=True)]
        return found

    def _finding(self, one: _Tested, q: float) -> Finding:
        assert one.excess.value is not None  # the family holds no others
        assert one.excess.ci is not None
        flags = []
        if one.unmatched:
            flags.append(
                f"{one.unmatched} images are left out of the comparison with the control: no region elsewhere "
                "could take as much noise energy."
            )
        suspected = one.role != "core" and one.drop > 0 and one.excess.value > 0 and q <= SUSPECT_Q
        return Finding(
            id="F000",
            fingerprint=fingerprint("feature_drop", self.cohort.dataset.name, one.class_name, one.feature),
            audit="feature_drop",
            suspected=suspected,
            class_name=one.class_name,
            feature=one.feature,
            role=one.role,
            effect=one.excess.value,
            effect_ci=one.excess.ci,
            n=one.excess.n,
            p=one.p_excess,
            q=q,
            numbers=one.numbers,
            flags=flags,
        )

    def _record(self, rows: Rows, tested: list[_Tested]) -> AuditRecord:
        asked = sum(bool(self.features(row)) for row in rows.images)
        notes = []
        if not self.has_spurious:
            notes.append(
                "The dataset annotates no spurious feature: the complement of the dilated core is audited as "
                f"'{BACKGROUND}' of each class."
            )
        lost = [f"{one.feature} of {one.class_name}" for one in tested if one.excess.value is None]
        if lost:
            notes.append(f"Measured but not tested, no image could hold the control's noise: {', '.join(lost)}.")
        return AuditRecord(
            name="feature_drop",
            status="run",
            params={"sigma": self.sigma, "trials": self.trials, "pairs": len(tested), "clamp": True},
            images=asked,
            passes=sum(len(self.questions(row)) for row in rows.images),
            notes=notes,
        )

    def panels(self, finding: Finding, row: ImageRow) -> list[tuple[str, Question]]:
        """The noised feature beside its control, first trial."""
        del row
        ending = f":{finding.feature}@{self.sigma}"
        return [("noised", Question(f"feature{ending}")), ("control", Question(f"control{ending}"))]

    def region(self, sample: Sample, finding: Finding) -> Tensor:
        """The feature's mask."""
        return self.mask(sample, finding.feature)
