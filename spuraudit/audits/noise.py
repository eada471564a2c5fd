"""Noise audit: core accuracy, spurious accuracy and RCS (CoRM paper, section 6.1, 6.2).

Core accuracy: accuracy with noise on the spurious region, the object still visible. Spurious accuracy: accuracy with
noise on the dilated core region. The spurious region is the complement of the dilated core mask, as in the paper;
`spurious_region="annotated"` noises the annotated spurious masks instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from spuraudit.audits.base import Cohort, Question, Shown, Summary
from spuraudit.audits.measure import accuracy, difference, exclude, of_estimate
from spuraudit.audits.noising import noise_runs
from spuraudit.perturb.dilation import radius_for
from spuraudit.perturb.draws import key_of
from spuraudit.perturb.noise import add_noise, energy
from spuraudit.record.scan import AuditRecord, Measurement
from spuraudit.stats.intervals import (
    BETA_DRAWS,
    RESAMPLES,
    Floats,
    bootstrap_means,
    jeffreys_pairs,
    percentile,
    without_spread,
)
from spuraudit.stats.rcs import rcs, rcs_values

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from spuraudit.audits.rows import Rows
    from spuraudit.audits.sample import Sample
    from spuraudit.data.dataset import ImageRow
    from spuraudit.record.scan import Scope

SpuriousRegion = Literal["complement", "annotated"]


@dataclass(frozen=True)
class NoiseAudit:
    """Gaussian noise of each sigma in [0, 1] pixels; `trials` independent draws per image, shared by its conditions."""

    cohort: Cohort
    sigmas: tuple[float, ...] = (0.25,)
    trials: int = 5
    iterations: int = 15
    spurious_region: SpuriousRegion = "complement"
    clamp: bool = True

    @cached_property
    def radius(self) -> int:
        """Dilation radius in pixels of the model's input."""
        return radius_for(min(self.cohort.height, self.cohort.width), self.iterations)

    def asks(self, row: ImageRow) -> bool:
        """Whether the image has the masks that the audit needs."""
        annotated = any(mask.role == "spurious" for mask in row.masks)
        return row.has_core and (annotated or self.spurious_region == "complement")

    def questions(self, row: ImageRow) -> list[Question]:
        """Both noised regions, at every sigma and trial."""
        if not self.asks(row):
            return []
        return [
            Question(_condition(region, sigma), trial)
            for sigma in self.sigmas
            for region in ("core", "spurious")
            for trial in range(self.trials)
        ]

    def show(self, sample: Sample, questions: Sequence[Question], donors: Mapping[str, Sample]) -> Shown:
        """Both regions, at every sigma, get parts of the one draw of a trial."""
        del donors
        noised = sample.pixels.new_empty((len(questions), *sample.pixels.shape))
        shares = noised.new_empty(len(questions))
        for condition, places, z in noise_runs(sample, self.cohort.seed, questions):
            region, sigma = self._region(sample, condition), float(condition.rpartition("@")[2])
            add_noise(sample.pixels, region, z, sigma, clamp=self.clamp, out=noised[places])
            shares[places] = region.mean()
        return Shown(noised, energy(sample.pixels, noised), shares)

    def _region(self, sample: Sample, condition: str) -> Tensor:
        """(H, W) soft."""
        dilated = sample.dilated_core(self.radius)
        if condition.startswith("noise.core"):
            return dilated
        if self.spurious_region == "complement":
            return 1 - dilated
        annotated = sample.union("spurious")
        assert annotated is not None  # `asks` saw to it
        return annotated

    def definition(self, sigma: float, mean: str) -> str:
        """Everything a number of this audit depends on."""
        size = f"{self.cohort.height}x{self.cohort.width}"
        return (
            f"noise/corm-2022;sigma={sigma};pixels=0..1;clamp={'yes' if self.clamp else 'no'};mask=soft;"
            f"dilation=square{2 * self.radius + 1}@{size};spurious={self.spurious_region};trials={self.trials};"
            f"mean={mean};{self.cohort.suffix}"
        )

    def summarise(self, rows: Rows) -> Summary:
        """Accuracies, drops and RCS over classes, over images (`_images`) and per class; clean ones per group too."""
        asked = np.array([self.asks(row) for row in rows.images], dtype=bool)
        blank = self._blank(rows)
        counted = asked & ~blank
        which = "core" if self.spurious_region == "complement" else "core and spurious"
        measurements = clean_measurements(rows, counted, self.cohort, f"with {which} masks")
        for sigma in self.sigmas:
            blocks = [rows.block(_condition(region, sigma)) for region in ("spurious", "core")]
            scores = [block.per_image(block.correct, rows.count) / self.trials for block in blocks]
            strata = rows.strata(counted, rows.clean.astype(float), *scores)
            measurements += self._at(sigma, strata, "class", "")
            measurements += self._at(sigma, [np.concatenate(strata)] if strata else [], "image", "_images")
            for label in np.unique(rows.labels[counted]):
                of_class = rows.strata(counted & (rows.labels == label), rows.clean.astype(float), *scores)
                name = self.cohort.class_names[label]
                measurements += self._at(sigma, of_class, "class", "", {"class": name})
        definitions = {m.definition: _describe(m) for m in measurements}
        exclusions = exclude(rows, ~asked, f"No {which} mask: not in the noise audit.") + exclude(
            rows, asked & blank, "A mask is blank in the model's crop: not in the noise audit."
        )
        return Summary(measurements, [], definitions, self._record(rows, counted), exclusions)

    def _blank(self, rows: Rows) -> NDArray[np.bool_]:
        """Images of which nothing would be noised. (A dilated core may fill the crop: the paper counts such images.)"""
        blank = rows.blank(_condition("core", self.sigmas[0]))
        return (
            blank | rows.blank(_condition("spurious", self.sigmas[0])) if self.spurious_region == "annotated" else blank
        )

    def _at(
        self, sigma: float, strata: list[Floats], mean: str, ending: str, scope: Scope | None = None
    ) -> list[Measurement]:
        """Measurements at one sigma. `strata`: per class (n, 3) scores: clean, spurious noised, core noised."""
        where: Scope = {**(scope or {}), "sigma": sigma}
        definition = self.definition(sigma, mean)
        seed = self.cohort.seed
        return [
            accuracy(f"core_accuracy{ending}", definition, where, [s[:, 1] for s in strata]),
            accuracy(f"spurious_accuracy{ending}", definition, where, [s[:, 2] for s in strata]),
            difference(f"core_drop{ending}", definition, where, strata, (1, -1, 0), seed),
            difference(f"spurious_drop{ending}", definition, where, strata, (1, 0, -1), seed),
            rcs_measurement(f"rcs{ending}", definition, where, [s[:, 1:] for s in strata], seed),
        ]

    def _record(self, rows: Rows, counted: NDArray[np.bool_]) -> AuditRecord:
        conditions = [_condition(region, sigma) for sigma in self.sigmas for region in ("core", "spurious")]
        return AuditRecord(
            name="noise",
            status="run",
            params={
                "sigma": list(self.sigmas),
                "trials": self.trials,
                "dilation_iterations": self.iterations,
                "dilation_radius_px": self.radius,
                "spurious_region": self.spurious_region,
                "clamp": self.clamp,
            },
            images=int(counted.sum()),
            passes=sum(len(rows.block(c).image) for c in conditions),
        )


def clean_measurements(rows: Rows, chosen: NDArray[np.bool_], cohort: Cohort, which: str) -> list[Measurement]:
    """Accuracy without any perturbation on the chosen images: over classes, images, per class and per group."""
    definition = f"clean;images={which};mean={{}};{cohort.suffix}"
    strata = [s[:, 0] for s in rows.strata(chosen, rows.clean.astype(float))]
    found = [
        accuracy("clean_accuracy", definition.format("class"), {}, strata),
        accuracy("clean_accuracy_images", definition.format("image"), {}, [np.concatenate(strata)] if strata else []),
    ]
    for label in np.unique(rows.labels[chosen]):
        scores = rows.clean[chosen & (rows.labels == label)].astype(float)
        found.append(
            accuracy("clean_accuracy", definition.format("class"), {"class": cohort.class_names[label]}, [scores])
        )
    groups = np.array([row.group or "" for row in rows.images])
    scores = {
        group: rows.clean[chosen & (groups == group)].astype(float) for group in sorted(set(groups[chosen]) - {""})
    }
    if scores:
        by_group = definition.format("group")
        of_groups = [accuracy("clean_accuracy", by_group, {"group": group}, [own]) for group, own in scores.items()]
        worst = min(of_groups, key=lambda m: m.value if m.value is not None else 2.0)
        found += [*of_groups, worst.model_copy(update={"metric": "worst_group_accuracy", "scope": {}})]
        found.append(accuracy("mean_group_accuracy", by_group, {}, list(scores.values())))
    return found


def rcs_measurement(metric: str, definition: str, scope: Scope, strata: Sequence[Floats], seed: int) -> Measurement:
    """RCS of the class-averaged (core, spurious) accuracies; strata of (n, 2) scores. Undefined stays undefined."""
    n = sum(len(s) for s in strata)
    if not n:
        return Measurement(metric=metric, definition=definition, scope=scope, value=None, reason="no image", n=0)
    core, spurious = (float(value) for value in np.mean([s.mean(axis=0) for s in strata], axis=0))
    result = rcs(core, spurious)
    if result.value is None:
        return Measurement(metric=metric, definition=definition, scope=scope, value=None, reason=result.reason, n=n)
    key = key_of(seed, metric, *(f"{k}={v}" for k, v in sorted(scope.items())))
    if without_spread(strata):
        draws, method = jeffreys_pairs(strata, key), BETA_DRAWS
    else:
        by_class = ", by class" if len(strata) > 1 else ""
        draws, method = bootstrap_means(strata, key), f"bootstrap over images{by_class} ({RESAMPLES})"
    estimate = percentile(rcs_values(draws[:, 0], draws[:, 1]), result.value, method)
    measured = of_estimate(metric, definition, scope, estimate, n)
    return measured.model_copy(update={"flags": ["saturated"]}) if result.saturated else measured


def clean_summary(rows: Rows, chosen: NDArray[np.bool_], cohort: Cohort, which: str) -> Summary:
    """Clean accuracy alone, for scans without the noise audit."""
    measurements = clean_measurements(rows, chosen, cohort, which)
    return Summary(measurements, [], {m.definition: _describe(m) for m in measurements})


def _condition(region: str, sigma: float) -> str:
    return f"noise.{region}@{sigma}"


def _describe(measurement: Measurement) -> str:
    if measurement.definition.startswith("clean"):
        return "Accuracy on the images as they are."
    return (
        "Core accuracy: accuracy with noise around the object (spurious region), the object left as it is. Spurious "
        "accuracy: with noise on the object (dilated core), its surroundings left as they are. Drops: clean minus "
        "these. RCS: (c - s) / (2 min(a, 1 - a)) with a = (c + s) / 2 (CoRM paper, definition 6.3)."
    )
