"""95 % intervals: Wilson for proportions, bootstrap over images (stratified by class) for differences and RCS."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

if TYPE_CHECKING:
    from collections.abc import Sequence

Floats = NDArray[np.float64]

LEVEL = 0.95
RESAMPLES = 2000
#: Standard errors from the middle of a normal interval to its end.
Z = float(ndtri(0.5 + LEVEL / 2))
#: Scores are multiples of 1 / trials: a smaller spread than this is rounding.
_ROUNDING = 1e-12
#: Most resampled counts held at once (8 bytes each).
_COUNTS = 4_000_000


class Estimate(NamedTuple):
    """A value in 0..1 (or a difference, or an RCS) with its 95 % interval and the method behind it."""

    value: float
    low: float
    high: float
    method: str


def wilson(successes: float, n: float) -> tuple[float, float]:
    """Wilson score interval of a proportion; `n` may be an effective, fractional number of trials. n > 0."""
    p = successes / n
    centre = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z * np.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def effective_n(strata: Sequence[Floats]) -> float:
    """Independent yes/no answers that would give a mean of class means the variance it has here.

    `strata`: per class, one score in [0, 1] per image (mean over its trials, so trials of an image stay together).
    One class of yes/no answers gives its number of images. A small class says little about its own spread (one image
    says nothing): each borrows one image's worth of the spread of a yes/no answer at the overall mean. A set without
    any spread counts as yes/no answers: never surer than its images.
    """
    k = len(strata)
    mean = float(np.mean([s.mean() for s in strata]))
    answer = mean * (1 - mean)
    squares = [float(((s - s.mean()) ** 2).sum()) for s in strata]
    if answer <= _ROUNDING or sum(squares) <= _ROUNDING:
        return _images(strata)
    # m (1 - m) falls short of a yes/no answer's variance by v, the variance of m: n = (m (1 - m) + v) / v, where
    # v = sum over classes of (squares + m (1 - m) + v) / n_i^2 / k^2.
    borrowed = sum(1 / len(s) ** 2 for s in strata) / k**2
    seen = sum(square / len(s) ** 2 for square, s in zip(squares, strata, strict=True)) / k**2
    variance = (seen + borrowed * answer) / (1 - borrowed)
    return answer / variance + 1


def _images(strata: Sequence[Floats]) -> float:
    """Images that, in one class, would weigh as these do in the mean of their classes: the harmonic mean x classes."""
    return len(strata) ** 2 / sum(1 / len(s) for s in strata)


def mean_accuracy(strata: Sequence[Floats]) -> Estimate:
    """Mean over classes of the mean score over images, with a Wilson interval at the effective n.

    `strata` as in `effective_n`; give one stratum for a mean over images. At 0 % and 100 % the interval stays open.
    """
    value = float(np.mean([s.mean() for s in strata]))
    n = effective_n(strata)
    low, high = wilson(value * n, n)
    method = "wilson" if len(strata) == 1 else "wilson (effective n, classes as strata)"
    return Estimate(value, min(low, value), max(high, value), method)


def bootstrap_means(strata: Sequence[Floats], seed: int, resamples: int = RESAMPLES) -> Floats:
    """Bootstrap replicates of class-averaged means.

    `strata`: per class an array (n images, k columns) of scores; the columns of an image are resampled together.
    Returns (resamples, k): in each replicate the mean over classes of the mean over that class's resampled images.
    n - 1 images are drawn of n, so that the variance is right for small classes too (Rao & Wu 1988); classes of one
    image, which show no spread of their own, are resampled as one class.
    """
    rng = np.random.Generator(np.random.Philox(seed))
    total = np.zeros((resamples, strata[0].shape[1]))
    for scores, classes in _resampled(strata):
        n = len(scores)
        drawn = max(1, n - 1)
        chunk = max(1, _COUNTS // n)
        for start in range(0, resamples, chunk):
            rows = slice(start, min(start + chunk, resamples))
            # Resampling images is drawing multinomial counts: one matrix product instead of an index per image.
            counts = rng.multinomial(drawn, np.full(n, 1 / n), size=rows.stop - rows.start)
            total[rows] += classes * (counts @ scores) / drawn
    return total / len(strata)


def _resampled(strata: Sequence[Floats]) -> list[tuple[Floats, int]]:
    """Sets of images to resample, each with the number of classes it stands for."""
    sets = [(scores, 1) for scores in strata if len(scores) > 1]
    alone = [scores for scores in strata if len(scores) == 1]
    return [*sets, (np.concatenate(alone), len(alone))] if alone else sets


def percentile(replicates: Floats, value: float, method: str) -> Estimate:
    """Percentile interval of bootstrap replicates around the estimate `value`; NaN replicates are left out."""
    kept = replicates[~np.isnan(replicates)]
    if not len(kept):
        return Estimate(value, value, value, f"{method}, no spread")
    low, high = np.quantile(kept, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, min(float(low), value), max(float(high), value), method)


def mean_interval(strata: Sequence[Floats], bounds: tuple[float, float], seed: int) -> Estimate:
    """Mean over classes of the mean over images of real values within `bounds`, such as paired differences.

    `strata`: per class one value per image (n,). Bootstrap over images within classes. Where no class shows any
    spread, resampling has none either, which is not certainty: an unseen share of images may differ by as much as the
    bounds allow.
    """
    value = float(np.mean([values.mean() for values in strata]))
    if all(np.ptp(values) <= _ROUNDING for values, _ in _resampled(strata)):
        unseen = unseen_share(_images(strata))
        low, high = (value + unseen * (bound - value) for bound in bounds)
        return Estimate(value, low, high, "no spread: unseen share of images, Clopper-Pearson")
    replicates = bootstrap_means([values[:, None] for values in strata], seed)[:, 0]
    method = f"bootstrap over images{', by class' if len(strata) > 1 else ''} ({RESAMPLES})"
    return percentile(replicates, value, method)


def unseen_share(n: float) -> float:
    """At most such a share of all images differs where none of n did: 1 - 0.025^(1/n), Clopper-Pearson for 0 of n."""
    return float(1 - ((1 - LEVEL) / 2) ** (1 / n))


#: What `Estimate.method` says of `jeffreys_pairs`.
BETA_DRAWS = "beta(x + 1/2, n - x + 1/2) draws (no spread within classes)"


def without_spread(strata: Sequence[Floats]) -> bool:
    """Whether in some column all images of a class score alike, in every class: resampling them would show no spread.

    So it is for an accuracy at 0 or 1, and for a network that gives all images one answer.
    """
    spreads = [np.ptp(scores, axis=0) <= _ROUNDING for scores, _ in _resampled(strata)]
    return bool(np.all(spreads, axis=0).any())


def jeffreys_pairs(strata: Sequence[Floats], seed: int, resamples: int = RESAMPLES) -> Floats:
    """Draws (resamples, k) of k accuracies from Beta(x + 1/2, n - x + 1/2) at each column's effective n.

    For scores `without_spread`, which is not certainty. Columns are drawn independently, which is wider than their
    true, paired spread.
    """
    rng = np.random.Generator(np.random.Philox(seed))
    columns = []
    for j in range(strata[0].shape[1]):
        scores = [s[:, j] for s in strata]
        n = effective_n(scores)
        p = float(np.mean([s.mean() for s in scores]))
        columns.append(rng.beta(p * n + 0.5, (1 - p) * n + 0.5, size=resamples))
    return np.stack(columns, axis=1)
