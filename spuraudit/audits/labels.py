"""Labels of a sigmoid head: how often each is given to the images of its class, and to the images of the others.

A label is given to an image where its probability is at least 0.5. Recall of a label: the share of its own class's
images that are given it. False alarm: the share of all other images that are given it; datasets here have one class
per image, so what else is truly to be seen in an image is not known, and a false alarm is what the dataset calls one.
Names follow the noise audit: `core_` with noise on the spurious region, `spurious_` with noise on the core.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from spuraudit.audits.base import CLEAN, Cohort, Summary
from spuraudit.audits.measure import accuracy, difference, of_estimate
from spuraudit.perturb.draws import key_of
from spuraudit.stats.intervals import RESAMPLES, Floats, percentile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from spuraudit.audits.noise import NoiseAudit
    from spuraudit.audits.rows import Ints, Rows
    from spuraudit.record.scan import Measurement, Scope

_RULE = "labels;given=p>=0.5"
_TEXT = (
    "Label recall: share of a class's images that are given its label (probability 0.5 or more, trials of an image "
    "averaged). Label false alarm: share of all other images that are given it. core_: with noise around the object; "
    "spurious_: with noise on the object. Drops: clean minus these. mean_: over labels."
)


class _View(NamedTuple):
    """A way to show the images, how the metrics' names begin, and definition ids of one label and of their mean."""

    prefix: str
    condition: str
    scope: Scope
    of_label: str
    of_mean: str


def label_summary(rows: Rows, cohort: Cohort, noise: NoiseAudit | None = None) -> Summary | None:
    """Recall and false alarms of every label, clean and under the noise audit's conditions; None for a softmax head.

    noise: the scan's noise audit: its images are counted, with its exclusions; without it all audited images, clean.
    Per label Wilson intervals over images, at the effective n where trials are averaged; for drops bootstrap over
    images. Classes without images have no recall, and are among the labels that may be false alarms.
    """
    if not rows.of_labels:
        return None
    figures = _Figures(rows, cohort, _counted(rows, noise))
    clean = _Shares(rows, CLEAN)
    views = _views(cohort, noise)
    measurements = figures.of_view(views[0], clean)
    for view in views[1:]:
        shown = _Shares(rows, view.condition)
        measurements += figures.of_view(view, shown) + figures.drops(view, clean, shown)
    return Summary(measurements, [], {m.definition: _TEXT for m in measurements})


def _counted(rows: Rows, noise: NoiseAudit | None) -> NDArray[np.bool_]:
    """(images,) those of the noise audit, so that its clean accuracy and these recalls are about the same images."""
    if noise is None:
        return np.ones(rows.count, dtype=bool)
    counted = np.array([noise.asks(row) for row in rows.images], dtype=bool)
    regions = ("core",) if noise.spurious_region == "complement" else ("core", "spurious")
    for region in regions:
        counted &= ~rows.blank(f"noise.{region}@{noise.sigmas[0]}")
    return counted


def _views(cohort: Cohort, noise: NoiseAudit | None) -> list[_View]:
    masks = "core" if noise is None or noise.spurious_region == "complement" else "core and spurious"
    which = "audited images" if noise is None else f"with {masks} masks"
    clean = (f"{_RULE};clean;images={which};mean={mean};{cohort.suffix}" for mean in ("image", "label"))
    views = [_View("", CLEAN, {}, *clean)]
    if noise is None:
        return views
    for sigma in noise.sigmas:
        noised = [f"{_RULE};{noise.definition(sigma, mean)}" for mean in ("image", "label")]
        views.append(_View("core_", f"noise.spurious@{sigma}", {"sigma": sigma}, *noised))
        views.append(_View("spurious_", f"noise.core@{sigma}", {"sigma": sigma}, *noised))
    return views


class _Shares:
    """Shares of an image's answers under a condition that give it a label."""

    def __init__(self, rows: Rows, condition: str) -> None:
        block = rows.block(condition)
        self._answers = np.maximum(block.per_image(np.ones(len(block.image)), rows.count), 1)
        given = rows.given(condition)
        order = np.argsort(given.label, kind="stable")
        self._images, self._labels = given.image[order], given.label[order]

    def of(self, label: int) -> Floats:
        """(images,) in 0..1."""
        start, stop = np.searchsorted(self._labels, [label, label + 1])
        times = np.bincount(self._images[start:stop], minlength=len(self._answers))
        shares: Floats = times / self._answers
        return shares


@dataclass(frozen=True)
class _Figures:
    """Measurements of the labels on the counted images."""

    rows: Rows
    cohort: Cohort
    counted: NDArray[np.bool_]

    @cached_property
    def _order(self) -> Ints:
        return self.rows.sorted(self.counted)

    @cached_property
    def _own(self) -> Ints:
        """Labels of the counted images, in the order of their ids."""
        return self.rows.labels[self._order]

    @cached_property
    def _present(self) -> Ints:
        return np.unique(self._own)

    def of_view(self, view: _View, shares: _Shares) -> list[Measurement]:
        """Recall and false alarm per label, and their means over labels."""
        found = []
        for label, name in enumerate(self.cohort.class_names):
            given, own = shares.of(label)[self._order], self._own == label
            scope: Scope = {"class": name, **view.scope}
            for metric, scores in (("label_recall", given[own]), ("label_false_alarm", given[~own])):
                found.append(accuracy(view.prefix + metric, view.of_label, scope, [scores]))
        for metric, strata in self._means(shares).items():
            found.append(accuracy(view.prefix + metric, view.of_mean, view.scope, strata))
        return found

    def drops(self, view: _View, clean: _Shares, shown: _Shares) -> list[Measurement]:
        """Clean minus shown, of the same images."""
        found = []
        for label, name in enumerate(self.cohort.class_names):
            change, own = (clean.of(label) - shown.of(label))[self._order], self._own == label
            scope: Scope = {"class": name, **view.scope}
            for metric, values in (("label_recall_drop", change[own]), ("label_false_alarm_drop", change[~own])):
                found.append(_drop(view.prefix + metric, view.of_label, scope, values, self.cohort.seed))
        before, after = self._means(clean), self._means(shown)
        for metric, strata in before.items():
            pairs = [np.stack(pair, axis=1) for pair in zip(strata, after[metric], strict=True)]
            name, definition = f"{view.prefix}{metric}_drop", view.of_mean
            found.append(difference(name, definition, view.scope, pairs, (1, -1), self.cohort.seed))
        return found

    def _means(self, shares: _Shares) -> dict[str, list[Floats]]:
        """Per class with images one value per image, such that the mean of the class means is the mean over labels.

        Recall: the label's share. False alarms: the mean over labels is a sum over images, in which an image counts
        1 / (images of other classes) for every foreign label; each value is that part of its image, scaled. It lies
        in 0..1 where all classes have the same number of images.
        """
        values = np.zeros(len(self._own))
        recalls: list[Floats] = []
        labels = 0
        for label in range(len(self.cohort.class_names)):
            given, own = shares.of(label)[self._order], self._own == label
            if own.any():
                recalls.append(given[own])
            if not own.all():
                labels += 1
                values[~own] += given[~own] / (~own).sum()
        alarms = [
            np.round(values[self._own == label] * (self._own == label).sum() * len(self._present) / labels, 12)
            for label in self._present
            if labels
        ]
        return {"mean_label_recall": recalls, "mean_label_false_alarm": alarms}


def _drop(metric: str, definition: str, scope: Scope, values: Floats, seed: int) -> Measurement:
    """Mean of paired differences, each a multiple of 1 / trials, with its bootstrap interval.

    Images with the same difference are alike: how many of each are drawn is one multinomial over the distinct
    differences, which costs the same for ten images and for a million (there is one such drop per label).
    """
    distinct, counts = np.unique(np.round(values, 12), return_counts=True)
    if len(distinct) < 2:
        return difference(metric, definition, scope, [values[:, None]] if len(values) else [], (1,), seed)
    n = len(values)
    key = key_of(seed, metric, *(f"{k}={v}" for k, v in sorted(scope.items())))
    drawn = np.random.Generator(np.random.Philox(key)).multinomial(n - 1, counts / n, size=RESAMPLES)
    estimate = percentile(drawn @ distinct / (n - 1), float(values.mean()), f"bootstrap over images ({RESAMPLES})")
    return of_estimate(metric, definition, scope, estimate, n)
